//! Which partition a key belongs to.

use super::options::Partitioner;

/// Seed of Java's murmur2 (`org.apache.kafka.common.utils.Utils`).
const MURMUR2_SEED: u32 = 0x9747_b28c;
/// Multiplier of murmur2.
const MURMUR2_M: u32 = 0x5bd1_e995;

/// The partition of `key` among `count`; 0 if there is none.
pub fn of_key(partitioner: Partitioner, key: &[u8], count: u32) -> u32 {
    let hash = match partitioner {
        Partitioner::Murmur2 => murmur2(key) & 0x7fff_ffff,
        Partitioner::Crc32 => crc32(key),
    };
    hash.checked_rem(count).unwrap_or(0)
}

/// Java's 32-bit murmur2.
pub fn murmur2(key: &[u8]) -> u32 {
    let mut hash = MURMUR2_SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MURMUR2_M);
        word = (word ^ (word >> 24)).wrapping_mul(MURMUR2_M);
        hash = hash.wrapping_mul(MURMUR2_M) ^ word;
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MURMUR2_M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MURMUR2_M);
    hash ^ (hash >> 15)
}

/// zlib's CRC-32, as nginx' `crc32_long`.
pub fn crc32(key: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(key);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_gives_the_numbers_of_javas_unit_test() {
        // UtilsTest.testMurmur2 of Apache Kafka.
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn crc32_is_zlibs_and_unsigned() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(of_key(Partitioner::Crc32, b"123456789", 7), 0xcbf4_3926 % 7);
    }

    #[test]
    fn no_partitions_is_no_division_by_zero() {
        assert_eq!(of_key(Partitioner::Murmur2, b"k", 0), 0);
    }
}

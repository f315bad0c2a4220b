//! Ways in which the same bytes may come: where each read ends, for the fuzz bodies and the property tests. Not for the data path.

/// Ends of reads that together bring all of `bytes`: one byte at a time, a few, or nearly all, chosen by the bytes themselves, so
/// that an input is always cut the same way.
pub fn reads(bytes: &[u8]) -> impl Iterator<Item = usize> + use<> {
    // FNV-1a: each byte of the input has a say in every cut.
    let seed = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    reads_of(bytes.len(), seed)
}

/// Ends of reads that together bring `len` bytes, cut as `seed` has it. The last one is `len`; there is at least one.
pub fn reads_of(len: usize, seed: u64) -> impl Iterator<Item = usize> + use<> {
    let most = [1, 2, 7, 64, usize::MAX][(seed % 5) as usize].min(len.max(1));
    let mut state = seed | 1;
    let mut at = None;
    std::iter::from_fn(move || {
        if at == Some(len) {
            return None;
        }
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let end = (at.unwrap_or(0) + 1 + (state >> 33) as usize % most).min(len);
        at = Some(end);
        at
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bring_every_byte_once_and_always_the_same_way() {
        for len in 0..200 {
            for seed in 0..50 {
                let ends: Vec<_> = reads_of(len, seed).collect();
                assert_eq!(ends.last(), Some(&len));
                assert!(ends.is_sorted_by(|one, other| one < other), "{ends:?}");
                assert_eq!(ends, reads_of(len, seed).collect::<Vec<_>>());
            }
        }
        assert_eq!(reads(b"abc").last(), Some(3));
    }
}

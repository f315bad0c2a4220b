//! Kafka's variable-length integers: zigzag for records (KIP-98), unsigned for compact lengths (KIP-482). Always the shortest form.

use super::batch::Out;

/// Most bytes of a 32-bit one.
pub const VARINT_BYTES: usize = 5;

/// Zigzag: small magnitudes, of either sign, become small numbers.
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Bytes that the unsigned `value` takes.
#[inline]
pub const fn unsigned_len(value: u64) -> usize {
    // Seven bits a byte; zero takes one.
    (63 - (value | 1).leading_zeros() as usize) / 7 + 1
}

/// Bytes that a record's length of `len` takes.
#[inline]
pub const fn length_len(len: usize) -> usize {
    unsigned_len(zigzag(len as i64))
}

/// Writes the unsigned `value`.
#[inline]
pub fn push_unsigned(out: &mut Out<'_>, mut value: u64) {
    while value >= 0x80 {
        out.push_byte(value as u8 | 0x80);
        value >>= 7;
    }
    out.push_byte(value as u8);
}

/// Writes the signed `value`, zigzag.
#[inline]
pub fn push_signed(out: &mut Out<'_>, value: i64) {
    push_unsigned(out, zigzag(value));
}

/// Writes the signed `value` into `bytes` from `at` on, where there must be room; returns the offset behind it.
#[inline]
pub fn put_signed(bytes: &mut [u8], mut at: usize, value: i64) -> usize {
    let mut value = zigzag(value);
    while value >= 0x80 {
        bytes[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    bytes[at] = value as u8;
    at + 1
}

/// Reads an unsigned number at `at`: the number and the offset behind it. None if it is cut short or longer than 10 bytes.
pub fn read_unsigned(bytes: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some((value, at));
        }
    }
    None
}

/// Reads a signed number at `at`: the number and the offset behind it.
pub fn read_signed(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    read_unsigned(bytes, at).map(|(value, next)| (unzigzag(value), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_comes_back_in_the_announced_number_of_bytes() {
        for value in
            [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 1_048_575, 1_048_576, i64::from(i32::MAX), i64::MAX, i64::MIN]
        {
            let mut room = [0u8; 10];
            let mut out = Out::new(&mut room);
            push_signed(&mut out, value);
            let len = out.len();
            assert_eq!(len, unsigned_len(zigzag(value)), "{value}");
            assert_eq!(read_signed(&room, 0), Some((value, len)));
            let mut other = [0u8; 10];
            assert_eq!(put_signed(&mut other, 0, value), len);
            assert_eq!(room, other);
        }
    }

    #[test]
    fn a_number_that_is_cut_short_or_endless_is_none() {
        assert_eq!(read_unsigned(&[0x80, 0x80], 0), None);
        assert_eq!(read_unsigned(&[0xff; 16], 0), None);
        assert_eq!(read_unsigned(&[], 3), None);
    }
}

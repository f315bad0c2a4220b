//! Text sixteen bytes at a time: what is in a block, one bit a byte, the first byte's lowest. SSE2 on x86-64, which every such processor
//! has, and plain code elsewhere, with the same answers.
//!
//! Header lines are 10 to 60 bytes long: there a library's search or copy is mostly the call.

// The one `unsafe` here: calling what needs SSE2, where the processor is known to have it.
#![allow(unsafe_code)]

/// A block.
pub type Block = [u8; BYTES];
/// Bytes of a block.
pub const BYTES: usize = 16;

/// One of the searches below, by SSE2 if there is any.
macro_rules! on_blocks {
    ($which:ident, $block:expr) => {{
        // SAFETY: every x86-64 processor has SSE2, and it is all that is asked for.
        #[cfg(target_arch = "x86_64")]
        let found = unsafe { sse2::$which($block) };
        #[cfg(not(target_arch = "x86_64"))]
        let found = plain::$which($block);
        found
    }};
}

/// The first bytes of `text`, at most a block, and zeros behind them.
#[inline(always)]
pub fn first_of(text: &[u8]) -> Block {
    text.first_chunk().copied().unwrap_or_else(|| padded(text))
}

/// Less than a block, with zeros behind it. Overlapping loads instead of a loop.
#[inline(always)]
fn padded(text: &[u8]) -> Block {
    let len = text.len();
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        // Shifted by eight bytes at the most, in two steps: a word cannot be shifted by all of its bits.
        let last = (u64::from_le_bytes(*last) >> 8) >> (8 * (BYTES - 1 - len));
        return halves(first, &last.to_le_bytes());
    }
    let low = if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4))
    } else {
        text.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    halves(&low.to_le_bytes(), &[0; 8])
}

/// A block of two halves.
#[inline(always)]
pub const fn halves(first: &[u8; 8], last: &[u8; 8]) -> Block {
    (u64::from_le_bytes(*first) as u128 | (u64::from_le_bytes(*last) as u128) << 64).to_le_bytes()
}

/// `A` to `Z` in lower case, other bytes as they are.
#[inline(always)]
pub fn lower(block: Block) -> Block {
    on_blocks!(lower, &block)
}

/// The bits of the first `count` bytes; of all from sixteen on.
#[inline(always)]
pub const fn first(count: usize) -> u32 {
    if count >= BYTES { 0xffff } else { (1 << count) - 1 }
}

/// Control characters: below a space, the tab too, and DEL.
#[inline(always)]
pub fn controls(block: &Block) -> u32 {
    on_blocks!(controls, block)
}

/// What cannot stand in a JSON string as it is, or is not ASCII: `"`, `\`, below a space, above DEL.
#[inline(always)]
pub fn escaped(block: &Block) -> u32 {
    on_blocks!(escaped, block)
}

/// The same among what is UTF-8: bytes that are not ASCII stand as they are.
#[inline(always)]
pub fn unquotable(block: &Block) -> u32 {
    on_blocks!(unquotable, block)
}

/// Neither letter nor digit nor `-`: what ends an ordinary field name.
#[inline(always)]
pub fn unnamed(block: &Block) -> u32 {
    on_blocks!(unnamed, block)
}

/// Outside of visible ASCII, or `#`: what a request target must not hold.
#[inline(always)]
pub fn untargeted(block: &Block) -> u32 {
    on_blocks!(untargeted, block)
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_and_si128, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_cmpgt_epi8, _mm_cmplt_epi8,
        _mm_cvtsi128_si64, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8, _mm_unpackhi_epi64,
    };

    use super::Block;

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(block: &Block) -> __m128i {
        let bits = u128::from_le_bytes(*block);
        _mm_set_epi64x((bits >> 64) as i64, bits as i64)
    }

    /// `byte` sixteen times.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn all(byte: u8) -> __m128i {
        _mm_set1_epi8(byte as i8)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn is(text: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(text, all(byte))
    }

    /// Bytes from `first` on, `count` of them: compared as signed numbers, `first` moved to the least.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn within(text: __m128i, first: u8, count: u8) -> __m128i {
        let moved = _mm_add_epi8(text, all(0x80_u8.wrapping_sub(first)));
        _mm_cmplt_epi8(moved, all(0x80_u8.wrapping_add(count)))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn bits(found: __m128i) -> u32 {
        _mm_movemask_epi8(found) as u32
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn lower(block: &Block) -> Block {
        let text = load(block);
        let lowered = _mm_or_si128(text, _mm_and_si128(within(text, b'A', 26), all(0x20)));
        let (low, high) = (_mm_cvtsi128_si64(lowered), _mm_cvtsi128_si64(_mm_unpackhi_epi64(lowered, lowered)));
        super::halves(&low.to_le_bytes(), &high.to_le_bytes())
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn controls(block: &Block) -> u32 {
        let text = load(block);
        bits(_mm_or_si128(within(text, 0, 0x20), is(text, 0x7f)))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn escaped(block: &Block) -> u32 {
        let text = load(block);
        // Signed: what is not ASCII is below a space too.
        let low = _mm_cmpgt_epi8(all(b' '), text);
        bits(_mm_or_si128(low, _mm_or_si128(is(text, b'"'), is(text, b'\\'))))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn unquotable(block: &Block) -> u32 {
        let text = load(block);
        let quotes = _mm_or_si128(is(text, b'"'), is(text, b'\\'));
        bits(_mm_or_si128(within(text, 0, 0x20), quotes))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn unnamed(block: &Block) -> u32 {
        let text = load(block);
        let letters = within(_mm_or_si128(text, all(0x20)), b'a', 26);
        let others = _mm_or_si128(within(text, b'0', 10), is(text, b'-'));
        !bits(_mm_or_si128(letters, others)) & 0xffff
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn untargeted(block: &Block) -> u32 {
        let text = load(block);
        !bits(_mm_andnot_si128(is(text, b'#'), within(text, 0x21, 0x7f - 0x21))) & 0xffff
    }
}

/// The same in plain code.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod plain {
    use super::Block;

    fn bits(block: &Block, is: impl Fn(u8) -> bool) -> u32 {
        block.iter().rev().fold(0, |bits, byte| bits << 1 | u32::from(is(*byte)))
    }

    pub fn lower(block: &Block) -> Block {
        block.map(|byte| byte.to_ascii_lowercase())
    }

    pub fn controls(block: &Block) -> u32 {
        bits(block, |byte| byte.is_ascii_control())
    }

    pub fn escaped(block: &Block) -> u32 {
        bits(block, |byte| byte < b' ' || byte == b'"' || byte == b'\\' || !byte.is_ascii())
    }

    pub fn unquotable(block: &Block) -> u32 {
        bits(block, |byte| byte < b' ' || byte == b'"' || byte == b'\\')
    }

    pub fn unnamed(block: &Block) -> u32 {
        bits(block, |byte| !byte.is_ascii_alphanumeric() && byte != b'-')
    }

    pub fn untargeted(block: &Block) -> u32 {
        bits(block, |byte| !byte.is_ascii_graphic() || byte == b'#')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_seen_as_plain_code_sees_it() {
        type Search = fn(&Block) -> u32;
        let pairs: [(Search, Search); 5] = [
            (controls, plain::controls),
            (escaped, plain::escaped),
            (unquotable, plain::unquotable),
            (unnamed, plain::unnamed),
            (untargeted, plain::untargeted),
        ];
        for (fast, slow) in pairs {
            for byte in 0..=255_u8 {
                for (at, around) in (0..BYTES).flat_map(|at| [b'a', b'~', 0x80, b'"'].map(|around| (at, around))) {
                    let mut block = [around; BYTES];
                    block[at] = byte;
                    assert_eq!(fast(&block), slow(&block), "{byte:#x} at {at} among {around:#x}");
                }
            }
        }
    }

    #[test]
    fn short_text_is_filled_up_with_zeros_and_long_text_cut() {
        let text: Vec<u8> = (1..=40).collect();
        for len in 0..40 {
            let mut expected = [0; BYTES];
            expected.iter_mut().zip(&text[..len]).for_each(|(place, byte)| *place = *byte);
            assert_eq!(first_of(&text[..len]), expected, "{len}");
        }
    }

    #[test]
    fn capitals_alone_are_lowered_and_the_first_bits_are_those_asked_for() {
        for start in (0..=240).step_by(16) {
            let block: Block = std::array::from_fn(|at| start + at as u8);
            assert_eq!(lower(block), plain::lower(&block));
            assert_eq!(lower(block).to_vec(), block.to_ascii_lowercase());
        }
        assert_eq!([0, 1, 15, 16, 99].map(first), [0, 1, 0x7fff, 0xffff, 0xffff]);
    }
}

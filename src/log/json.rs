//! JSON text straight into a bounded writer: strings escaped as `simd_json` and `serde_json` do it (`/` stays, control bytes as `\u00xx`
//! or their short forms), invalid UTF-8 as U+FFFD, one per broken sequence.
//!
//! Log text is nearly always clean ASCII and short, so it is copied a block at a time and looked at on the way; only text that turns out
//! not to be clean is gone through again, with escapes.

use std::ops::Range;

use crate::base::block::{self, Block};
use crate::kafka::batch::Out;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes `text` as a JSON string with its quotes.
pub fn string(text: &[u8], out: &mut Out<'_>) {
    let start = out.len();
    if !quoted(text, same, out) {
        out.truncate(start);
        out.push_byte(b'"');
        escaped_from_any(text, out);
        out.push_byte(b'"');
    }
}

/// Writes `text` as a part of a JSON string: no quotes. A character must not be spread over two calls.
pub fn fragment(text: &[u8], out: &mut Out<'_>) {
    let start = out.len();
    let clean = out.claim(text.len()).is_some_and(|room| copied_clean(text, room, same));
    if !clean {
        out.truncate(start);
        escaped_from_any(text, out);
    }
}

/// Writes `text` in lower case (ASCII only) as a JSON string.
pub fn lower_string(text: &[u8], out: &mut Out<'_>) {
    let start = out.len();
    if !quoted(text, block::lower, out) {
        // Not a header name that a parser would pass; then its case is nobody's concern.
        out.truncate(start);
        string(text, out);
    }
}

/// Writes `"name":"value"` after `separator`, the name in lower case (ASCII only).
pub fn lower_pair(separator: u8, name: &[u8], value: &[u8], out: &mut Out<'_>) {
    let start = out.len();
    if !quoted_pair(separator, name, value, out) {
        out.truncate(start);
        out.push_byte(separator);
        lower_string(name, out);
        out.push_byte(b':');
        string(value, out);
    }
}

/// The same. False if one of them is not clean, or there is no room: then what was written is of no use.
#[inline(always)]
fn quoted_pair(separator: u8, name: &[u8], value: &[u8], out: &mut Out<'_>) -> bool {
    let Some(room) = out.claim(name.len() + value.len() + 6) else { return false };
    let Some(([first, before, name_room @ ..], rest)) = room.split_at_mut_checked(name.len() + 2) else { return false };
    let [after, colon, open, value_room @ .., close] = rest else { return false };
    (*first, *before, *after, *colon, *open, *close) = (separator, b'"', b'"', b':', b'"', b'"');
    copied_clean(name, name_room, block::lower) & copied_clean(value, value_room, same)
}

/// Writes `text` through `each` in quotes. False if it is not clean, or there is no room: then what was written is of no use.
#[inline(always)]
fn quoted(text: &[u8], each: impl Fn(Block) -> Block, out: &mut Out<'_>) -> bool {
    let Some([before, room @ .., after]) = out.claim(text.len() + 2) else { return false };
    (*before, *after) = (b'"', b'"');
    copied_clean(text, room, each)
}

/// Copies `text` through `each` into `room`, which is as long. True if all of it is ASCII that needs no escape. What is no whole block, or
/// half of one, overlaps what is: it is written twice, the same both times.
#[inline(always)]
fn copied_clean(text: &[u8], room: &mut [u8], each: impl Fn(Block) -> Block) -> bool {
    let mut found = 0;
    let mut copied = |block: &Block| {
        found |= block::escaped(block);
        each(*block)
    };
    if let (Some(last), Some(last_room)) = (text.last_chunk(), room.last_chunk_mut()) {
        *last_room = copied(last);
        let (blocks, _) = text.as_chunks();
        let (rooms, _) = room.as_chunks_mut();
        blocks.iter().zip(rooms).for_each(|(block, room)| *room = copied(block));
    } else if let (Some(first), Some(last), len) = (text.first_chunk(), text.last_chunk(), room.len()) {
        let block = copied(&block::halves(first, last));
        room[..8].copy_from_slice(&block[..8]);
        room[len - 8..].copy_from_slice(&block[8..]);
    } else if let (Some(first), Some(last), len) = (text.first_chunk::<4>(), text.last_chunk::<4>(), room.len()) {
        let both = u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
        let block = copied(&block::halves(&both.to_le_bytes(), b"        "));
        room[..4].copy_from_slice(&block[..4]);
        room[len - 4..].copy_from_slice(&block[4..8]);
    } else {
        let bytes = text.iter().rev().fold(u64::from_le_bytes(*b"        "), |word, byte| word << 8 | u64::from(*byte));
        let block = copied(&block::halves(&bytes.to_le_bytes(), b"        "));
        room.iter_mut().zip(block).for_each(|(place, byte)| *place = byte);
    }
    found == 0
}

/// Writes any text with escapes and replacements.
#[cold]
fn escaped_from_any(text: &[u8], out: &mut Out<'_>) {
    if std::str::from_utf8(text).is_ok() {
        return escaped(text, out);
    }
    for chunk in text.utf8_chunks() {
        escaped(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.push("\u{fffd}".as_bytes());
        }
    }
}

/// Writes a whole number.
#[inline]
pub fn number(value: u64, out: &mut Out<'_>) {
    match usize::try_from(value).ok().and_then(|at| DIGITS.get(at)) {
        Some(digits) => small(*digits, value, out),
        None => out.push(itoa::Buffer::new().format(value).as_bytes()),
    }
}

/// The three digits of every number below 1,000, leading zeros with them, and nothing in the fourth place.
static DIGITS: [[u8; 4]; 1_000] = {
    let mut all = [[0; 4]; 1_000];
    let mut value = 0;
    while value < all.len() {
        let rest = value as u64;
        all[value] = [digit(rest / 100), digit(rest / 10), digit(rest), 0];
        value += 1;
    }
    all
};

/// Writes a number below 1,000, whose `digits` are these: a status, most sizes, the milliseconds of most requests.
#[inline]
fn small(digits: [u8; 4], value: u64, out: &mut Out<'_>) {
    let digits = u64::from(u32::from_le_bytes(digits));
    let len = 1 + usize::from(value >= 10) + usize::from(value >= 100);
    // Those that are not shown are shifted out.
    out.push_some(&block::halves(&(digits >> (8 * (3 - len))).to_le_bytes(), &[0; 8]), len);
}

/// Writes `thousandths` / 1000 with as few digits after the point as it needs, but at least one: what serialisers write for the same
/// `f64` (exact up to fifteen digits).
pub fn thousandths(thousandths: u64, out: &mut Out<'_>) {
    number(thousandths / 1_000, out);
    let [tenth, hundredth, last, _] = DIGITS[(thousandths % 1_000) as usize];
    let len = match (hundredth, last) {
        (b'0', b'0') => 2,
        (_, b'0') => 3,
        _ => 4,
    };
    out.push_some(&block::halves(&[b'.', tenth, hundredth, last, 0, 0, 0, 0], &[0; 8]), len);
}

/// The last decimal digit of `value`.
pub(super) const fn digit(value: u64) -> u8 {
    b'0' + (value % 10) as u8
}

/// Sixteen bytes as 32 lower-case hexadecimal digits.
pub(super) fn hex(bytes: [u8; 16]) -> [u8; 32] {
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    text
}

/// A block as it is.
const fn same(block: Block) -> Block {
    block
}

/// How each byte stands in a string: 0 as it is, `u` as `\u00xx`, else this letter behind a backslash.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    let short = [(b'"', b'"'), (b'\\', b'\\'), (b'\n', b'n'), (b'\r', b'r'), (b'\t', b't'), (0x08, b'b'), (0x0c, b'f')];
    let mut at = 0;
    while at < short.len() {
        escapes[short[at].0 as usize] = short[at].1;
        at += 1;
    }
    escapes
};

/// Writes valid UTF-8 with escapes. In JSON within JSON every fifth byte or so is a quote, so it goes from one to the next inside of a block.
fn escaped(mut text: &[u8], out: &mut Out<'_>) {
    const WINDOW: usize = 2 * block::BYTES;
    // A block can be read from each of its own bytes on.
    while let Some(window) = text.first_chunk::<WINDOW>() {
        let mut from = 0;
        let mut found = window.first_chunk().map_or(0, block::unquotable);
        while found != 0 {
            let at = found.trailing_zeros() as usize;
            run(window, from..at, out);
            escape(window[at & (WINDOW - 1)], out);
            from = at + 1;
            found &= found - 1;
        }
        run(window, from..block::BYTES, out);
        text = &text[block::BYTES..];
    }
    for byte in text {
        match ESCAPES[usize::from(*byte)] {
            0 => out.push_byte(*byte),
            _ => escape(*byte, out),
        }
    }
}

/// Writes a run of a window's bytes, at most a block.
#[inline(always)]
fn run(window: &[u8], bytes: Range<usize>, out: &mut Out<'_>) {
    if let Some(block) = window.get(bytes.start..).and_then(<[u8]>::first_chunk) {
        out.push_some(block, bytes.len());
    }
}

/// Writes a byte that cannot stand as it is.
#[inline]
fn escape(byte: u8, out: &mut Out<'_>) {
    match ESCAPES[usize::from(byte)] {
        b'u' => out.push(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        short => out.push(&[b'\\', short]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Out<'_>)) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let mut out = Out::new(&mut bytes);
        write(&mut out);
        assert!(!out.overflowed());
        out.written().to_vec()
    }

    #[test]
    fn strings_are_what_simd_json_and_serde_json_write() {
        let every_ascii: String = (0..128_u8).map(char::from).collect();
        for text in [
            "",
            "plain",
            "a/b",
            "q\"uo\\te",
            "\u{7f}é€😀\u{2028}",
            "sixteen bytes ok",
            "fifteen bytes \u{1}x",
            &every_ascii,
        ] {
            let ours = written(|out| string(text.as_bytes(), out));
            assert_eq!(ours, serde_json::to_vec(text).unwrap(), "{text:?}");
            assert_eq!(ours, simd_json::to_vec(text).unwrap(), "{text:?}");
        }
    }

    #[test]
    fn an_escape_is_found_at_every_distance_from_a_step() {
        for before in 0..40 {
            for byte in ["\"", "\n", "\u{1}", "é", "é\"é", "😀\\"] {
                let text = "x".repeat(before) + byte + &"y".repeat(40 - before);
                assert_eq!(written(|out| string(text.as_bytes(), out)), simd_json::to_vec(&text).unwrap());
            }
        }
    }

    #[test]
    fn broken_utf_8_becomes_the_replacement_character_as_the_standard_library_does_it() {
        let hostile: [&[u8]; 6] = [
            b"\xff",
            b"ok\x80ok",
            b"\xf0\x9f\x98",
            b"\xed\xa0\x80",
            b"\xc0\xaf\"\n\xe2\x82",
            b"0123456789abcdef\xfe0123456789\xf0\x9f\x98\x80",
        ];
        for text in hostile {
            let expected = simd_json::to_vec(&String::from_utf8_lossy(text)).unwrap();
            assert_eq!(written(|out| string(text, out)), expected, "{text:x?}");
        }
    }

    #[test]
    fn thousandths_are_what_serialisers_write_for_the_same_float() {
        for value in
            [0, 1, 10, 100, 1_000, 1_001, 1_010, 1_100, 12_345, 999_999, 1_699_596_164_550, 999_999_999_999_999]
        {
            let expected = simd_json::to_vec(&(value as f64 / 1_000.0)).unwrap();
            assert_eq!(written(|out| thousandths(value, out)), expected, "{value}");
        }
    }

    #[test]
    fn lower_case_strings_keep_what_is_not_a_header_name() {
        let long = "X-".repeat(40);
        assert_eq!(
            written(|out| lower_string(long.as_bytes(), out)),
            format!("\"{}\"", long.to_lowercase()).as_bytes()
        );
        assert_eq!(written(|out| lower_string(b"A\"B", out)), br#""A\"B""#);
    }

    #[test]
    fn texts_of_every_length_are_copied_and_looked_at_whole() {
        for len in 0..40 {
            let text: Vec<u8> = (0..len).map(|at| b'A' + at % 26).collect();
            let (upper, low) = (String::from_utf8(text.clone()).unwrap(), text.to_ascii_lowercase());
            let low = String::from_utf8(low).unwrap();
            let pair = written(|out| lower_pair(b',', &text, &text, out));
            assert_eq!(String::from_utf8(pair).unwrap(), format!(",\"{low}\":\"{upper}\""));
            for at in 0..usize::from(len) {
                for byte in [0, 0x1f, b'"', b'\\', 0x80, 0xff] {
                    let mut broken = text.clone();
                    broken[at] = byte;
                    let expected = simd_json::to_vec(&String::from_utf8_lossy(&broken)).unwrap();
                    assert_eq!(written(|out| string(&broken, out)), expected, "{byte:x} at {at} of {len}");
                    let pair = [b"{\"n\":", expected.as_slice()].concat();
                    assert_eq!(written(|out| lower_pair(b'{', b"N", &broken, out)), pair);
                }
            }
        }
    }

    #[test]
    fn only_capital_letters_are_lowered() {
        let every: Vec<u8> = (0x20..0x7f).filter(|byte| ESCAPES[usize::from(*byte)] == 0).collect();
        for from in 0..8 {
            let expected = [b"\"".as_slice(), &every[from..].to_ascii_lowercase(), b"\""].concat();
            assert_eq!(written(|out| lower_string(&every[from..], out)), expected);
        }
    }

    #[test]
    fn a_string_that_does_not_fit_reports_overflow() {
        let mut bytes = [0; 8];
        let mut out = Out::new(&mut bytes);
        string(b"0123456789", &mut out);
        assert!(out.overflowed());
    }
}

//! JSON text straight into a bounded writer: strings escaped as `simd_json` and `serde_json` do it (`/` stays, control bytes as `\u00xx`
//! or their short forms), invalid UTF-8 as U+FFFD, one per broken sequence.
//!
//! Log text is nearly always clean ASCII, so the loop looks at sixteen bytes at a time in a form that compilers turn into vector
//! instructions, and copies whole runs.

use crate::kafka::batch::Out;

/// Bytes looked at together.
const STEP: usize = 16;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes `text` as a JSON string with its quotes.
pub fn string(text: &[u8], out: &mut Out<'_>) {
    out.push_byte(b'"');
    fragment(text, out);
    out.push_byte(b'"');
}

/// Writes `text` as a part of a JSON string: no quotes. A character must not be spread over two calls.
pub fn fragment(text: &[u8], out: &mut Out<'_>) {
    let clean = clean_ascii_len(text);
    out.push(&text[..clean]);
    if clean == text.len() {
        return;
    }
    for chunk in text[clean..].utf8_chunks() {
        escaped(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.push("\u{fffd}".as_bytes());
        }
    }
}

/// Writes `text` in lower case (ASCII only) as a JSON string.
pub fn lower_string(text: &[u8], out: &mut Out<'_>) {
    if !text.is_ascii() || clean_ascii_len(text) < text.len() {
        // Not a header name that a parser would pass; then its case is nobody's concern.
        return string(text, out);
    }
    out.push_byte(b'"');
    let mut lower = [0; 32];
    for piece in text.chunks(lower.len()) {
        let lower = &mut lower[..piece.len()];
        lower.copy_from_slice(piece);
        lower.make_ascii_lowercase();
        out.push(lower);
    }
    out.push_byte(b'"');
}

/// Writes a whole number.
pub fn number(value: u64, out: &mut Out<'_>) {
    out.push(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes `thousandths` / 1000 with as few digits after the point as it needs, but at least one: what serialisers write for the same
/// `f64` (exact up to fifteen digits).
pub fn thousandths(thousandths: u64, out: &mut Out<'_>) {
    number(thousandths / 1_000, out);
    let fraction = thousandths % 1_000;
    let digits = [b'.', digit(fraction / 100), digit(fraction / 10), digit(fraction)];
    let len = match fraction {
        _ if !fraction.is_multiple_of(10) => 4,
        _ if !fraction.is_multiple_of(100) => 3,
        _ => 2,
    };
    out.push(&digits[..len]);
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

/// True for a byte that a JSON string cannot hold as it is.
const fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// How many bytes from the start are ASCII and need no escape.
fn clean_ascii_len(text: &[u8]) -> usize {
    run_len(text, |byte| must_escape(byte) || byte >= 0x80)
}

/// How many bytes come before the first one that `stops`.
#[inline(always)]
fn run_len(text: &[u8], stops: impl Fn(u8) -> bool) -> usize {
    let (steps, _) = text.as_chunks::<STEP>();
    let clean = steps.iter().take_while(|step| !step.iter().fold(false, |any, byte| any | stops(*byte))).count() * STEP;
    clean + text[clean..].iter().position(|byte| stops(*byte)).unwrap_or(text.len() - clean)
}

/// Writes valid UTF-8 with escapes.
fn escaped(mut text: &[u8], out: &mut Out<'_>) {
    loop {
        let clean = run_len(text, must_escape);
        out.push(&text[..clean]);
        let Some(byte) = text.get(clean) else { return };
        escape(*byte, out);
        text = &text[clean + 1..];
    }
}

fn escape(byte: u8, out: &mut Out<'_>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.push(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.push(&[b'\\', short]);
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
            for byte in ["\"", "\n", "\u{1}", "é"] {
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
    fn a_string_that_does_not_fit_reports_overflow() {
        let mut bytes = [0; 8];
        let mut out = Out::new(&mut bytes);
        string(b"0123456789", &mut out);
        assert!(out.overflowed());
    }
}

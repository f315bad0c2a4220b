//! The small grammar that heads, chunks and trailers share (RFC 9110 §5.6): which bytes may stand where.

/// Larger lengths are refused: every sum of lengths and offsets then fits.
pub const MAX_BODY_BYTES: u64 = i64::MAX as u64;

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const HOST: u8 = 4;

/// One byte's classes, so that a check is one load.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        let mut class = TARGET;
        if (byte as u8).is_ascii_alphanumeric() || contains(b"!#$%&'*+-.^_`|~", byte as u8) {
            class |= TOKEN;
        }
        // Unreserved and sub-delims without the comma: `a,b` may be read as a list of hosts.
        if (byte as u8).is_ascii_alphanumeric() || contains(b"-._~!$&'()*+;=", byte as u8) {
            class |= HOST;
        }
        if byte as u8 == b'#' {
            class &= !TARGET;
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut index = 0;
    while index < set.len() {
        if set[index] == byte {
            return true;
        }
        index += 1;
    }
    false
}

/// `tchar` (RFC 9110 §5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    CLASS[byte as usize] & TOKEN != 0
}

/// A byte of a reg-name that is neither an escape nor a comma (RFC 3986 §3.2.2).
pub(super) fn is_host_byte(byte: u8) -> bool {
    CLASS[byte as usize] & HOST != 0
}

/// True for a token: not empty, only `tchar`.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// True if only visible ASCII without `#` is in it: what a request target may hold. Characters that RFC 3986 wants escaped
/// (`{`, `|`, `"` …) pass as nginx lets them: they mean nothing to any parser of requests.
pub(super) fn is_target(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| CLASS[byte as usize] & TARGET != 0)
}

/// True if no control character but the tab is in it (RFC 9110 §5.5). Bytes above 0x7F pass, they are opaque.
pub fn is_field_value(bytes: &[u8]) -> bool {
    // No early exit: the loop then runs on whole vectors.
    !bytes.iter().fold(false, |bad, &byte| bad | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f))
}

/// A space or a tab (RFC 9110 §5.6.3).
pub(super) const fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Without spaces and tabs at both ends.
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list without quoted strings (Connection, Transfer-Encoding, Expect), trimmed, empty ones
/// left out (RFC 9110 §5.6.1).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// A Content-Length: digits only, at most [`MAX_BODY_BYTES`]; no sign, no list (RFC 9110 §8.6).
pub fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let mut length: u64 = 0;
    for &byte in value {
        if !byte.is_ascii_digit() {
            return None;
        }
        length = length.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    (length <= MAX_BODY_BYTES).then_some(length)
}

/// The value of a hexadecimal digit.
pub(super) const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_bytes_are_those_of_the_rfc() {
        for byte in 0..=255u8 {
            let expected = byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            assert_eq!(is_token_byte(byte), expected, "{byte:#x}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn a_value_holds_anything_but_controls() {
        for byte in 0..=255u8 {
            let expected = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
            assert_eq!(is_field_value(&[b'a', byte, b'b']), expected, "{byte:#x}");
        }
    }

    #[test]
    fn a_length_is_digits_and_fits() {
        for (value, length) in [
            (&b"0"[..], Some(0)),
            (b"007", Some(7)),
            (b"9223372036854775807", Some(MAX_BODY_BYTES)),
            (b"9223372036854775808", None),
            (b"18446744073709551616", None),
            (b"", None),
            (b"+1", None),
            (b"-1", None),
            (b"1,1", None),
            (b"1 1", None),
            (b"0x1", None),
            (b"1_0", None),
            (b"\xd9\xa1", None),
        ] {
            assert_eq!(content_length(value), length, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn lists_lose_blanks_and_empty_elements() {
        assert_eq!(list(b" , a,\tb ,,c d,").collect::<Vec<_>>(), [&b"a"[..], b"b", b"c d"]);
        assert_eq!(trim(b" \t "), b"");
    }
}

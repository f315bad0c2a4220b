//! Host and port of an authority (RFC 9110 §7.2, RFC 3986 §3.2), stricter than the grammar where a list could be meant.

use std::net::Ipv6Addr;

use super::syntax::{hex, is_host_byte};

/// Bytes of the longest host: more is no name that DNS could hold (255), with room for escapes.
pub const HOST_BYTES: usize = 1024;

/// Where the host ends in `authority`, and the port if there is one: `None` if it is not `host [":" port]`. Refused: nothing at
/// all, user information, a list, blanks, a port that is not 1–65535, an IPv6 address without brackets or with a zone.
/// An empty port (`host:`) is legal and means none.
pub fn split(authority: &[u8]) -> Option<(usize, Option<u16>)> {
    let host_len = match authority.first()? {
        b'[' => bracketed_len(authority)?,
        _ => name_len(authority)?,
    };
    if host_len > HOST_BYTES {
        return None;
    }
    match &authority[host_len..] {
        [] => Some((host_len, None)),
        [b':'] => Some((host_len, None)),
        [b':', digits @ ..] => Some((host_len, Some(port(digits)?))),
        _ => None,
    }
}

fn name_len(authority: &[u8]) -> Option<usize> {
    let len = memchr::memchr(b':', authority).unwrap_or(authority.len());
    let mut rest = authority[..len].iter();
    while let Some(&byte) = rest.next() {
        let good = if byte == b'%' {
            let (high, low) = (rest.next().copied().and_then(hex), rest.next().copied().and_then(hex));
            high.zip(low).is_some_and(|(high, low)| is_harmless(high << 4 | low))
        } else {
            is_host_byte(byte)
        };
        if !good {
            return None;
        }
    }
    (len > 0).then_some(len)
}

/// An escape that would not become a delimiter or a control character if somebody behind us decoded it.
const fn is_harmless(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn bracketed_len(authority: &[u8]) -> Option<usize> {
    let close = memchr::memchr(b']', authority)?;
    let address = std::str::from_utf8(&authority[1..close]).ok()?;
    address.parse::<Ipv6Addr>().ok()?;
    Some(close + 1)
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    u16::try_from(number).ok().filter(|&number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_authorities_split_into_host_and_port() {
        for (authority, host, port) in [
            ("example.com", "example.com", None),
            ("example.com:80", "example.com", Some(80)),
            ("example.com:", "example.com", None),
            ("EXAMPLE.com:065", "EXAMPLE.com", Some(65)),
            ("a_b-c.d~e:65535", "a_b-c.d~e", Some(65535)),
            ("127.0.0.1:9080", "127.0.0.1", Some(9080)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::1]:443", "[2001:db8::1]", Some(443)),
            ("[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.4]", Some(1)),
            ("b%C3%BCcher.example", "b%C3%BCcher.example", None),
            ("*.example", "*.example", None),
        ] {
            assert_eq!(split(authority.as_bytes()), Some((host.len(), port)), "{authority}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for authority in [
            "",
            ":80",
            "a:0",
            "a:65536",
            "a:000080",
            "a:+1",
            "a:8 0",
            "a:80:80",
            "a:b",
            "user@a",
            "user:pw@a",
            "a,b",
            "a, b",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "[::1",
            "::1",
            "[::1]80",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "[]",
            "[1.2.3.4]",
            "a[::1]",
            "a%",
            "a%4",
            "a%zz",
            "a%2fb",
            "a%00",
            "a%40b",
            "http://a",
            "a\"",
            "<a>",
            "a\u{e4}",
            "a\tb",
            "%2",
        ] {
            assert_eq!(split(authority.as_bytes()), None, "{authority:?}");
        }
        assert_eq!(split(&[b'a'; HOST_BYTES + 1]), None);
    }
}

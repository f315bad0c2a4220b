//! Form-urlencoded text (WHATWG URL §5.1, as `ngx.req.get_uri_args` reads it): arguments, their decoding and comparison without memory
//! of their own.

/// The arguments of `text`: raw name, and raw value unless there is no `=`. Those with an empty name are left out.
pub fn arguments(text: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    text.split(|byte| *byte == b'&')
        .map(|pair| match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], Some(&pair[at + 1..])),
            None => (pair, None),
        })
        .filter(|(name, _)| !name.is_empty())
}

/// The raw value of the first argument called `name` (decoded): outer `None` if there is none, inner if it has no value.
pub fn first<'a>(text: &'a [u8], name: &[u8]) -> Option<Option<&'a [u8]>> {
    arguments(text).find(|(raw, _)| decoded(raw).eq(name.iter().copied())).map(|(_, value)| value)
}

/// The bytes that `raw` stands for: `+` is a space, `%41` an `A`; what is no valid escape stays.
pub fn decoded(raw: &[u8]) -> impl Iterator<Item = u8> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *raw.get(at)?;
        at += 1;
        Some(match byte {
            b'+' => b' ',
            b'%' => match raw.get(at..at + 2).and_then(hex_pair) {
                Some(value) => {
                    at += 2;
                    value
                }
                None => byte,
            },
            _ => byte,
        })
    })
}

/// True if `raw` stands for itself.
pub fn is_plain(raw: &[u8]) -> bool {
    memchr::memchr2(b'+', b'%', raw).is_none()
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_as_openresty_does() {
        let found: Vec<_> = arguments(b"a=1&b&&c=&=x&d=e=f").collect();
        let expected: [(&[u8], Option<&[u8]>); 4] =
            [(b"a", Some(b"1")), (b"b", None), (b"c", Some(b"")), (b"d", Some(b"e=f"))];
        assert_eq!(found, expected);
        assert_eq!(arguments(b"").count(), 0);
    }

    #[test]
    fn escapes_are_undone_and_broken_ones_stay() {
        let text = |raw: &[u8]| decoded(raw).collect::<Vec<_>>();
        assert_eq!(text(b"a+b%20c%2F%2f"), b"a b c//");
        assert_eq!(text(b"100%"), b"100%");
        assert_eq!(text(b"%4"), b"%4");
        assert_eq!(text(b"%zz%"), b"%zz%");
        assert_eq!(text(b"%+1"), b"% 1");
    }

    #[test]
    fn an_argument_is_found_by_its_decoded_name() {
        assert_eq!(first(b"x=1&a%20b=2&a+b=3", b"a b"), Some(Some(b"2".as_slice())));
        assert_eq!(first(b"x=1&flag&y", b"flag"), Some(None));
        assert_eq!(first(b"x=1", b"X"), None);
    }
}

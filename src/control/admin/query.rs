//! The query string of an Admin request: decoded as nginx decodes arguments, the first of several wins.

/// Decoded arguments in their order.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Splits and decodes `a=1&b`; an argument without `=` has an empty value.
    pub fn parse(query: &str) -> Self {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decoded(name, Plus::IsSpace), decoded(value, Plus::IsSpace))
        };
        Self(query.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    /// The first argument of that name.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A number, if the argument is there and is one.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.first(name)?.trim().parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// All arguments.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What `+` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plus {
    /// A space: in arguments.
    IsSpace,
    /// Itself: in paths.
    IsPlus,
}

/// Resolves `%XX`; a broken escape stays as it is, bytes that are no UTF-8 become U+FFFD.
pub fn decoded(text: &str, plus: Plus) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let byte = bytes[index];
        index += 1;
        match byte {
            b'+' if plus == Plus::IsSpace => out.push(b' '),
            b'%' => match (hex(bytes.get(index)), hex(bytes.get(index + 1))) {
                (Some(high), Some(low)) => {
                    out.push(high * 16 + low);
                    index += 2;
                }
                _ => out.push(b'%'),
            },
            other => out.push(other),
        }
    }
    String::from_utf8(out).unwrap_or_else(|broken| String::from_utf8_lossy(broken.as_bytes()).into_owned())
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    match byte? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        letter @ b'a'..=b'f' => Some(letter - b'a' + 10),
        letter @ b'A'..=b'F' => Some(letter - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_decoded_and_the_first_wins() {
        let query = Query::parse("a=1%2b1&a=2&b&c=x+y%2&filter=service_id%3D1%26x%3D2");
        assert_eq!(query.first("a"), Some("1+1"));
        assert_eq!(query.first("b"), Some(""));
        assert_eq!(query.first("c"), Some("x y%2"));
        assert_eq!(query.first("filter"), Some("service_id=1&x=2"));
        assert_eq!(query.first("d"), None);
    }

    #[test]
    fn only_numbers_are_numbers() {
        let query = Query::parse("a=10&b=ten&c=&d=1.5&e=inf");
        assert_eq!(query.number("a"), Some(10.0));
        assert_eq!(query.number("d"), Some(1.5));
        for name in ["b", "c", "e", "f"] {
            assert_eq!(query.number(name), None, "{name}");
        }
    }

    #[test]
    fn broken_escapes_and_bytes_never_panic() {
        for text in ["%", "%z", "%4", "%ff%fe", "é%c3%a9", "%%41"] {
            decoded(text, Plus::IsPlus);
        }
        assert_eq!(decoded("%c3%a9+", Plus::IsPlus), "é+");
    }
}

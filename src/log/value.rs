//! A variable's value: a view of the exchange that is written as JSON, or turned into text for an expression, when it is needed.

use std::borrow::Cow;

use super::body::{Decoded, decode};
use super::exchange::Head;
use super::time::SecondTexts;
use super::{form, json, time};
use crate::base::time::Wall;
use crate::kafka::batch::Out;

/// A variable's value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// No such variable, or it has no value now.
    Absent,
    /// Text.
    Bytes(&'a [u8]),
    /// Text in three pieces.
    Joined([&'a [u8]; 3]),
    /// Form-urlencoded text, to be decoded.
    Form(&'a [u8]),
    /// Several header lines of one name, joined as nginx does.
    Lines(Lines<'a>),
    /// The user of `Authorization: Basic`: base64, to be decoded.
    BasicUser(&'a [u8]),
    /// A body under a content coding.
    CodedBody {
        /// As it was transferred, perhaps cut.
        body: &'a [u8],
        /// `Content-Encoding`.
        coding: &'a [u8],
    },
    /// A whole number.
    Number(u64),
    /// A number in thousandths.
    Thousandths(u64),
    /// A whole number that nginx gives as text.
    Digits(u64),
    /// Sixteen bytes that are shown as hexadecimal text.
    Hex([u8; 16]),
    /// An argument without value.
    True,
    /// `$time_iso8601`.
    Iso8601(Wall),
    /// `$time_local`.
    LocalTime(Wall),
    /// `$msec`.
    Msec(Wall),
}

/// Every header line whose name, in lower case and with `_` for `-`, is `name`.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    pub(super) head: Head<'a>,
    pub(super) name: &'a [u8],
    pub(super) separator: &'static [u8],
}

/// A value as expressions compare it.
#[derive(Clone, Debug, PartialEq)]
pub enum Flat<'a> {
    /// Lua's nil.
    Absent,
    /// Text.
    Text(Cow<'a, [u8]>),
    /// A number.
    Number(f64),
    /// An argument without value.
    True,
}

/// Memory that writing needs; reused.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) times: SecondTexts,
    pub(super) text: Vec<u8>,
    pub(super) undecoded_bodies: u64,
}

impl<'a> Lines<'a> {
    /// The lines' values, in order.
    pub(super) fn values(self) -> impl Iterator<Item = &'a [u8]> {
        let Head { fields, bytes, .. } = self.head;
        fields
            .as_slice()
            .iter()
            .filter(move |field| same_header(field.name.of(bytes), self.name))
            .map(move |field| field.value.of(bytes))
    }
}

/// nginx' way to name a header in a variable: lower case, `-` becomes `_`.
fn same_header(found: &[u8], name: &[u8]) -> bool {
    let mangled = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    found.len() == name.len() && found.iter().zip(name).all(|(found, name)| mangled(*found) == *name)
}

impl<'a> Value<'a> {
    /// Text, or absent.
    pub(super) fn text(text: Option<&'a [u8]>) -> Self {
        text.map_or(Self::Absent, Self::Bytes)
    }

    /// The same for names.
    pub(super) fn name(name: Option<&'a str>) -> Self {
        Self::text(name.map(str::as_bytes))
    }

    /// True if there is nothing.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value as expressions see it. Allocates only where text must be put together.
    pub fn flat(self) -> Flat<'a> {
        match self {
            Self::Absent => Flat::Absent,
            Self::True => Flat::True,
            Self::Number(number) => Flat::Number(number as f64),
            Self::Thousandths(thousandths) => Flat::Number(thousandths as f64 / 1_000.0),
            Self::Bytes(text) => Flat::Text(Cow::Borrowed(text)),
            Self::Form(raw) if form::is_plain(raw) => Flat::Text(Cow::Borrowed(raw)),
            _ => {
                let mut scratch = Scratch::default();
                self.put_together(&mut scratch);
                Flat::Text(Cow::Owned(scratch.text))
            }
        }
    }

    /// Appends the value as text. False if there is none. Allocates only for what must be decoded.
    pub fn push_text(self, text: &mut Vec<u8>) -> bool {
        match self {
            Self::Bytes(bytes) => text.extend_from_slice(bytes),
            Self::Joined(pieces) => pieces.iter().for_each(|piece| text.extend_from_slice(piece)),
            Self::Number(number) | Self::Digits(number) => {
                text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            other => match other.flat() {
                Flat::Absent => return false,
                Flat::Text(found) => text.extend_from_slice(&found),
                Flat::Number(number) => text.extend_from_slice(number.to_string().as_bytes()),
                Flat::True => text.extend_from_slice(b"true"),
            },
        }
        true
    }

    /// Writes the value as JSON; an absent one as `null` (callers leave it out instead).
    #[inline]
    pub(super) fn write(self, scratch: &mut Scratch, out: &mut Out<'_>) {
        match self {
            Self::Absent => out.push(b"null"),
            Self::True => out.push(b"true"),
            Self::Number(number) => json::number(number, out),
            Self::Thousandths(thousandths) => json::thousandths(thousandths, out),
            Self::Bytes(text) => json::string(text, out),
            Self::Form(raw) if form::is_plain(raw) => json::string(raw, out),
            Self::Hex(bytes) => json::string(&json::hex(bytes), out),
            Self::Digits(number) => {
                out.push_byte(b'"');
                json::number(number, out);
                out.push_byte(b'"');
            }
            Self::Iso8601(wall) => json::string(scratch.times.iso8601(wall), out),
            Self::LocalTime(wall) => json::string(scratch.times.local(wall), out),
            _ => {
                self.put_together(scratch);
                json::string(&scratch.text, out);
            }
        }
    }

    /// Puts the value's text into `scratch.text`; nothing for what has none.
    fn put_together(self, scratch: &mut Scratch) {
        let text = &mut scratch.text;
        text.clear();
        match self {
            Self::Absent | Self::True | Self::Number(_) | Self::Thousandths(_) => {}
            Self::Bytes(bytes) => text.extend_from_slice(bytes),
            Self::Joined(pieces) => pieces.iter().for_each(|piece| text.extend_from_slice(piece)),
            Self::Form(raw) => text.extend(form::decoded(raw)),
            Self::Lines(lines) => {
                for (index, value) in lines.values().enumerate() {
                    text.extend_from_slice(if index == 0 { b"" } else { lines.separator });
                    text.extend_from_slice(value);
                }
            }
            Self::BasicUser(coded) => {
                text.extend(base64_decoded(coded).map_while(|byte| byte.filter(|byte| *byte != b':')))
            }
            Self::CodedBody { body, coding } => match decode(coding, body, text) {
                Decoded::Text => {}
                Decoded::Plain => text.extend_from_slice(body),
                Decoded::Failed => {
                    text.clear();
                    text.extend_from_slice(body);
                    scratch.undecoded_bodies += 1;
                }
            },
            Self::Digits(number) => text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
            Self::Hex(bytes) => text.extend_from_slice(&json::hex(bytes)),
            Self::Iso8601(wall) => text.extend_from_slice(SecondTexts::default().iso8601(wall)),
            Self::LocalTime(wall) => text.extend_from_slice(SecondTexts::default().local(wall)),
            Self::Msec(wall) => time::msec(wall, text),
        }
    }
}

/// The user of `Basic <base64>` (RFC 7617): absent unless it decodes to something with a colon.
pub(super) fn basic_user(authorization: &[u8]) -> Value<'_> {
    let Some((scheme, coded)) = authorization.split_at_checked(6) else { return Value::Absent };
    let coded = coded.trim_ascii();
    let has_colon = base64_decoded(coded).map_while(|byte| byte).any(|byte| byte == b':');
    if scheme.eq_ignore_ascii_case(b"basic ") && has_colon { Value::BasicUser(coded) } else { Value::Absent }
}

/// The bytes of base64 text (RFC 4648 §4); `None` where it is broken, and after that.
fn base64_decoded(coded: &[u8]) -> impl Iterator<Item = Option<u8>> {
    let unpadded = coded.iter().position(|byte| *byte == b'=').unwrap_or(coded.len());
    coded[..unpadded].chunks(4).flat_map(|quad| {
        let mut bits = Some(0_u32);
        for index in 0..4 {
            let six = quad.get(index).map_or(Some(0), |byte| base64_digit(*byte));
            bits = bits.zip(six).map(|(bits, six)| (bits << 6) | six);
        }
        let bytes = quad.len().saturating_sub(1);
        (0..bytes).map(move |index| bits.map(|bits| (bits >> (16 - 8 * index)) as u8))
    })
}

fn base64_digit(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(authorization: &[u8]) -> Flat<'_> {
        basic_user(authorization).flat()
    }

    #[test]
    fn the_basic_user_is_what_stands_before_the_colon() {
        assert_eq!(user(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), Flat::Text(b"Aladdin".into()));
        assert_eq!(user(b"basic YTpi"), Flat::Text(b"a".into()));
        assert_eq!(user(b"Basic YWI6"), Flat::Text(b"ab".into()));
        assert_eq!(user(b"Basic Og=="), Flat::Text(b"".into()));
    }

    #[test]
    fn a_broken_authorization_has_no_user() {
        for broken in [b"".as_slice(), b"Basic", b"Basic ", b"Bearer YTpi", b"Basic YWI=", b"Basic ****", b"Basic Y"] {
            assert_eq!(user(broken), Flat::Absent, "{broken:?}");
        }
    }

    #[test]
    fn text_is_borrowed_where_it_can_be() {
        assert!(matches!(Value::Bytes(b"x").flat(), Flat::Text(Cow::Borrowed(b"x"))));
        assert!(matches!(Value::Form(b"x-y").flat(), Flat::Text(Cow::Borrowed(b"x-y"))));
        assert_eq!(Value::Form(b"x%2By").flat(), Flat::Text(b"x+y".into()));
        assert_eq!(Value::Joined([b"a", b"?", b"b"]).flat(), Flat::Text(b"a?b".into()));
        assert_eq!(Value::Thousandths(5).flat(), Flat::Number(0.005));
        assert_eq!(Value::Digits(80).flat(), Flat::Text(b"80".into()));
    }

    #[test]
    fn text_is_appended_and_what_is_absent_appends_nothing() {
        let mut text = b"=".to_vec();
        for value in [Value::Bytes(b"a"), Value::Joined([b"b", b"?", b"c"]), Value::Digits(80), Value::Number(7)] {
            assert!(value.push_text(&mut text));
        }
        assert!(Value::Form(b"x%2By").push_text(&mut text) && Value::True.push_text(&mut text));
        assert!(!Value::Absent.push_text(&mut text));
        assert_eq!(text, b"=ab?c807x+ytrue");
    }

    #[test]
    fn a_header_matches_its_variable_name_in_any_case() {
        assert!(same_header(b"X-Real_IP", b"x_real_ip"));
        assert!(!same_header(b"X-Real", b"x_real_ip"));
    }
}

//! Walks a request's bytes against its layout before anything is decoded. `kafka-protocol` reserves as many array elements as the wire claims,
//! so a hostile length would abort the process; what passes here has every element it claims, and not too many of them.

/// Array elements and tagged fields in one request; a request over it closes its connection.
pub const ELEMENTS: usize = 100_000;

/// One field's layout.
pub enum Field {
    /// So many bytes.
    Fixed(usize),
    /// A string, or none.
    Text,
    /// Bytes, or none.
    Blob,
    /// An array of plain values.
    Plain(&'static Field),
    /// An array of structs.
    Structs(&'static [Part]),
}

/// A field and the versions that have it, both ends included.
pub struct Part(pub i16, pub i16, pub Field);

/// A request's layout: the first version with compact lengths and tagged fields, and the fields.
pub struct Layout {
    pub flexible_from: i16,
    pub parts: &'static [Part],
}

struct Walk<'a> {
    bytes: &'a [u8],
    version: i16,
    flexible: bool,
    elements_left: usize,
}

/// True if `body` holds one whole request of this layout; bytes behind it are not looked at.
pub fn holds(layout: &Layout, version: i16, body: &[u8]) -> bool {
    let flexible = version >= layout.flexible_from;
    Walk { bytes: body, version, flexible, elements_left: ELEMENTS }.parts(layout.parts).is_some()
}

/// Bytes that a request head's tagged fields take; none if they do not fit.
pub fn tag_bytes(bytes: &[u8]) -> Option<usize> {
    let mut walk = Walk { bytes, version: 0, flexible: true, elements_left: ELEMENTS };
    walk.tags()?;
    Some(bytes.len() - walk.bytes.len())
}

impl Walk<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.bytes = self.bytes.get(count..)?;
        Some(())
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    fn uvarint(&mut self) -> Option<usize> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.fixed::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value).ok();
            }
        }
        None
    }

    /// A length where 0 (compact) or -1 (plain) means none.
    fn length(&mut self, plain_bytes: usize) -> Option<usize> {
        if self.flexible {
            return Some(self.uvarint()?.saturating_sub(1));
        }
        let length = if plain_bytes == 2 {
            i32::from(i16::from_be_bytes(self.fixed::<2>()?))
        } else {
            i32::from_be_bytes(self.fixed::<4>()?)
        };
        if length == -1 { Some(0) } else { usize::try_from(length).ok() }
    }

    fn count(&mut self) -> Option<usize> {
        let count = self.length(4)?;
        self.spend(count)?;
        Some(count)
    }

    fn spend(&mut self, count: usize) -> Option<()> {
        self.elements_left = self.elements_left.checked_sub(count)?;
        Some(())
    }

    fn field(&mut self, field: &Field) -> Option<()> {
        match field {
            Field::Fixed(count) => self.skip(*count),
            Field::Text => self.length(2).and_then(|n| self.skip(n)),
            Field::Blob => self.length(4).and_then(|n| self.skip(n)),
            Field::Plain(inner) => {
                for _ in 0..self.count()? {
                    self.field(inner)?;
                }
                Some(())
            }
            Field::Structs(parts) => {
                for _ in 0..self.count()? {
                    self.parts(parts)?;
                }
                Some(())
            }
        }
    }

    fn parts(&mut self, parts: &[Part]) -> Option<()> {
        for Part(from, to, field) in parts {
            if (*from..=*to).contains(&self.version) {
                self.field(field)?;
            }
        }
        if self.flexible { self.tags() } else { Some(()) }
    }

    fn tags(&mut self) -> Option<()> {
        let count = self.uvarint()?;
        self.spend(count)?;
        for _ in 0..count {
            self.uvarint()?;
            let size = self.uvarint()?;
            self.skip(size)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::Field::{Fixed, Plain, Structs, Text};
    use super::*;

    const LAYOUT: Layout = Layout {
        flexible_from: 2,
        parts: &[Part(0, 9, Fixed(4)), Part(1, 9, Structs(&[Part(0, 9, Text), Part(0, 9, Plain(&Fixed(4)))]))],
    };

    #[test]
    fn whole_requests_pass_in_both_encodings() {
        assert!(holds(&LAYOUT, 0, &[0; 4]));
        assert!(holds(&LAYOUT, 1, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 1, 9, 9, 9, 9]));
        assert!(holds(&LAYOUT, 2, &[0, 0, 0, 0, 2, 2, b'a', 2, 9, 9, 9, 9, 0, 1, 7, 2, 1, 1]));
    }

    #[test]
    fn lengths_beyond_the_bytes_are_refused() {
        assert!(!holds(&LAYOUT, 0, &[0; 3]));
        assert!(!holds(&LAYOUT, 1, &[0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]));
        assert!(!holds(&LAYOUT, 1, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe]));
        assert!(!holds(&LAYOUT, 2, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]));
        assert!(!holds(&LAYOUT, 2, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    }

    #[test]
    fn more_elements_than_the_limit_are_refused() {
        let mut body = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        body.extend((ELEMENTS as u32).to_be_bytes());
        body.resize(body.len() + ELEMENTS * 4, 0);
        assert!(!holds(&LAYOUT, 1, &body));
    }
}

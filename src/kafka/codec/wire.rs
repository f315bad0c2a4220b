//! A bounds-checked reader of Kafka's primitive types. Nothing is allocated by a length that the peer wrote.

use crate::kafka::varint::read_unsigned;

/// The bytes of one answer, read from the front. Every method is None once they end too early.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// Compact lengths and tagged fields (KIP-482).
    flexible: bool,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], flexible: bool) -> Self {
        Self { bytes, flexible }
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*front)
    }

    pub fn int8(&mut self) -> Option<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub fn int16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn int32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn int64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub fn uuid(&mut self) -> Option<[u8; 16]> {
        self.array()
    }

    fn unsigned(&mut self) -> Option<usize> {
        let (value, at) = read_unsigned(self.bytes, 0)?;
        self.bytes = &self.bytes[at..];
        usize::try_from(value).ok()
    }

    /// How many elements follow; a null array has none. More than there are bytes left is None.
    pub fn count(&mut self) -> Option<usize> {
        let count = if self.flexible {
            self.unsigned()?.saturating_sub(1)
        } else {
            usize::try_from(self.int32()?.max(0)).ok()?
        };
        (count <= self.bytes.len()).then_some(count)
    }

    /// A string; null is the outer `Some(None)`. Bytes that are not UTF-8 are an error.
    pub fn nullable_string(&mut self) -> Option<Option<&'a str>> {
        let len = if self.flexible { self.unsigned()?.checked_sub(1) } else { usize::try_from(self.int16()?).ok() };
        let Some(len) = len else { return Some(None) };
        std::str::from_utf8(self.take(len)?).ok().map(Some)
    }

    /// A string; null reads as empty.
    pub fn string(&mut self) -> Option<&'a str> {
        self.nullable_string().map(Option::unwrap_or_default)
    }

    /// Bytes; null reads as none.
    pub fn blob(&mut self) -> Option<&'a [u8]> {
        let len = if self.flexible { self.unsigned()?.checked_sub(1) } else { usize::try_from(self.int32()?).ok() };
        self.take(len.unwrap_or(0))
    }

    /// Skips an array of 32-bit numbers.
    pub fn skip_int32s(&mut self) -> Option<()> {
        let count = self.count()?;
        self.take(count.checked_mul(4)?).map(drop)
    }

    /// Reads the tagged fields, handing each to `field`; nothing before the flexible versions.
    pub fn tags(&mut self, mut field: impl FnMut(usize, Reader<'a>) -> Option<()>) -> Option<()> {
        if !self.flexible {
            return Some(());
        }
        for _ in 0..self.unsigned()? {
            let (tag, len) = (self.unsigned()?, self.unsigned()?);
            let bytes = self.take(len)?;
            field(tag, Reader { bytes, flexible: true })?;
        }
        Some(())
    }

    /// Skips the tagged fields.
    pub fn skip_tags(&mut self) -> Option<()> {
        self.tags(|_, _| Some(()))
    }
}

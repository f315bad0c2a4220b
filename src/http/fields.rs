//! Header fields as positions in the bytes of their head: the buffer may move, the list is reused, nothing is copied.

/// A stretch of a head's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    /// The stretch from `start` to `end` (exclusive). Heads are bounded by `limits::HEAD_BYTES_BOUNDS`, far below `u32`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, len: (end - start) as u32 }
    }

    /// The bytes, out of the head they were found in. Empty if the span does not fit `bytes`.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.len as usize).unwrap_or_default()
    }

    /// The same stretch where everything lies `by` bytes further on; `by` may have wrapped.
    #[must_use]
    pub const fn moved(self, by: u32) -> Self {
        Self { start: self.start.wrapping_add(by), len: self.len }
    }

    /// True if nothing lies in it.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// One header line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// As received; compare without regard to case (RFC 9110 §5.1).
    pub name: Span,
    /// Without the optional white space around it.
    pub value: Span,
}

/// The header lines of one head, in order.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    list: Vec<Field>,
}

impl Fields {
    /// Room for `count` lines before the first allocation.
    pub fn with_capacity(count: usize) -> Self {
        Self { list: Vec::with_capacity(count) }
    }

    /// Forgets the lines and keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Adds a line at the end.
    pub fn push(&mut self, field: Field) {
        self.list.push(field);
    }

    /// The lines of `other` instead, each `by` bytes further on.
    pub fn copy_from(&mut self, other: &Self, by: u32) {
        self.list.clear();
        let moved = |field: &Field| Field { name: field.name.moved(by), value: field.value.moved(by) };
        self.list.extend(other.list.iter().map(moved));
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The lines as positions.
    pub fn as_slice(&self) -> &[Field] {
        &self.list
    }

    /// Name and value of each line, in order.
    pub fn iter<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + 'a {
        self.list.iter().map(move |field| (field.name.of(bytes), field.value.of(bytes)))
    }

    /// The values of every line called `name`, in order; `name` in any case.
    pub fn all<'a>(&'a self, bytes: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.iter(bytes).filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first line called `name`.
    pub fn first<'a>(&'a self, bytes: &'a [u8], name: &'a [u8]) -> Option<&'a [u8]> {
        self.all(bytes, name).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_any_case_and_in_order() {
        let bytes = b"Set-Cookie: a\r\nset-cookie: b\r\n";
        let mut fields = Fields::default();
        fields.push(Field { name: Span::new(0, 10), value: Span::new(12, 13) });
        fields.push(Field { name: Span::new(15, 25), value: Span::new(27, 28) });
        assert_eq!(fields.all(bytes, b"SET-COOKIE").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(fields.first(bytes, b"host"), None);
    }

    #[test]
    fn a_span_of_other_bytes_is_empty_instead_of_a_panic() {
        assert_eq!(Span::new(5, 9).of(b"abc"), b"");
    }
}

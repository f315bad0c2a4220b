//! Writes header lines and, where the log wants to know, remembers where they lie.

use super::fields::{Field, Fields, Span};

/// A head in the making.
pub(super) struct HeadWriter<'a> {
    pub out: &'a mut Vec<u8>,
    /// Where the lines go as positions in `out`.
    pub sent: Option<&'a mut Fields>,
}

impl HeadWriter<'_> {
    /// `HTTP/1.1 200 OK`: we speak 1.1 whatever the client speaks (RFC 9110 §6.2).
    pub fn status_line(&mut self, status: u16, reason: &[u8]) {
        self.out.extend_from_slice(b"HTTP/1.1 ");
        self.out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        self.out.push(b' ');
        self.out.extend_from_slice(reason);
        self.out.extend_from_slice(b"\r\n");
    }

    /// One line. `label` is its name with a colon and a space: of a length known here, so that it is stored and not copied by a call.
    pub fn line<const LABEL: usize>(&mut self, label: &[u8; LABEL], value: &[u8]) {
        self.joined(label, [value]);
    }

    /// One line whose value is put together from parts.
    pub fn joined<const LABEL: usize, const PARTS: usize>(&mut self, label: &[u8; LABEL], parts: [&[u8]; PARTS]) {
        debug_assert!(label.ends_with(b": "));
        let start = self.out.len();
        self.out.extend_from_slice(label);
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
        self.end_line(start, LABEL - b": ".len());
    }

    /// A line of another head: as it stands there if nothing but a colon and a space lies between its name and its value, and its end behind.
    pub fn pass(&mut self, bytes: &[u8], field: Field) {
        let (from, to) = (field.name.start as usize, (field.value.start + field.value.len) as usize);
        let name_len = field.name.len as usize;
        match bytes.get(from..to + 2).map(|line| (line, &line[name_len..])) {
            Some((line, [b':', b' ', ..]))
                if line.ends_with(b"\r\n") && to - from - name_len == field.value.len as usize + 2 =>
            {
                let start = self.out.len();
                self.out.extend_from_slice(line);
                self.remember(start, name_len, self.out.len() - 2);
            }
            _ => {
                let start = self.out.len();
                self.out.extend_from_slice(field.name.of(bytes));
                self.out.extend_from_slice(b": ");
                self.out.extend_from_slice(field.value.of(bytes));
                self.end_line(start, name_len);
            }
        }
    }

    fn end_line(&mut self, start: usize, name_len: usize) {
        let end = self.out.len();
        self.out.extend_from_slice(b"\r\n");
        self.remember(start, name_len, end);
    }

    fn remember(&mut self, start: usize, name_len: usize, end: usize) {
        if let Some(sent) = &mut self.sent {
            let colon = start + name_len;
            sent.push(Field { name: Span::new(start, colon), value: Span::new(colon + 2, end) });
        }
    }

    /// One line with a number.
    pub fn number<const LABEL: usize>(&mut self, label: &[u8; LABEL], number: u64) {
        self.line(label, itoa::Buffer::new().format(number).as_bytes());
    }

    /// The blank line.
    pub fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

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

    /// One line.
    pub fn line(&mut self, name: &[u8], value: &[u8]) {
        self.joined(name, &[value]);
    }

    /// One line whose value is put together from parts.
    pub fn joined(&mut self, name: &[u8], parts: &[&[u8]]) {
        let start = self.out.len();
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b": ");
        for part in parts {
            self.out.extend_from_slice(part);
        }
        let end = self.out.len();
        self.out.extend_from_slice(b"\r\n");
        if let Some(sent) = &mut self.sent {
            let colon = start + name.len();
            sent.push(Field { name: Span::new(start, colon), value: Span::new(colon + 2, end) });
        }
    }

    /// One line with a number.
    pub fn number(&mut self, name: &[u8], number: u64) {
        self.line(name, itoa::Buffer::new().format(number).as_bytes());
    }

    /// The blank line.
    pub fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

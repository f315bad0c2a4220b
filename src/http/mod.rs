//! Pure HTTP/1: heads, framing, chunked bodies, which headers pass, and our own replies (RFC 9110, RFC 9112). No socket.

pub mod fields;

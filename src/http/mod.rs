//! Pure HTTP/1: heads, framing, chunked bodies, which headers pass, and our own replies (RFC 9110, RFC 9112). No socket.

pub mod chunked;
pub mod date;
pub mod fields;
pub mod host;
pub mod limits;
mod lines;
pub mod message;
pub mod policy;
#[doc(hidden)]
pub mod reads;
pub mod recall;
pub mod recode;
pub mod reply;
pub mod request;
pub mod response;
pub mod syntax;
pub mod uri;
mod write;

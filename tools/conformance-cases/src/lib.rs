//! What RFC 9110 and RFC 9112 ask of an HTTP/1.1 proxy, case by case, over raw sockets: bytes from a client, bytes from an upstream, and
//! what either side must see of the other. Knows no proxy: `tests/proxy` runs the table against Tollgate, `tools/conformance` against
//! its peers too. Where the RFC leaves a choice, every legal one passes.

pub mod case;
pub mod cases;
mod client;
pub mod judge;
mod message;
pub mod musts;
pub mod run;
mod upstream;

pub use case::{After, Answer, Case, Check, Piece};
pub use judge::{Seen, judge};
pub use run::{Outcome, run_all};
pub use upstream::Upstream;

//! What every room may use: bounds, time as a value, counters, the fault. No clock, file, socket or runtime.

pub mod block;
pub mod counters;
pub mod fault;
pub mod hash;
pub mod limits;
pub mod time;

pub use fault::Fault;
pub use time::{Mono, Wall};

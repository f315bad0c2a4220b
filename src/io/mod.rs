//! The thin shell over monoio: sockets, deadlines, the clock, files, ring memory. Moves bytes and decides nothing.
//!
//! monoio is named here and in `worker` only. `unsafe` is allowed in this room; every block says why it holds.
#![allow(unsafe_code)]

pub mod bell;
pub mod buffer;
pub mod clock;
pub mod deadline;
pub mod driver;
pub mod duplex;
pub mod files;
pub mod listener;
pub mod lodging;
pub mod notify;
pub mod process;
pub mod ring_memory;
pub mod socket;
pub mod stall;
pub mod tls;

//! Tollgate: an HTTP gateway that proxies on io_uring, one thread a core, and records every request in Apache Kafka.
//!
//! ```text
//! data path (one copy on every core, nothing shared)
//!   listener → connection → http head → route → upstream pool → relay → exchange
//!            → log plan (JSON) → ring of open batches → producer machine → broker socket → Kafka
//!
//! control path (one thread of its own)
//!   admin API │ config file → store (revisions) → compile → snapshot → published → swapped in between two requests
//! ```
//!
//! Rooms by layer; `tests/tidy` holds the edges:
//! 0 [`base`]; 1 pure: [`http`] [`route`] [`upstream`] [`log`] [`kafka`] [`spool`]; 2 [`config`]; 3 [`io`]; 4 [`worker`]; 5 [`control`];
//! 6 [`command`], which puts them together.
//! Pure rooms know bytes, time as a value and state; never a socket, a file, a clock, randomness or a runtime.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod base;
pub mod command;
pub mod config;
pub mod control;
pub mod http;
pub mod io;
pub mod kafka;
pub mod log;
pub mod route;
pub mod spool;
pub mod upstream;
pub mod worker;

//! Configuration: APISIX's names verbatim, checked with all errors and their paths, compiled into snapshots. No file, no socket.

pub mod publish;
pub mod snapshot;

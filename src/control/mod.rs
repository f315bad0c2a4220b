//! The control thread: Admin API, stores, publishing, name resolution, metrics, reading records back. Never the data path.

pub mod records;
pub mod topics;

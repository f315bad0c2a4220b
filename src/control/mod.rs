//! The control thread: Admin API, stores, publishing, name resolution, metrics, reading records back. Never the data path.

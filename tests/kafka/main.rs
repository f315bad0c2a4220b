//! Kafka, as the product meets it: reading back against the dev broker.

#[path = "../support/mod.rs"]
mod support;

mod auditing;
mod reading_back;
mod terminal;

//! Kafka, as the product meets it: reading back against the dev broker.

mod asking;
mod reading_back;
mod terminal;

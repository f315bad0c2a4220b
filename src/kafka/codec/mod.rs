//! Kafka's messages: the only place of the product that names `kafka_protocol`.

pub mod read;

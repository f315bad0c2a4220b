//! Kafka's messages. Requests are encoded by `kafka_protocol`, which is named in this folder only; answers to a producer are
//! decoded by `answers` (see there why), those to a reader by `read`. The Produce request is `kafka::head`'s.

pub mod answers;
pub mod producers;
pub mod read;
pub mod requests;
mod wire;

#[cfg(test)]
pub(super) mod broker_log;
#[cfg(test)]
pub(super) mod broker_side;
#[cfg(test)]
mod tests;

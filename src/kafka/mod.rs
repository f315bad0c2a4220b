//! Pure: how records reach Kafka, and how they are read back. Record batches in wire layout, the ring they lie in, the producer as
//! a state machine.

pub mod array;
pub mod batch;
pub mod batch_heads;
#[cfg(test)]
mod batch_tests;
pub mod codec;
pub mod compress;
pub mod connection;
pub mod cut;
pub mod decompress;
pub mod event;
pub mod head;
pub mod inquiry;
#[cfg(test)]
mod inquiry_tests;
pub mod lane;
pub mod metadata;
pub mod options;
pub mod partition;
pub mod producer;
#[cfg(test)]
mod producer_tests;
pub mod records;
pub mod retry;
pub mod ring;
pub mod shipper;
#[cfg(test)]
mod sim;
pub mod sink;
pub mod stats;
pub mod stored;
mod varint;

pub use batch::Out;
pub use event::{Action, Appended, ConnId, Event, Level, SlotId};
pub use options::{Acks, Batching, Compression, LaneId, LaneSpec, Mode, Partitioner, ShipperOptions, SinkId, SinkSpec};
pub use ring::SlotMemory;
pub use shipper::Shipper;
pub use stats::{Lost, LostReason, Stats};
pub use stored::{Origin, Stored};

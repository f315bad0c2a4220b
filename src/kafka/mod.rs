//! Pure: how records reach Kafka, and how they are read back. Record batches in wire layout, the ring they lie in, the producer as
//! a state machine.

pub mod array;
pub mod audit;
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
pub mod figures;
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
pub mod sasl;
pub mod security;
pub mod shipper;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod sim_disk;
#[cfg(test)]
mod sim_log;
#[cfg(test)]
mod sim_sasl;
pub mod sink;
pub mod slot;
pub mod stats;
pub mod stored;
pub mod tls;
pub mod trace;
#[cfg(test)]
mod trace_tests;
mod varint;

pub use batch::Out;
pub use event::{Action, Appended, ConnId, Event, Level, SlotId, Ticket};
pub use figures::SinkFigures;
pub use options::{
    Acks, Batching, Compression, LaneId, LaneSpec, Mode, Overflow, Partitioner, ShipperOptions, SinkId, SinkSpec,
};
pub use producer::Outcome;
pub use ring::SlotMemory;
pub use security::{Credentials, Mechanism, Secret, Security};
pub use shipper::Shipper;
pub use stats::{Lost, LostReason, Stats};
pub use stored::{FrameRef, Origin, Stored};
pub use tls::Tls;

//! Pure: how records reach Kafka. Record batches in wire layout, the ring they lie in, and the producer as a state machine.

pub mod batch;
pub mod event;
pub mod options;
pub mod ring;
pub mod shipper;
pub mod stats;

pub use batch::Out;
pub use event::{Action, Appended, ConnId, Event, Level, SlotId};
pub use options::{Acks, Batching, Compression, LaneId, LaneSpec, Mode, Partitioner, ShipperOptions, SinkId, SinkSpec};
pub use ring::SlotMemory;
pub use shipper::Shipper;
pub use stats::{Lost, LostReason, Stats};

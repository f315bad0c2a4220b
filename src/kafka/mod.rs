//! Pure: how records reach Kafka. Record batches in wire layout, the ring they lie in, and the producer as a state machine.

pub mod batch;

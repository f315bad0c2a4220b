//! Pure: how records reach Kafka. Record batches in wire layout, the ring they lie in, and the producer as a state machine.

/// stub
pub trait SlotMemory {
    /// stub
    fn bytes(&self) -> &[u8];
    /// stub
    fn bytes_mut(&mut self) -> &mut [u8];
}

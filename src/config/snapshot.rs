//! What a core serves from: one compiled, immutable picture of the whole configuration.

/// The compiled configuration. Indexes in it point into its own lists.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts up with every change; for people and metrics.
    pub revision: u64,
}

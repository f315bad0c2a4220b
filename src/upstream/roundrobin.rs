//! Smooth weighted round robin.

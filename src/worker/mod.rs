//! One core: owns everything it uses, serves, ships records, swaps snapshots, drains.

//! Kafka, as the product meets it: reading back against the dev broker, and a real gateway whose broker does what no real one can be
//! asked for (KAFKA.md §6 and §9, row by row, and every class of error).

#[path = "../support/mod.rs"]
mod support;

mod asking;
mod auditing;
mod faults_answers;
mod faults_errors;
mod faults_leaders;
mod faults_limits;
mod faults_mixed;
mod faults_sequences;
mod faults_sizes;
mod faults_versions;
mod reading_back;
mod rig;
mod terminal;

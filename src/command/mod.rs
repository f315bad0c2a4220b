//! What the commands do: `run`, `check`, `demo`, `doctor`, `tail`, `topics`, `audit`,
//! `spool`. Puts the rooms together; `main` only parses words.

pub mod access;
mod activation;
pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
pub mod doctor;
pub mod records;
pub mod recover;
pub mod run;
pub mod spool;
pub mod verbosity;

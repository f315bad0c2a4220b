//! What the commands do: `run`, `check`, `demo`, `doctor`, `tail`, `topics`. Puts the rooms together; `main` only parses words.

pub mod access;
pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
pub mod doctor;
pub mod records;
pub mod run;
pub mod verbosity;

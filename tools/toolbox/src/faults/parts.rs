//! What can be killed of a contestant, and how a case talks to one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::process::pinned;
use crate::started::{Process, program};

/// Where the configurations with `{…}` in them are.
const TEMPLATES: &str = "tools/faults.d";

/// What can be killed of a contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What clients talk to.
    Front,
    /// What sends to Kafka, where that is another process.
    Shipper,
}

/// Who takes part: our gateway, or a peer.
pub trait Contestant {
    /// Where clients connect.
    fn proxy(&self) -> SocketAddr;
    /// The Prometheus endpoint, if it counts entries as we do.
    fn metrics(&self) -> Option<SocketAddr>;
    /// The process whose memory is watched; 0 while it is down.
    fn pid(&self) -> i32;
    /// kill -9.
    fn kill(&mut self, part: Part) -> Outcome;
    /// SIGTERM, and waits. Says how it ended.
    fn end(&mut self, part: Part) -> Outcome<String>;
    /// Starts it again with the same configuration on the same data.
    fn start(&mut self, part: Part) -> Outcome;
}

/// Writes a configuration of `tools/faults.d` into `dir` with every `{NAME}` filled in.
pub fn fill(template: &str, dir: &Path, values: &[(&str, String)]) -> Outcome<PathBuf> {
    crate::started::fill(TEMPLATES, template, dir, values)
}

/// nginx with a configuration, beside the gateway's core.
pub fn nginx(dir: &Path, config: &Path, address: SocketAddr) -> Outcome<Process> {
    let mut command = pinned(program("nginx")?, 0);
    command.args(["-e", "stderr", "-p"]).arg(dir).arg("-c").arg(config);
    let mut process = Process::start(command, config.with_extension("log"))?;
    process.wait_listening(address)?;
    Ok(process)
}

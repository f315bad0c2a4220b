//! nginx with a JSON log file and rsyslog's omkafka behind it as a contestant. Both with configurations of `tools/faults.d`, as processes
//! of their own: nothing of the machine's own nginx or rsyslog is touched.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Ports;
use super::parts::{Contestant, Part, fill, nginx};
use crate::Outcome;
use crate::process::pinned;
use crate::started::{Process, program};

/// nginx and rsyslog.
pub struct Peer {
    dir: PathBuf,
    ports: Ports,
    nginx: Option<Process>,
    rsyslog: Option<Process>,
}

impl Peer {
    /// Starts both in `dir`.
    pub fn up(dir: &Path, ports: Ports, topic: &str, brokers: &[String]) -> Outcome<Self> {
        let work = dir.join("rsyslog");
        fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        let quoted: Vec<String> = brokers.iter().map(|broker| format!("\"{broker}\"")).collect();
        let values = [
            ("DIR", dir.to_string_lossy().into_owned()),
            ("UPSTREAM", ports.upstream.to_string()),
            ("PROXY", ports.proxy.to_string()),
            ("BROKERS", quoted.join(", ")),
            ("TOPIC", topic.to_owned()),
        ];
        fill("nginx.conf", dir, &values)?;
        fill("rsyslog.conf", dir, &values)?;
        let mut peer = Self { dir: dir.to_owned(), ports, nginx: None, rsyslog: None };
        peer.start(Part::Front)?;
        peer.start(Part::Shipper)?;
        Ok(peer)
    }

    fn slot(&mut self, part: Part) -> &mut Option<Process> {
        match part {
            Part::Front => &mut self.nginx,
            Part::Shipper => &mut self.rsyslog,
        }
    }

    fn take(&mut self, part: Part) -> Outcome<Process> {
        self.slot(part).take().ok_or_else(|| format!("the {part:?} of the peer is not running"))
    }
}

impl Contestant for Peer {
    fn proxy(&self) -> SocketAddr {
        self.ports.proxy
    }

    fn metrics(&self) -> Option<SocketAddr> {
        None
    }

    fn pid(&self) -> i32 {
        self.rsyslog.as_ref().map_or(0, Process::pid)
    }

    fn kill(&mut self, part: Part) -> Outcome {
        self.take(part).map(Process::kill)
    }

    fn end(&mut self, part: Part) -> Outcome<String> {
        self.take(part)?.end()
    }

    fn start(&mut self, part: Part) -> Outcome {
        let process = match part {
            Part::Front => nginx(&self.dir, &self.dir.join("nginx.conf"), self.ports.proxy)?,
            Part::Shipper => {
                // What a killed one left behind would make the next one refuse to start.
                let pid_file = self.dir.join("rsyslogd.pid");
                let _ = fs::remove_file(&pid_file);
                let mut command = pinned(program("rsyslogd")?, 0);
                command.arg("-n").arg("-f").arg(self.dir.join("rsyslog.conf")).arg("-i").arg(pid_file);
                Process::start(command, self.dir.join("rsyslogd.log"))?
            }
        };
        *self.slot(part) = Some(process);
        Ok(())
    }
}

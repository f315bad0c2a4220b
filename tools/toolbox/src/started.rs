//! Processes that a tool starts and that never outlive it; their configurations, programs and places.

use std::fs::{self, OpenOptions};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{Identity, Signal, tail_of};
use crate::{Outcome, stop};

/// How long a process may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a process may take to end after SIGTERM before it is killed.
const END_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const EVERY: Duration = Duration::from_millis(20);

/// A directory that goes with its owner; who uses it makes it.
pub struct Scratch(PathBuf);

impl Scratch {
    /// The one at `path`.
    pub fn new(path: &str) -> Self {
        Self(PathBuf::from(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with its owner, and with the tool if that is killed.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it prints is added to `log`.
    pub fn start(mut command: Command, log: PathBuf) -> Outcome<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let out = OpenOptions::new().create(true).append(true).open(&log);
        let out = out.map_err(|error| format!("{}: {error}", log.display()))?;
        let err = out.try_clone().map_err(|error| error.to_string())?;
        // A group of its own: Ctrl-C is for the tool, which ends it the usual way.
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        // SAFETY: prctl(2) with these arguments touches no memory, and is all that the child does before exec.
        unsafe { command.pre_exec(die_with_the_tool) };
        let child = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Self { child, log })
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits until it listens.
    pub fn wait_listening(&mut self, address: SocketAddr) -> Outcome {
        let end = Instant::now() + START_LIMIT;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            self.still_runs().map_err(|text| format!("nobody listens on {address}: {text}"))?;
            if Instant::now() > end {
                return Err(format!("nobody listens on {address} after {} s; {}", START_LIMIT.as_secs(), self.tail()));
            }
            stop::pause(EVERY)?;
        }
        Ok(())
    }

    /// An error with what it printed last if it has ended.
    pub fn still_runs(&mut self) -> Outcome {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("it ended with {status}; {}", self.tail())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn tail(&self) -> String {
        format!("the end of {}:\n{}", self.log.display(), tail_of(&self.log, 12))
    }

    /// kill -9, as a crash.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits; killed if that takes too long.
    pub fn end(mut self) -> Outcome<String> {
        let begin = Instant::now();
        if let Some(identity) = Identity::of(self.pid()) {
            identity.signal(Signal::Term);
        }
        while begin.elapsed() < END_LIMIT {
            if let Ok(Some(status)) = self.child.try_wait() {
                let how = status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"));
                return Ok(format!("{how} after {:.1} s", begin.elapsed().as_secs_f64()));
            }
            stop::pause(EVERY)?;
        }
        Ok(format!("still there {} s after SIGTERM, killed", END_LIMIT.as_secs()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its group, which is its own: an nginx that is killed leaves its workers, and they its port in use.
        // SAFETY: kill(2) takes two numbers and touches no memory of ours; the child was not waited for, so that its number is still its own.
        unsafe { libc::kill(-self.pid(), libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

fn die_with_the_tool() -> std::io::Result<()> {
    // SAFETY: see where it is called.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Writes a configuration of the directory `templates` into `dir` with every `{NAME}` filled in.
pub fn fill(templates: &str, template: &str, dir: &Path, values: &[(&str, String)]) -> Outcome<PathBuf> {
    let from = Path::new(templates).join(template);
    let mut text = fs::read_to_string(&from).map_err(|error| format!("{}: {error}", from.display()))?;
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    let to = dir.join(template);
    fs::write(&to, text).map_err(|error| format!("{}: {error}", to.display()))?;
    Ok(to)
}

/// A program's place, or what to install.
pub fn program(name: &'static str) -> Outcome<&'static str> {
    let (package, sbin) = match name {
        "nginx" => ("nginx-light", "/usr/sbin/nginx"),
        "haproxy" => ("haproxy", "/usr/sbin/haproxy"),
        "wrk" => ("wrk", ""),
        "rsvg-convert" => ("librsvg2-bin", ""),
        "rsyslogd" => ("rsyslog rsyslog-kafka", "/usr/sbin/rsyslogd"),
        "java" => ("default-jre-headless", ""),
        _ => ("maven", ""),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join(name).is_file()) {
        return Ok(name);
    }
    if Path::new(sbin).is_file() { Ok(sbin) } else { Err(format!("{name} is missing: apt-get install {package}")) }
}

/// Fails with the first address that somebody else holds.
pub fn check_free(addresses: &[SocketAddr]) -> Outcome {
    for address in addresses {
        TcpListener::bind(address)
            .map_err(|error| format!("{address} cannot be had ({error}); --port-base moves it"))?;
    }
    Ok(())
}

/// A directory with nothing in it, by its whole path.
pub fn fresh(dir: &Path) -> Outcome<PathBuf> {
    let text = |error: std::io::Error| format!("{}: {error}", dir.display());
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(text)?;
    }
    fs::create_dir_all(dir).map_err(text)?;
    std::path::absolute(dir).map_err(text)
}

//! Processes that outlive the command which started them, and how to be sure that a pid still means the same process.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(20);
/// See [`take_short_turns`]; the least that the kernel takes.
const TURN_NS: u64 = 100_000;

/// A process by pid and start time: a pid that was given to somebody else does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The kernel's number for it.
    pub pid: i32,
    /// Start time in clock ticks since boot (field 22 of `/proc/PID/stat`, proc(5)).
    pub started: u64,
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs or sleeps.
    Running,
    /// SIGSTOP holds it.
    Paused,
    /// It has ended, or the pid belongs to somebody else.
    Gone,
}

/// The signals that the tools send.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// End, please.
    Term,
    /// End now.
    Kill,
    /// Hold.
    Stop,
    /// Go on.
    Continue,
}

impl Identity {
    /// The identity of a running process; nothing if it is gone.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = stat_fields(pid)?;
        Some(Self { pid, started: stat.get(19)?.parse().ok()? })
    }

    /// What it is doing now.
    pub fn state(self) -> State {
        if Self::of(self.pid) != Some(self) {
            return State::Gone;
        }
        match stat_fields(self.pid).as_deref().and_then(|fields| fields.first().map(String::as_str)) {
            Some("T" | "t") => State::Paused,
            None | Some("Z" | "X") => State::Gone,
            Some(_) => State::Running,
        }
    }

    /// Sends a signal, but only to this very process. False if it is gone.
    pub fn signal(self, signal: Signal) -> bool {
        let number = match signal {
            Signal::Term => libc::SIGTERM,
            Signal::Kill => libc::SIGKILL,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        };
        if self.state() == State::Gone {
            return false;
        }
        // SAFETY: kill(2) takes two numbers and touches no memory of ours.
        unsafe { libc::kill(self.pid, number) == 0 }
    }

    /// Waits until it is gone. False if it is still there when the time is up.
    pub fn wait_gone(self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.state() != State::Gone {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }
}

/// The fields of `/proc/PID/stat` after the command's name: the first is the state (field 3 in proc(5)).
fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Starts a process in its own group, so that Ctrl-C in this terminal does not reach it, with its output in `log`.
pub fn spawn_detached(command: &mut Command, log: &Path) -> Outcome<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = OpenOptions::new().create(true).append(true).open(log);
    let out = out.map_err(|error| format!("{}: {error}", log.display()))?;
    let err = out.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
    command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{name} is not installed"),
        _ => format!("{name} does not start: {error}"),
    })
}

/// Runs a command to its end and gives its output; a failure says what it printed.
pub fn run_quietly(command: &mut Command) -> Outcome<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{name} is not installed"),
        _ => format!("{name} does not start: {error}"),
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{name} failed ({}):\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// `program`, to be run on one core only. Without taskset it runs on all.
pub fn pinned(program: &str, core: usize) -> Command {
    pinned_to(program, &core.to_string())
}

/// `program`, to be run on some cores only (`0-1`, `0,2`). Without taskset it runs on all.
pub fn pinned_to(program: &str, cores: &str) -> Command {
    let has_taskset = ["/usr/bin/taskset", "/bin/taskset"].iter().any(|path| Path::new(path).exists());
    if !has_taskset {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", cores, program]);
    command
}

/// Raises the limit of open files as far as it goes, for this process and what it starts.
pub fn allow_many_files() {
    // SAFETY: rlimit is two numbers; both calls get a live pointer to one.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Keeps the calling thread, and what it starts from now on, on one core. Without such a core it stays where it is.
pub fn stay_on(core: usize) {
    // SAFETY: cpu_set_t is plain bits, all-zero is the empty set; the call gets its true size and a live pointer.
    unsafe {
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut one);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one);
    }
}

/// Gives a running process, and every thread that it starts from now on, only what nobody else wants of a core (`SCHED_IDLE`, sched(7)): it
/// then takes no time from those that it shares cores with, as if it had a machine of its own.
pub fn take_only_idle_time(pid: i32) {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for thread in tasks.filter_map(|task| task.file_name().to_str()?.parse::<i32>().ok()) {
        // SAFETY: sched_param is plain bits, for this policy all zero; the call reads it. A thread that has ended is an error that does no harm.
        unsafe {
            let none: libc::sched_param = std::mem::zeroed();
            libc::sched_setscheduler(thread, libc::SCHED_IDLE, &raw const none);
        }
    }
}

/// Lets a thread (0: the calling one) run [`TURN_NS`] at a time where it shares a core with others that are busy, instead of the kernel's 3 ms: a
/// load and its upstream on one core otherwise wait for each other so long. Nothing before Linux 6.12, which knows no slices of a thread's own.
pub fn take_short_turns(thread: i32) {
    // SAFETY: sched_attr is plain bits; what is zero is not asked for.
    let mut turns: libc::sched_attr = unsafe { std::mem::zeroed() };
    turns.size = size_of::<libc::sched_attr>() as u32;
    turns.sched_policy = libc::SCHED_OTHER as u32;
    turns.sched_runtime = TURN_NS;
    // SAFETY: the call reads `size` bytes behind a live pointer. A thread that has ended is an error that does no harm.
    unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &raw const turns, 0) };
}

/// CPU seconds of a process so far, user and system, its threads included. Nothing if it is gone.
pub fn cpu_seconds(pid: i32) -> Option<f64> {
    /// Linux counts these fields in hundredths of a second on every architecture that we know (proc(5), `USER_HZ`).
    const TICKS_PER_S: f64 = 100.0;
    let fields = stat_fields(pid)?;
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}

/// The last lines of a log, for an error message.
pub fn tail_of(log: &Path, lines: usize) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("30").spawn().expect("sleep exists everywhere")
    }

    #[test]
    fn a_process_is_paused_resumed_and_ended_by_its_identity() {
        let mut child = sleeper();
        let identity = Identity::of(child.id() as i32).expect("it runs");
        assert!(identity.signal(Signal::Stop));
        let end = Instant::now() + Duration::from_secs(5);
        while identity.state() != State::Paused {
            assert!(Instant::now() < end, "SIGSTOP holds a process within five seconds");
            std::thread::sleep(POLL);
        }
        assert!(identity.signal(Signal::Continue));
        assert!(identity.signal(Signal::Kill));
        child.wait().expect("our child");
        assert_eq!(identity.state(), State::Gone);
        assert!(!identity.signal(Signal::Kill), "nothing is sent to a process that is gone");
    }

    #[test]
    fn a_pid_with_another_start_time_is_a_stranger() {
        let mut child = sleeper();
        let identity = Identity::of(child.id() as i32).expect("it runs");
        let stranger = Identity { started: identity.started + 1, ..identity };
        assert_eq!(stranger.state(), State::Gone);
        assert!(!stranger.signal(Signal::Kill));
        assert_eq!(identity.state(), State::Running);
        child.kill().expect("our child");
        child.wait().expect("our child");
    }
}

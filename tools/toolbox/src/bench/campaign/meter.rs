//! CPU time and memory: of processes with everything below them, and of the whole machine.

use std::collections::BTreeMap;
use std::fs;

/// Linux counts in hundredths of a second on every architecture that we know (proc(5), `USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

/// CPU seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// In the programs themselves.
    pub user_s: f64,
    /// In the kernel for them.
    pub system_s: f64,
}

impl Cpu {
    /// Both.
    pub const fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }

    /// What was used since.
    pub const fn since(self, before: Self) -> Self {
        Self { user_s: self.user_s - before.user_s, system_s: self.system_s - before.system_s }
    }

    const fn plus(self, other: Self) -> Self {
        Self { user_s: self.user_s + other.user_s, system_s: self.system_s + other.system_s }
    }
}

/// One line of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    pid: i32,
    parent: i32,
    /// Its own, with its ended children's.
    cpu: Cpu,
}

fn parse_stat(text: &str) -> Option<Stat> {
    let (first, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields 14 to 17 of proc(5), the first of `fields` being the third.
    let seconds = |own: usize, children: usize| {
        let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some((ticks(own)? + ticks(children)?) / TICKS_PER_S)
    };
    Some(Stat {
        pid: first.split(' ').next()?.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        cpu: Cpu { user_s: seconds(11, 13)?, system_s: seconds(12, 14)? },
    })
}

fn all_stats() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(|c: char| c.is_ascii_digit()));
    numbered.filter_map(|entry| parse_stat(&fs::read_to_string(entry.path().join("stat")).ok()?)).collect()
}

/// `roots` and everything below them.
fn family(stats: &[Stat], roots: &[i32]) -> Vec<Stat> {
    let by_pid: BTreeMap<i32, &Stat> = stats.iter().map(|stat| (stat.pid, stat)).collect();
    let belongs = |stat: &&Stat| {
        let mut pid = stat.pid;
        // A chain of parents is short; a pid that was reused meanwhile must not make it a ring.
        for _ in 0..32 {
            if roots.contains(&pid) {
                return true;
            }
            match by_pid.get(&pid) {
                Some(stat) if stat.parent > 1 => pid = stat.parent,
                _ => return false,
            }
        }
        false
    };
    stats.iter().filter(belongs).copied().collect()
}

/// CPU seconds of some processes and of all below them, so far.
pub fn cpu_of(roots: &[i32]) -> Cpu {
    family(&all_stats(), roots).iter().fold(Cpu::default(), |sum, stat| sum.plus(stat.cpu))
}

/// Resident bytes of some processes and of all below them.
pub fn resident_bytes(roots: &[i32]) -> u64 {
    let status = |pid: i32| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    family(&all_stats(), roots).iter().map(|stat| resident_in(&status(stat.pid))).sum()
}

fn resident_in(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// CPU seconds of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Machine {
    /// Spent on anything.
    pub busy_s: f64,
    /// Spent on nothing.
    pub idle_s: f64,
    /// Wanted, but given to somebody else by the host.
    pub stolen_s: f64,
}

impl Machine {
    /// So far.
    pub fn now() -> Self {
        parse_machine(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// Between two looks.
    pub const fn since(self, before: Self) -> Self {
        Self {
            busy_s: self.busy_s - before.busy_s,
            idle_s: self.idle_s - before.idle_s,
            stolen_s: self.stolen_s - before.stolen_s,
        }
    }

    /// A part of everything that there was to spend.
    pub fn share(self, seconds: f64) -> f64 {
        let all = self.busy_s + self.idle_s + self.stolen_s;
        if all > 0.0 { seconds / all } else { 0.0 }
    }
}

fn parse_machine(text: &str) -> Machine {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let seconds = |indices: &[usize]| indices.iter().filter_map(|index| ticks.get(*index)).sum::<f64>() / TICKS_PER_S;
    // user nice system idle iowait irq softirq steal; what guests use is in user already.
    Machine { busy_s: seconds(&[0, 1, 2, 5, 6]), idle_s: seconds(&[3, 4]), stolen_s: seconds(&[7]) }
}

/// CPU seconds of the children that this process has waited for.
pub fn ended_children() -> Cpu {
    // SAFETY: rusage is plain numbers, all-zero is one of its values; the call gets a live pointer to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Cpu { user_s: seconds(usage.ru_utime), system_s: seconds(usage.ru_stime) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "12 (a ) b) S 7 1 1 0 -1 4194304 1 2 3 4 150 50 10 20 20 0 3 0 999 1000 20";

    #[test]
    fn a_process_with_brackets_in_its_name_is_read() {
        let cpu = Cpu { user_s: 1.6, system_s: 0.7 };
        assert_eq!(parse_stat(LINE), Some(Stat { pid: 12, parent: 7, cpu }));
        assert_eq!(parse_stat("12 (a"), None);
    }

    #[test]
    fn a_family_is_the_roots_and_all_below() {
        let stat = |pid, parent| Stat { pid, parent, cpu: Cpu::default() };
        let all = [stat(1, 0), stat(10, 1), stat(11, 10), stat(12, 11), stat(20, 1), stat(30, 30)];
        let pids: Vec<i32> = family(&all, &[10]).iter().map(|stat| stat.pid).collect();
        assert_eq!(pids, [10, 11, 12]);
        assert!(family(&all, &[99]).is_empty());
    }

    #[test]
    fn the_machine_is_busy_idle_or_stolen_from() {
        let machine = parse_machine("cpu  100 10 200 1000 50 5 5 30 40 0\ncpu0 1 1 1 1\n");
        assert_eq!(machine, Machine { busy_s: 3.2, idle_s: 10.5, stolen_s: 0.3 });
        assert!((machine.share(machine.stolen_s) - 0.3 / 14.0).abs() < 1e-9);
        assert!(machine.share(1.0) < 1.0);
    }

    #[test]
    fn resident_memory_is_read_and_ours_is_some() {
        assert_eq!(resident_in("Name:\ta\nVmRSS:\t    2048 kB\n"), 2 << 20);
        assert!(resident_bytes(&[std::process::id() as i32]) > 1 << 20);
        assert!(cpu_of(&[std::process::id() as i32]).total_s() >= 0.0);
    }
}

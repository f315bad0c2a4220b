//! What a gateway has of the system's at one moment: descriptors, memory, operations that the kernel has not finished, and what its own
//! gauges say.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::{CALLER, MEMORY_FLOOR_KIB, MEMORY_SHARE};
use crate::Outcome;

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    files: u64,
    /// Private memory, and all that is resident, in KiB.
    anonymous_kib: u64,
    resident_kib: u64,
    /// Operations that were given to the kernel and have not come back, of all rings.
    operations: u64,
    connections: u64,
    upstream_idle: u64,
    entries_held: u64,
    slots_used: u64,
}

impl Level {
    /// Reads it. Costs the gateway a connection to its metrics, which is gone before descriptors are counted.
    pub fn read(pid: i32, address: SocketAddr) -> Outcome<Self> {
        let names = [
            "tollgate_connections_open",
            "tollgate_upstream_idle",
            "tollgate_log_entries_held",
            "tollgate_ring_slots_used",
        ];
        let [connections, upstream_idle, entries_held, slots_used] = metrics(address, names)?;
        std::thread::sleep(std::time::Duration::from_millis(50));
        let process = Path::new("/proc").join(pid.to_string());
        let gone = |error: std::io::Error| format!("the gateway is gone: {error}");
        let files = fs::read_dir(process.join("fd")).map_err(gone)?.count() as u64;
        let status = fs::read_to_string(process.join("status")).map_err(gone)?;
        let kib = |name: &str| number(status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default());
        let infos = fs::read_dir(process.join("fdinfo")).map_err(gone)?.flatten();
        let operations =
            infos.filter_map(|info| fs::read_to_string(info.path()).ok()).filter_map(|info| in_ring(&info));
        Ok(Self {
            files,
            anonymous_kib: kib("RssAnon:"),
            resident_kib: kib("VmRSS:"),
            operations: operations.sum(),
            connections,
            upstream_idle,
            entries_held,
            slots_used,
        })
    }

    /// Nothing is on its way.
    pub const fn rests(&self) -> bool {
        self.connections == 0 && self.upstream_idle == 0 && self.entries_held == 0
    }

    /// Everything but memory is as in `other`.
    pub const fn same_counts(&self, other: &Self) -> bool {
        self.files == other.files && self.operations == other.operations
    }

    /// What is more than it was.
    pub fn faults_against(&self, before: &Self) -> Vec<String> {
        let memory_most = before.anonymous_kib + (before.anonymous_kib / MEMORY_SHARE).max(MEMORY_FLOOR_KIB);
        let bounds = [
            ("descriptors", self.files, before.files),
            ("operations in the kernel", self.operations, before.operations),
            ("KiB of private memory", self.anonymous_kib, memory_most),
            ("client connections", self.connections, 0),
            ("idle upstream connections", self.upstream_idle, 0),
            ("records held", self.entries_held, 0),
            ("ring slots", self.slots_used, before.slots_used),
        ];
        let over = bounds.into_iter().filter(|(_, now, most)| now > most);
        over.map(|(what, now, most)| format!("{now} {what}, at most {most} were to be")).collect()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} descriptors, {} operations in the kernel, {:.1} MiB private and {:.1} MiB resident, {} client and {} idle upstream \
             connections, {} records held, {} ring slots",
            self.files,
            self.operations,
            self.anonymous_kib as f64 / 1024.0,
            self.resident_kib as f64 / 1024.0,
            self.connections,
            self.upstream_idle,
            self.entries_held,
            self.slots_used
        )
    }
}

/// Operations of one ring that have not come back: submissions that the kernel took, without the completions that it gave (both wrap at
/// 32 bits). Nothing for a descriptor that is no ring.
fn in_ring(info: &str) -> Option<u64> {
    let of = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(number);
    let (taken, given) = (of("CachedSqHead:")?, of("CachedCqTail:")?);
    Some(u64::from((taken as u32).wrapping_sub(given as u32)))
}

fn number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Numbers of the metrics endpoint, all cores together.
pub fn metrics<const N: usize>(address: SocketAddr, names: [&str; N]) -> Outcome<[u64; N]> {
    let (status, text) = CALLER.http(address, "GET", "/apisix/prometheus/metrics", "")?;
    if status != 200 {
        return Err(format!("{address}: the metrics answer {status}"));
    }
    Ok(names.map(|name| {
        let of_name = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            series.strip_prefix(name)?.starts_with('{').then(|| value.parse::<u64>().ok())?
        };
        text.lines().filter_map(of_name).sum()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: &str = "pos:\t0\nSqHead:\t7\nCachedSqHead:\t4294967295\nCachedCqTail:\t4294967285\nSQEs:\t0\n";

    #[test]
    fn what_a_ring_has_under_way_is_what_went_in_and_did_not_come_out() {
        assert_eq!(in_ring(RING), Some(10));
        assert_eq!(in_ring(&RING.replace("CachedSqHead:\t4294967295", "CachedSqHead:\t2")), Some(13));
        assert_eq!(in_ring("pos:\t0\nflags:\t02\n"), None);
    }

    #[test]
    fn more_than_before_is_a_fault_and_less_is_none() {
        let before = Level { files: 40, operations: 20, anonymous_kib: 1_000_000, slots_used: 1, ..Level::default() };
        assert!(before.faults_against(&before).is_empty());
        assert!(
            Level { files: 39, operations: 19, anonymous_kib: 1_100_000, ..before }.faults_against(&before).is_empty()
        );
        let all =
            Level { files: 41, operations: 21, anonymous_kib: 1_100_001, connections: 1, entries_held: 1, ..before };
        assert_eq!(all.faults_against(&before).len(), 5);
    }
}

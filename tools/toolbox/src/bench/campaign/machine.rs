//! The machine that a table was measured on, in words.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::meter::Machine;
use crate::{Outcome, stop};

/// How long the machine is watched before the run.
const WATCH: Duration = Duration::from_secs(2);

/// Part of the machine's time that is in use before anything of ours runs.
pub fn busy_before() -> Outcome<f64> {
    let before = Machine::now();
    stop::pause(WATCH)?;
    let seen = Machine::now().since(before);
    Ok(seen.share(seen.busy_s + seen.stolen_s))
}

/// Cores of the machine.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The cores of a contestant with so many workers, and those of load and upstream, as taskset takes them. The last core is the load's
/// unless the workers need it too.
pub fn split(cores: usize, workers: usize) -> (String, String) {
    let list = |first: usize, last: usize| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let load = cores.saturating_sub(1);
    let contestant = if workers < cores { workers.max(1) - 1 } else { load };
    (list(0, contestant.min(load)), list(load, load))
}

/// What has to be said beside the tables.
pub fn description() -> Value {
    let read = |path: &str| fs::read_to_string(path).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned());
    let model = read("/proc/cpuinfo");
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("?", |rest| rest.trim_start_matches([' ', '\t', ':']));
    json!({
        "cpu": model,
        "cores": cores(),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "somaxconn": read("/proc/sys/net/core/somaxconn"),
        "nginx": version("/usr/sbin/nginx", &["-v"]),
        "haproxy": version("/usr/sbin/haproxy", &["-v"]),
        "rsyslog": version("/usr/sbin/rsyslogd", &["-v"]),
        "commit": version("git", &["rev-parse", "--short", "HEAD"]),
        "date": version("date", &["-u", "+%F %H:%M UTC"]),
    })
}

/// The first line that a program prints about itself.
fn version(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("?").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_has_the_last_core_to_itself_where_there_is_one() {
        let pair = |cores, workers| split(cores, workers);
        assert_eq!(pair(2, 1), ("0".to_owned(), "1".to_owned()));
        assert_eq!(pair(2, 2), ("0-1".to_owned(), "1".to_owned()));
        assert_eq!(pair(8, 4), ("0-3".to_owned(), "7".to_owned()));
        assert_eq!(pair(1, 1), ("0".to_owned(), "0".to_owned()));
    }
}

//! Everybody who is measured: started with the case's configuration, found again by pid, ended with its owner.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::case::{Case, Who};
use super::ours;
use crate::Outcome;
use crate::call::Caller;
use crate::process::pinned_to;
use crate::started::{self, Process, program};

/// Where the configurations with `{…}` in them are.
const TEMPLATES: &str = "tools/bench.d";
/// How metrics and counters are asked for.
const CALLER: Caller = Caller { key: "", limit: Duration::from_secs(10) };

/// What all contestants of a case share.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Where their files go.
    pub dir: PathBuf,
    /// A directory on a tmpfs for our rings.
    pub shm: PathBuf,
    /// The upstream.
    pub upstream: SocketAddr,
    /// A broker.
    pub kafka: String,
    /// Cores for the contestant, as taskset takes them.
    pub cores: String,
    /// Our binary.
    pub tollgate: PathBuf,
    /// `benches/relay`.
    pub relay: PathBuf,
    /// `tools/card`.
    pub card: PathBuf,
}

/// Where a contestant is asked how many requests it has had.
#[derive(Clone, Copy, Debug)]
enum Counter {
    /// Prometheus, as ours writes it.
    Metrics(SocketAddr),
    /// nginx's `stub_status`, and how many of its requests were our asking.
    StubStatus(SocketAddr),
    /// Nowhere: the load's own count is all there is.
    None,
}

/// One that runs.
pub struct Contestant {
    /// Who.
    pub who: Who,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its records go; empty if it makes none.
    pub topic: String,
    processes: Vec<Process>,
    counter: Counter,
    asked: std::cell::Cell<u64>,
}

impl Contestant {
    /// Starts one on `port` and the three above it.
    pub fn start(who: Who, case: &Case, ground: &Ground, port: u16, topic: &str) -> Outcome<Self> {
        let dir = started::fresh(&ground.dir.join(who.name()))?;
        let at = |offset: u16| SocketAddr::from(([127, 0, 0, 1], port + offset));
        started::check_free(&[at(0), at(1), at(2)])?;
        let topic = if who.records() { topic.to_owned() } else { String::new() };
        let start = Start { who, case, ground, dir: &dir, address: at(0), second: at(1), topic: &topic };
        let (processes, counter) = match who {
            Who::Off | Who::Async | Who::Sync | Who::Held => start.ours()?,
            Who::Nginx => (vec![start.nginx("", "")?], Counter::StubStatus(at(1))),
            Who::NginxRsyslog => (start.nginx_and_rsyslog()?, Counter::StubStatus(at(1))),
            Who::Haproxy => (vec![start.haproxy()?], Counter::None),
            Who::Relay => (vec![start.relay()?], Counter::None),
            Who::Card => (vec![start.card()?], Counter::None),
        };
        Ok(Self { who, address: at(0), topic, processes, counter, asked: std::cell::Cell::new(0) })
    }

    /// Its processes; those below them are found from there.
    pub fn pids(&self) -> Vec<i32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// An error with the end of its log if one of its processes has ended.
    pub fn still_runs(&mut self) -> Outcome {
        let who = self.who;
        let mut all = self.processes.iter_mut();
        all.try_for_each(|process| process.still_runs().map_err(|text| format!("{}: {text}", who.title())))
    }

    /// Requests so far by its own count; nothing if it has none.
    pub fn served(&self) -> Outcome<Option<u64>> {
        match self.counter {
            Counter::None => Ok(None),
            Counter::Metrics(address) => {
                let (_, text) = CALLER.http(address, "GET", "/apisix/prometheus/metrics", "")?;
                metrics_count(&text).map(Some).ok_or_else(|| "the metrics do not count requests".to_owned())
            }
            Counter::StubStatus(address) => {
                // The answer counts its own asking.
                self.asked.set(self.asked.get() + 1);
                let (_, text) = CALLER.http(address, "GET", "/", "")?;
                let count = stub_count(&text).ok_or_else(|| format!("not a stub_status: {text}"))?;
                Ok(Some(count - self.asked.get()))
            }
        }
    }

    /// Asks once: right length, right status.
    pub fn check(&self, case: &Case) -> Outcome {
        let body = "b".repeat(case.post_bytes);
        let method = if case.post_bytes > 0 { "POST" } else { "GET" };
        let path = if case.routes > 1 { "/r1/x" } else { case.path };
        let host = if case.routes > 1 { Some("h1.test") } else { None };
        let (status, answer) = CALLER.http_as(self.address, host, method, path, &body)?;
        let expected = if case.routes > 1 { 16 } else { case.bytes };
        match (status, answer.len()) {
            (200, length) if length == expected => Ok(()),
            (status, length) => {
                Err(format!("{} answers {status} with {length} bytes, not 200 with {expected}", self.who.title()))
            }
        }
    }
}

/// What a start needs.
struct Start<'a> {
    who: Who,
    case: &'a Case,
    ground: &'a Ground,
    dir: &'a Path,
    address: SocketAddr,
    second: SocketAddr,
    topic: &'a str,
}

impl Start<'_> {
    fn command(&self, program: &Path) -> Command {
        pinned_to(&program.to_string_lossy(), &self.ground.cores)
    }

    fn run(&self, command: Command, name: &str) -> Outcome<Process> {
        let log = self.dir.join(format!("{name}.log"));
        Process::start(command, log).map_err(|text| format!("{}: {text}", self.who.title()))
    }

    fn listening(&self, command: Command, name: &str) -> Outcome<Process> {
        let mut process = self.run(command, name)?;
        process.wait_listening(self.address).map_err(|text| format!("{}: {text}", self.who.title()))?;
        Ok(process)
    }

    /// Connections to the upstream that may be kept: one for each of the load.
    fn keepalive(&self) -> u32 {
        self.case.connections.max(64)
    }

    fn fill(&self, template: &str, more: &[(&str, String)]) -> Outcome<PathBuf> {
        let mut values = vec![
            ("DIR", self.dir.to_string_lossy().into_owned()),
            ("PROXY", self.address.to_string()),
            ("STATUS", self.second.to_string()),
            ("UPSTREAM", self.ground.upstream.to_string()),
            ("WORKERS", self.case.workers.to_string()),
            ("KEEPALIVE", self.keepalive().to_string()),
            ("KAFKA", self.ground.kafka.clone()),
            ("TOPIC", self.topic.to_owned()),
        ];
        values.extend(more.iter().cloned());
        started::fill(TEMPLATES, template, self.dir, &values)
    }

    fn ours(&self) -> Outcome<(Vec<Process>, Counter)> {
        let ring = started::fresh(&self.ground.shm.join(self.who.name()))?;
        let routes = ours::routes(self.who, self.case, self.ground, self.topic)?;
        let config = ours::configuration(self.dir, &ring, self.case, self.address, self.second);
        let write = |name: &str, value: &serde_json::Value| {
            let path = self.dir.join(name);
            fs::write(&path, value.to_string()).map_err(|error| format!("{}: {error}", path.display()))
        };
        write("config.yaml", &config)?;
        write("apisix.json", &routes)?;
        let mut command = self.command(&self.ground.tollgate);
        command.args(["run", "--config"]).arg(self.dir.join("config.yaml"));
        let mut process = self.listening(command, "tollgate")?;
        process.wait_listening(self.second)?;
        Ok((vec![process], Counter::Metrics(self.second)))
    }

    fn nginx(&self, format: &str, log: &str) -> Outcome<Process> {
        let buffers = match self.case.bytes {
            // What arrives in one piece is passed on in one piece.
            ..=4096 => "",
            _ => "proxy_buffer_size 16k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k;",
        };
        let log = if log.is_empty() { "access_log off;" } else { log };
        let master = if self.case.workers > 1 { "on" } else { "off" };
        let more = [("FORMAT", format), ("LOG", log), ("BUFFERS", buffers), ("MASTER", master)];
        let config = self.fill("nginx.conf", &more.map(|(name, value)| (name, value.to_owned())))?;
        let mut command = self.command(Path::new(program("nginx")?));
        command.args(["-e", "stderr", "-p"]).arg(self.dir).arg("-c").arg(config);
        self.listening(command, "nginx")
    }

    fn nginx_and_rsyslog(&self) -> Outcome<Vec<Process>> {
        let work = self.dir.join("rsyslog");
        fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        let log = format!("access_log {}/access.log entry buffer=64k flush=200ms;", self.dir.display());
        let nginx = self.nginx(&log_format(self.case), &log)?;
        let config = self.fill("rsyslog.conf", &[])?;
        let mut command = self.command(Path::new(program("rsyslogd")?));
        command.arg("-n").arg("-f").arg(config).arg("-i").arg(self.dir.join("rsyslogd.pid"));
        let rsyslog = self.run(command, "rsyslogd")?;
        Ok(vec![nginx, rsyslog])
    }

    fn haproxy(&self) -> Outcome<Process> {
        let config = self.fill("haproxy.cfg", &[])?;
        let mut command = self.command(Path::new(program("haproxy")?));
        command.args(["-db", "-f"]).arg(config);
        self.listening(command, "haproxy")
    }

    fn relay(&self) -> Outcome<Process> {
        let mut command = self.command(&self.ground.relay);
        command.args(["--listen", &self.address.to_string(), "--upstream", &self.ground.upstream.to_string()]);
        match (self.case.bytes, self.case.connections) {
            (4097.., _) => command.args(["--buffer-bytes", "65536", "--buffers", "256"]),
            (_, 512..) => command.args(["--buffer-bytes", "2048", "--buffers", "8192"]),
            _ => &mut command,
        };
        if self.case.is_close {
            command.arg("--one-shot");
        }
        self.listening(command, "relay")
    }

    fn card(&self) -> Outcome<Process> {
        let mut command = self.command(&self.ground.card);
        command.args(["--listen", &self.address.to_string(), "--upstream", &self.ground.upstream.to_string()]);
        command.args(["--kafka", &self.ground.kafka, "--topic", self.topic]);
        self.listening(command, "card")
    }
}

/// What nginx writes for rsyslog: about what APISIX's default entry says, or four fields.
fn log_format(case: &Case) -> String {
    let fields = match case.entry {
        super::case::Entry::FourFields => {
            r#"{"host":"$host","uri":"$request_uri","status":$status,"client_ip":"$remote_addr"}"#
        }
        _ => {
            r#"{"request":{"uri":"$request_uri","method":"$request_method","size":$request_length,"headers":{"host":"$http_host","user-agent":"$http_user_agent","accept":"$http_accept","connection":"$http_connection"}},"response":{"status":$status,"size":$bytes_sent,"headers":{"content-type":"$sent_http_content_type","content-length":"$sent_http_content_length","connection":"$sent_http_connection"}},"client_ip":"$remote_addr","start_time":"$msec","latency":$request_time,"upstream_latency":"$upstream_response_time","upstream":"$upstream_addr","server":{"hostname":"$hostname","version":"$nginx_version"}}"#
        }
    };
    format!("log_format entry escape=json '{fields}';")
}

fn metrics_count(text: &str) -> Option<u64> {
    let lines = text.lines().filter(|line| line.starts_with("tollgate_requests_total"));
    let counts: Vec<f64> = lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    (!counts.is_empty()).then(|| counts.iter().sum::<f64>() as u64)
}

/// The third number of the line behind `server accepts handled requests`.
fn stub_count(text: &str) -> Option<u64> {
    let line = text.lines().nth(2)?;
    line.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_both_are_read() {
        let text = "# TYPE tollgate_requests_total counter\ntollgate_requests_total{core=\"0\"} 3\n\
                    tollgate_requests_total{core=\"1\"} 4\nother 5\n";
        assert_eq!(metrics_count(text), Some(7));
        assert_eq!(metrics_count("other 5\n"), None);
        let text =
            "Active connections: 1 \nserver accepts handled requests\n 8 8 123 \nReading: 0 Writing: 1 Waiting: 0 \n";
        assert_eq!(stub_count(text), Some(123));
        assert_eq!(stub_count("404"), None);
    }

    #[test]
    fn what_nginx_writes_is_json() {
        for case in super::super::case::CASES {
            let format = log_format(case);
            let line = format.split('\'').nth(1).expect("quoted");
            let filled = line.replace(":$", ":1").replace("\"$", "\"");
            let strip = |text: &str| text.chars().filter(|c| *c != '$').collect::<String>();
            // Names of variables stand for numbers where they are not quoted.
            let numbers = ["request_length", "status", "bytes_sent", "request_time"];
            let filled = numbers.iter().fold(filled, |text, name| text.replace(&format!(":1{name}"), ":1"));
            serde_json::from_str::<serde_json::Value>(&strip(&filled)).expect("JSON");
        }
    }
}

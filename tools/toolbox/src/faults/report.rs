//! The rows as text for a terminal, as Markdown for `docs/reliability.md` and as JSON for machines.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::case::Case;
use super::run::SLOW;
use super::verdict::Measured;
use super::{Mode, Plan};
use crate::Outcome;

/// One case in one mode, once.
pub struct Row {
    /// What went wrong.
    pub case: Case,
    /// How records were made; nothing for a peer.
    pub mode: Option<Mode>,
    /// From 1.
    pub round: u32,
    /// What came of it, or why it could not be run.
    pub outcome: Outcome<Measured>,
}

impl Row {
    /// Everything that is not as it must be.
    pub fn faults(&self) -> Vec<String> {
        match &self.outcome {
            Ok(measured) => measured.faults(self.case, self.mode),
            // The first line says what, the last one of a log why.
            Err(text) => {
                let (what, why) = (text.lines().next().unwrap_or_default(), text.lines().skip(1).last());
                vec![format!("could not be run: {what} {}", why.unwrap_or_default().trim())]
            }
        }
    }

    /// The case in words; a peer's front is nginx.
    fn case_text(&self) -> String {
        let text = self.case.text();
        if self.mode.is_some() { text.to_owned() } else { text.replace("gateway", "nginx") }
    }

    fn mode_text(&self) -> &'static str {
        self.mode.map_or("nginx + rsyslog", Mode::text)
    }

    /// One line for somebody who waits.
    pub fn line(&self) -> String {
        let faults = self.faults();
        let verdict = if faults.is_empty() { "PASS".to_owned() } else { format!("FAIL: {}", faults.join("; ")) };
        let counts = self.outcome.as_ref().map_or(String::new(), |measured| {
            let found = &measured.findings;
            let (requests, records, cut, p99) = (found.requests, found.records, found.cut, measured.latency.p99);
            format!("{requests} requests, {cut} cut, {records} records, p99 {} ms, ", ms(p99))
        });
        format!("{} {}, {}: {counts}{verdict}", self.case.number(), self.case_text(), self.mode_text())
    }

    fn json(&self) -> Value {
        let faults = self.faults();
        let mut value = json!({
            "case": self.case.number(), "text": self.case_text(), "mode": self.mode_text(), "round": self.round,
            "pass": faults.is_empty(), "faults": faults,
        });
        match &self.outcome {
            Ok(measured) => value["measured"] = json_of(measured),
            Err(text) => value["error"] = json!(text),
        }
        value
    }
}

fn json_of(measured: &Measured) -> Value {
    let (found, latency) = (&measured.findings, &measured.latency);
    let mut value = json!({
        "requests": found.requests, "complete": found.complete, "not_200": found.not_200, "cut": found.cut,
        "cut_recorded": found.cut_recorded, "unsent": measured.unsent, "records": found.records,
        "missing": found.missing.count, "twice": found.twice.count, "disordered": found.disordered.count,
        "strange": found.strange.count, "settled_s": measured.settled_s, "notes": measured.notes,
        "latency_us": {"p50": latency.p50, "p99": latency.p99, "p99.9": latency.p999, "max": latency.max,
            "max_due": latency.max_due},
        "p99_ratio": measured.p99_ratio(), "sleeper_late_us": measured.late_us, "answered_in_outage": measured.answered_in_outage,
    });
    value["named"] = json!({
        "missing": found.missing.first, "twice": found.twice.first, "disordered": found.disordered.first,
        "strange": found.strange.first,
    });
    if let Some(watched) = &measured.watched {
        let entries = watched.outcome();
        value["counters"] = json!({
            "accepted": entries.accepted, "delivered": entries.delivered, "held": entries.held,
            "in_doubt": entries.in_doubt, "lost": entries.lost, "dropped": entries.dropped,
            "reasons": watched.reasons(), "held_responses": watched.held_responses(), "samples": watched.samples, "unbalanced": watched.unbalanced.0,
        });
        value["memory"] = json!({"mb_per_min": watched.memory_slopes(), "most_mb": watched.most_memory()});
    }
    value
}

fn ms(us: u64) -> String {
    let ms = us as f64 / 1000.0;
    if ms < 100.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

const HEAD: &str = "\
| case | mode | requests | cut (recorded) | not taken | records | missing | twice | out of order | in doubt | lost | dropped | \
p50 / p99 / p99.9 / max ms | p99 ÷ undisturbed | MB/min (at the end) | settled after | verdict |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

fn cells(row: &Row) -> String {
    let faults = row.faults();
    let verdict = if faults.is_empty() { "PASS".to_owned() } else { format!("**FAIL**: {}", faults.join("; ")) };
    let begin = format!("| {} {} | {} |", row.case.number(), row.case_text(), row.mode_text());
    let Ok(measured) = &row.outcome else { return format!("{begin}{} {verdict} |\n", " – |".repeat(14)) };
    let (found, latency) = (&measured.findings, measured.latency);
    let entries = measured.watched.as_ref().map(|watched| watched.outcome());
    let count = |value: Option<u64>| value.map_or("–".to_owned(), |value| value.to_string());
    let slopes = measured.watched.as_ref().and_then(|watched| watched.memory_slopes());
    let all = [
        found.requests.to_string(),
        format!("{} ({})", found.cut, found.cut_recorded),
        measured.unsent.to_string(),
        found.records.to_string(),
        found.missing.count.to_string(),
        found.twice.count.to_string(),
        found.disordered.count.to_string(),
        count(entries.map(|entries| entries.in_doubt)),
        count(entries.map(|entries| entries.lost)),
        count(entries.map(|entries| entries.dropped)),
        [latency.p50, latency.p99, latency.p999, latency.max].map(ms).join(" / "),
        measured.p99_ratio().map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
        slopes.map_or("–".to_owned(), |[all, end]| format!("{all:.2} ({end:.2})")),
        measured.settled_s.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s")),
        verdict,
    ];
    format!("{begin} {} |\n", all.join(" | "))
}

/// The table, and under it what happened in each row.
pub fn markdown(plan: &Plan, rows: &[Row]) -> String {
    let mut text = format!("{}\n\n{HEAD}", circumstances(plan));
    for row in rows {
        text += &cells(row);
    }
    text += "\n";
    for row in rows {
        let what = match &row.outcome {
            Ok(measured) if measured.notes.is_empty() => continue,
            Ok(measured) => measured.notes.join("; "),
            Err(error) => error.replace('\n', " / "),
        };
        text += &format!("- {} {}, round {}: {what}\n", row.case.number(), row.mode_text(), row.round);
    }
    text
}

/// The command, the day and the machine.
fn circumstances(plan: &Plan) -> String {
    let read = |path: &str| fs::read_to_string(path).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned());
    let day = Command::new("date").args(["-u", "+%F %H:%M UTC"]).output();
    let day = day.map_or_else(|_| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let cores = plan.cores;
    format!(
        "`{}`, {day}. {cores} virtual cores, Linux {}, TCP congestion control {}, load average {}. Kafka 4.1, three nodes, \
         topic with {} partition(s), replication 3, min.insync.replicas 2. {} s, {} requests/s over {} connections, \
         and {} slow connections. \
         Gateway, upstream and clients on core 0, brokers on core {}.",
        plan.command(),
        read("/proc/sys/kernel/osrelease"),
        read("/proc/sys/net/ipv4/tcp_congestion_control"),
        read("/proc/loadavg").split(' ').next().unwrap_or("?"),
        plan.partitions,
        plan.seconds,
        plan.rate,
        plan.connections,
        SLOW,
        cores - 1,
    )
}

/// Writes both files.
pub fn write(dir: &Path, plan: &Plan, rows: &[Row]) -> Outcome {
    let all = json!({
        "circumstances": circumstances(plan),
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
    });
    let all = serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?;
    for (name, text) in [("result.md", markdown(plan, rows)), ("result.json", all)] {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

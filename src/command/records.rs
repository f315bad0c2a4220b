//! `tollgate tail`, `tollgate topics` and `tollgate audit`: the words of the command line, handed to `control`, which reads Kafka.

use std::io::Write;
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use clap::Args;

use super::access::AccessWords;
use crate::control::audit::{self, AuditArgs, Verdict};
use crate::control::records::From as Start;
use crate::control::topics::{self, Style, TailArgs, TopicsArgs};

/// The words of `tollgate tail`.
#[derive(Args)]
pub struct TailWords {
    /// The topic.
    topic: String,
    /// Brokers to ask first: HOST:PORT, comma-separated.
    #[arg(long, short, default_value = "127.0.0.1:9092", value_delimiter = ',')]
    kafka: Vec<String>,
    /// Show what is there already, from the beginning, instead of only what comes.
    #[arg(long)]
    from_beginning: bool,
    /// Stop at the end instead of waiting for more.
    #[arg(long)]
    no_follow: bool,
    /// Stop after this many records.
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// Only records where this holds, for example response.status=502, route_id!=r1, latency>100, request.uri~^/api.
    #[arg(long = "where", short = 'w', value_name = "FIELD=VALUE")]
    filters: Vec<String>,
    /// The bytes as they are in Kafka.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    access: AccessWords,
}

/// The words of `tollgate topics`.
#[derive(Args)]
pub struct TopicsWords {
    /// Only these topics.
    topics: Vec<String>,
    /// Brokers to ask first: HOST:PORT, comma-separated.
    #[arg(long, short, default_value = "127.0.0.1:9092", value_delimiter = ',')]
    kafka: Vec<String>,
    /// Kafka's own topics too.
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    access: AccessWords,
}

/// The words of `tollgate audit`.
#[derive(Args)]
pub struct AuditWords {
    /// The topic.
    topic: String,
    /// Brokers to ask first: HOST:PORT, comma-separated.
    #[arg(long, short, default_value = "127.0.0.1:9092", value_delimiter = ',')]
    kafka: Vec<String>,
    /// Only records of so long ago and younger: 90s, 10m, 24h, 7d.
    #[arg(long, value_name = "AGE", value_parser = age_ms)]
    since: Option<u64>,
    /// One JSON object, with every gap and place, instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: AccessWords,
}

/// Reads `90s`, `10m`, `24h`, `7d` as milliseconds.
fn age_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a number with s, m, h or d behind it");
    let units = [('s', 1_000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];
    let (unit, ms) = units.into_iter().find(|(unit, _)| text.ends_with(*unit)).ok_or_else(wrong)?;
    text.trim_end_matches(unit).parse::<u64>().ok().and_then(|number| number.checked_mul(ms)).ok_or_else(wrong)
}

/// Reads the topic and says what is missing. 0: nothing, nothing twice, all in order; 1: something; 2: it could not be told.
pub fn audit(words: AuditWords) -> ExitCode {
    let now_ms = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as i64);
    let from = words.since.map_or(Start::Beginning, |age| {
        Start::Time(now_ms.saturating_sub(i64::try_from(age).unwrap_or(i64::MAX)).max(0))
    });
    let access = match words.access.access() {
        Ok(access) => access,
        Err(line) => {
            failed(&line);
            return ExitCode::from(2);
        }
    };
    let args = AuditArgs { brokers: words.kafka, access, topic: words.topic, from, json: words.json };
    let mut stdout = std::io::stdout();
    let mut progress = |line: &str| eprintln!("tollgate: {line}");
    match on_a_runtime(audit::audit(args, &mut stdout, &mut progress)) {
        Ok(Verdict::Complete) => ExitCode::SUCCESS,
        Ok(Verdict::Broken) => ExitCode::from(1),
        Ok(Verdict::Unknown) => ExitCode::from(2),
        Err(line) => {
            failed(&line);
            ExitCode::from(2)
        }
    }
}

/// Shows records until the end, Ctrl-C, or for ever.
pub fn tail(words: TailWords) -> ExitCode {
    let access = match words.access.access() {
        Ok(access) => access,
        Err(line) => return failed(&line),
    };
    let args = TailArgs {
        brokers: words.kafka,
        access,
        topic: words.topic,
        from: if words.from_beginning { Start::Beginning } else { Start::End },
        follow: !words.no_follow,
        count: words.count,
        filters: words.filters,
        style: if words.raw { Style::Raw } else { Style::Pretty },
    };
    run(topics::tail(args, &mut std::io::stdout()))
}

/// Shows the table once.
pub fn topics(words: TopicsWords) -> ExitCode {
    let access = match words.access.access() {
        Ok(access) => access,
        Err(line) => return failed(&line),
    };
    let args = TopicsArgs { brokers: words.kafka, access, topics: words.topics, internal: words.internal };
    run(topics::topics(args, &mut std::io::stdout()))
}

fn run(work: impl Future<Output = Result<(), String>>) -> ExitCode {
    match on_a_runtime(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => failed(&line),
    }
}

fn on_a_runtime<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("no runtime: {error}"))?.block_on(work)
}

fn failed(line: &str) -> ExitCode {
    let _ = std::io::stdout().flush();
    eprintln!("tollgate: {line}");
    ExitCode::from(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_number_and_a_unit() {
        for (text, ms) in [("90s", 90_000), ("10m", 600_000), ("24h", 86_400_000), ("7d", 604_800_000), ("0s", 0)] {
            assert_eq!(age_ms(text), Ok(ms));
        }
        for bad in ["", "s", "10", "-1s", "1.5h", "1w", "99999999999999999d"] {
            assert!(age_ms(bad).is_err(), "{bad}");
        }
    }
}

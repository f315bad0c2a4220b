//! `tollgate tail` and `tollgate topics`: the words of the command line, handed to `control`, which reads Kafka.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::access::AccessWords;

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
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("no runtime: {error}")),
    };
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => failed(&line),
    }
}

fn failed(line: &str) -> ExitCode {
    let _ = std::io::stdout().flush();
    eprintln!("tollgate: {line}");
    ExitCode::from(1)
}

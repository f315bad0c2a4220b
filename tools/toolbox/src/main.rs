//! What stands behind the scripts in `tools/`: real Apache Kafka without Docker, the bench, and the faults.
//! The scripts build this crate and hand their arguments over; they are the way in.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod call;
mod churn;
mod conformance;
mod faults;
mod kafka;
mod process;
mod started;
mod stop;
mod wire;

/// A tool's outcome: what went wrong is one text for a person at a terminal.
pub type Outcome<T = ()> = Result<T, String>;

#[derive(Parser)]
#[command(name = "tools", about = "Use it through the scripts in tools/.", version)]
struct Cli {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Real Apache Kafka on this machine, from its published jars, without Docker.
    Kafka(kafka::Args),
    /// What a request costs the gateway on this machine.
    Bench(Box<bench::Args>),
    /// Whether the gateway is as it was after minutes of peers that misbehave.
    Churn(churn::Args),
    /// What RFC 9110 and 9112 ask of a proxy, against ours and its peers.
    Conformance(conformance::Args),
    /// What becomes of the records when Kafka or the gateway fails.
    Faults(faults::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().tool {
        Tool::Kafka(args) => kafka::run(args),
        Tool::Bench(args) => bench::run(*args),
        Tool::Churn(args) => churn::run(args),
        Tool::Conformance(args) => conformance::run(args),
        Tool::Faults(args) => faults::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

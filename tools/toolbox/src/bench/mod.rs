//! `tools/bench`: what a request costs the gateway, with its records and without, and what it costs others.

use std::time::{Duration, Instant};

use clap::Subcommand;

use crate::{Outcome, stop};

mod campaign;
mod figures;
mod latency;
mod modes;
mod producer;
mod wrk;

/// Partitions of a topic: as many as the walk-through's Kafka makes by itself.
const PARTITIONS: i32 = 2;

/// How long records may take to be in Kafka after the last request, or once it is back.
const SETTLE: Duration = Duration::from_secs(60);
/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// Looks again and again, for [`SETTLE`] at most, until there are as many records as requests, and gives what it saw then: the requests first.
fn settled(look: impl Fn() -> Outcome<(u64, u64)>) -> Outcome<(u64, u64)> {
    let end = Instant::now() + SETTLE;
    loop {
        match look() {
            Ok((served, recorded)) if recorded >= served => return Ok((served, recorded)),
            Err(text) if Instant::now() > end => return Err(text),
            Ok((served, recorded)) if Instant::now() > end => {
                let (missing, after) = (served - recorded, SETTLE.as_secs());
                return Err(format!(
                    "{missing} of {served} records were not in Kafka after {after} s; the gateway's metrics say why"
                ));
            }
            _ => stop::pause(EVERY)?,
        }
    }
}

/// What can be measured.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    all: campaign::Options,
}

#[derive(Subcommand)]
enum Command {
    /// Everybody: ours, nginx, HAProxy, nginx with rsyslog behind it, the bare relay, the literal card. The default.
    All(campaign::Options),
    /// The gateway without logging, with producer_type async and sync, and with responses held, alternately; before your own Kafka
    /// and upstream if you say where they are.
    Modes(modes::Modes),
    /// What a user waits at 50, 70 and 90 % of what is possible, ours beside nginx; and ours while its route flips at 50 Hz, Kafka hangs, or is
    /// gone.
    Latency(latency::Options),
    /// Our ring and producer on their own beside librdkafka: records per CPU second, with lz4 and without.
    Producer(producer::Options),
}

/// Measures.
pub fn run(args: Args) -> Outcome {
    match args.command {
        None => campaign::run(&args.all),
        Some(Command::All(options)) => campaign::run(&options),
        Some(Command::Modes(modes)) => modes::run(&modes),
        Some(Command::Latency(options)) => latency::run(&options),
        Some(Command::Producer(options)) => producer::run(&options),
    }
}

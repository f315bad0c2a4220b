//! The command line and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tollgate::command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("TOLLGATE_COMMIT"), ")");

/// An HTTP gateway that proxies on io_uring and keeps a record of every request in Apache Kafka.
#[derive(Parser)]
#[command(name = "tollgate", version = VERSION, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    Run {
        /// The configuration file: APISIX's config.yaml names, and Tollgate's own under `tollgate:`.
        #[arg(long, short)]
        config: PathBuf,
    },
    /// Check a configuration file: every problem on a line of its own, nothing is started.
    Check {
        /// The file to check.
        #[arg(long, short)]
        config: PathBuf,
    },
    /// See it work: a dev broker, an upstream and the gateway, ten requests and their records.
    #[cfg(feature = "demo")]
    Demo(command::demo::Args),
    /// Say what this machine lets Tollgate do: kernel, io_uring, limits, ports, clock, Kafka.
    Doctor(command::doctor::Args),
    /// Show the records of a topic, as they come.
    Tail(command::records::TailWords),
    /// Say whether a topic holds every entry that the gateways accepted: what is missing, there twice, or out of order.
    Audit(command::records::AuditWords),
    /// Show the topics of a cluster: partitions, offsets, sizes, newest record.
    Topics(command::records::TopicsWords),
    /// Look at the records that wait on disk.
    #[command(subcommand)]
    Spool(command::spool::SpoolWords),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    command::verbosity::init();
    match cli.command {
        Command::Run { config } => command::run::run(&config),
        Command::Check { config } => command::check::check(&config),
        #[cfg(feature = "demo")]
        Command::Demo(args) => command::demo::demo(&args),
        Command::Doctor(args) => command::doctor::doctor(&args),
        Command::Tail(words) => command::records::tail(words),
        Command::Audit(words) => command::records::audit(words),
        Command::Topics(words) => command::records::topics(words),
        Command::Spool(words) => command::spool::spool(words),
    }
}

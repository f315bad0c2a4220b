//! `devbroker --listen 127.0.0.1:9092`: the broker alone, for clients other than Tollgate.

use devbroker::{Broker, Options};
use std::process::ExitCode;

const USAGE: &str = "usage: devbroker [--listen ADDR:PORT] [--advertise HOST:PORT] [--partitions N] [--no-auto-create] \
                     [--retention-bytes N] [--nodes N]";

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { listen: ([127, 0, 0, 1], 9092).into(), ..Options::default() };
    while let Some(flag) = args.next() {
        if flag == "--no-auto-create" {
            options.auto_create = false;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value\n{USAGE}"))?;
        let bad = || format!("{flag}: '{value}' is not what it takes\n{USAGE}");
        match flag.as_str() {
            "--listen" => options.listen = value.parse().map_err(|_| bad())?,
            "--partitions" => options.partitions = value.parse().map_err(|_| bad())?,
            "--retention-bytes" => options.retention_bytes = value.parse().map_err(|_| bad())?,
            "--nodes" => options.nodes = value.parse().map_err(|_| bad())?,
            "--advertise" => {
                let (host, port) = value.rsplit_once(':').ok_or_else(bad)?;
                options.advertised = Some((host.to_owned(), port.parse().map_err(|_| bad())?));
            }
            _ => return Err(format!("{flag} is no option\n{USAGE}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--help" || a == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match options(args.into_iter()) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let listen = options.listen;
    match Broker::start(options) {
        Ok(broker) => {
            println!("devbroker listens on {}; everything is in memory, Ctrl-C ends it", broker.addr());
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            eprintln!("cannot listen on {listen}: {error}; --listen takes another address");
            ExitCode::FAILURE
        }
    }
}

//! The floor of `tools/bench`: what it costs to move a request and its response between two sockets with everything that io_uring has
//! (multishot accept and receive, provided buffers, DEFER_TASKRUN, one issuer), on one core. It parses nothing and records nothing, so
//! it is not a gateway: each client connection has an upstream connection of its own, and bytes go through as they come.
//!
//! `--one-shot` is for a load that says `Connection: close`: the relay exchanges two words in the heads, so that the upstream connection
//! stays, closes the client's after its response, and takes the next client with the kept connection.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

mod buffers;
mod connection;
mod relay;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    listen: SocketAddr,
    upstream: SocketAddr,
    buffer_bytes: u32,
    buffers: u32,
    is_one_shot: bool,
}

const USAGE: &str = "relay --listen ADDR --upstream ADDR [--buffer-bytes 4096] [--buffers 1024] [--one-shot]";

fn options(arguments: &[String]) -> Result<Options, String> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut options = Options { listen: any, upstream: any, buffer_bytes: 4096, buffers: 1024, is_one_shot: false };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        if name == "--one-shot" {
            options.is_one_shot = true;
            continue;
        }
        let value = rest.next().ok_or_else(|| format!("{name} needs a value; {USAGE}"))?;
        let wrong = |error: &dyn std::fmt::Display| format!("{name} {value}: {error}; {USAGE}");
        match name.as_str() {
            "--listen" => options.listen = value.parse().map_err(|error| wrong(&error))?,
            "--upstream" => options.upstream = value.parse().map_err(|error| wrong(&error))?,
            "--buffer-bytes" => options.buffer_bytes = value.parse().map_err(|error| wrong(&error))?,
            "--buffers" => options.buffers = value.parse().map_err(|error| wrong(&error))?,
            _ => return Err(format!("{name} is no option; {USAGE}")),
        }
    }
    match (options.listen.port(), options.upstream.port()) {
        (0, _) | (_, 0) => Err(format!("both addresses are needed; {USAGE}")),
        _ => Ok(options),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = options(&arguments).and_then(|options| {
        let run = || -> io::Result<()> { relay::Relay::new(&options)?.run() };
        run().map_err(|error| format!("{options:?}: {error}"))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        options(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn both_addresses_are_needed_and_unknown_words_are_refused() {
        let both = read("--listen 127.0.0.1:1 --upstream 127.0.0.1:2 --one-shot").expect("complete");
        assert_eq!((both.listen.port(), both.upstream.port(), both.is_one_shot), (1, 2, true));
        assert!(read("--listen 127.0.0.1:1").is_err());
        assert!(read("--listen 127.0.0.1:1 --upstream 127.0.0.1:2 --fast yes").is_err());
        assert!(read("--listen 127.0.0.1:1 --upstream").is_err());
    }
}

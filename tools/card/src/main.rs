//! The original design card taken literally: monoio, monoio-http's codec towards clients and towards the upstream, one serde entry per
//! request through simd-json, and Tollgate's ring and producer behind. It is a row of `tools/bench` and a column of
//! `tools/conformance`, so that what the gateway's own codec costs and saves can be seen.
//!
//! It is not a gateway: a single header can end the process (monoio-http 0.3.12 unwraps a header name that `http` refuses), and some
//! requests are read differently here and behind it. So it listens on loopback addresses alone.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod entry;
mod proxy;
mod recorder;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use monoio::net::TcpListener;
use tollgate::io::driver::{self, Driver};
use tollgate::io::process;

use self::proxy::Proxy;
use self::recorder::Recorder;

/// Milliseconds between two looks whether the process shall end.
const LOOK_MS: u64 = 20;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The literal card.
#[derive(Parser)]
struct Options {
    /// Where to listen: a loopback address.
    #[arg(long, value_parser = loopback)]
    listen: SocketAddr,
    /// The one upstream.
    #[arg(long)]
    upstream: SocketAddr,
    /// A broker, as an address with its port; without one nothing is recorded.
    #[arg(long, requires = "topic")]
    kafka: Option<SocketAddr>,
    /// Where records go.
    #[arg(long)]
    topic: Option<String>,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|error| format!("{error}"))?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err("the card listens on loopback alone: one header of a stranger ends it".to_owned()),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&ended)) {
            eprintln!("no handler for signal {signal}: {error}");
            return ExitCode::FAILURE;
        }
    }
    if let Err(error) = process::raise_open_files() {
        eprintln!("the limit of open files could not be raised: {error}");
    }
    let on = driver::probe().unwrap_or_else(|why| {
        eprintln!("{why}; using epoll");
        Driver::Epoll
    });
    match driver::run(on, run(options, ended)).and_then(|outcome| outcome) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(left) => {
            eprintln!("{left} records did not reach Kafka");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal; how many records are left then.
async fn run(options: Options, ended: Arc<AtomicBool>) -> std::io::Result<u64> {
    let recorder = match (options.kafka, options.topic) {
        (Some(broker), Some(topic)) => Some(Recorder::start(broker, &topic)?),
        _ => None,
    };
    let proxy = Rc::new(Proxy::new(options.upstream, recorder));
    let listener = TcpListener::bind(options.listen)?;
    monoio::spawn(accept(listener, Rc::clone(&proxy)));
    while !ended.load(Ordering::Relaxed) {
        monoio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
    Ok(proxy.finish().await)
}

async fn accept(listener: TcpListener, proxy: Rc<Proxy>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                monoio::spawn(Rc::clone(&proxy).serve(stream, peer));
            }
            Err(error) => {
                eprintln!("a connection could not be accepted: {error}");
                monoio::time::sleep(Duration::from_millis(LOOK_MS)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_loopback_alone() {
        assert!(loopback("127.0.0.1:80").is_ok() && loopback("[::1]:80").is_ok());
        assert!(loopback("0.0.0.0:80").is_err() && loopback("192.0.2.1:80").is_err());
    }
}

//! Tollgate's ring and producer on their own, on one core: appends so many records as fast as the ring takes them, waits until Kafka has
//! acknowledged all, and says what that cost as one line of JSON. `tools/bench.d/librdkafka.c` does the same with librdkafka.
//! It is not a gateway and no load generator: `tools/bench producer` is the way in.
#![deny(unsafe_code)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::task::Poll;
use std::time::{Duration, Instant};

use clap::Parser;
use tollgate::io::driver;
use tollgate::kafka::{Appended, Compression};
use tollgate::worker::Alone;

/// Records appended before the core is given back, so that what is sealed gets sent.
const AT_ONCE: u64 = 256;
/// How long to wait where the ring has no room.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the last records may take.
const DRAIN_MS: u64 = 30_000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Options {
    /// A broker's address.
    #[arg(long)]
    kafka: SocketAddr,
    /// Where the records go.
    #[arg(long)]
    topic: String,
    /// How many.
    #[arg(long)]
    records: u64,
    /// A file with the value that every record has; `0000000000` in it becomes the record's number.
    #[arg(long)]
    value: std::path::PathBuf,
    /// none or lz4.
    #[arg(long, default_value = "none")]
    compression: String,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let value = std::fs::read(&options.value).map_err(|error| format!("{}: {error}", options.value.display()))?;
    let kind = driver::probe().unwrap_or(driver::Driver::Epoll);
    let compression = match options.compression.as_str() {
        "none" => Compression::None,
        "lz4" => Compression::Lz4,
        other => return Err(format!("--compression {other}: none or lz4")),
    };
    let topic = options.topic.clone();
    let (kafka, records) = (options.kafka, options.records);
    driver::run(kind, async move { produce(kafka, topic, records, value, compression).await })
        .map_err(|error| error.to_string())?
}

async fn produce(
    kafka: SocketAddr,
    topic: String,
    records: u64,
    mut value: Vec<u8>,
    compression: Compression,
) -> Result<(), String> {
    let alone = Alone::start("bench", kafka, &topic, compression).map_err(|error| error.to_string())?;
    let (ship, lane) = (&alone.ship, alone.lane);
    let place = place_of_number(&value).ok_or("the value has no 0000000000 in it")?;
    let (began, cpu_before) = (Instant::now(), cpu_s());
    let mut number = 0;
    while number < records {
        if !ship.has_room(lane) {
            monoio::time::sleep(PAUSE).await;
            continue;
        }
        let now = alone.clock.now();
        for _ in 0..AT_ONCE.min(records - number) {
            write_number(&mut value[place..place + 10], number);
            match ship.append(lane, now, &mut |out| out.push(&value)) {
                Appended::Accepted => number += 1,
                _ => break,
            }
        }
        give_back_once().await;
    }
    let left = alone.finish(DRAIN_MS).await;
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_s() - cpu_before);
    println!("{{\"records\":{records},\"unacknowledged\":{left},\"cpu_s\":{cpu:.4},\"wall_s\":{wall:.4}}}");
    Ok(())
}

fn place_of_number(value: &[u8]) -> Option<usize> {
    value.windows(10).position(|window| window == b"0000000000")
}

fn write_number(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Lets everything else that is ready run first.
async fn give_back_once() {
    let mut given = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// CPU seconds of all threads of this process so far, user and system, in steps of 10 ms.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        behind_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

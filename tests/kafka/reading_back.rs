//! The record reader against the dev broker: what was appended comes back, whatever goes wrong on the way.

use devbroker::batch::make::{NOBODY, batch};
use devbroker::{Api, Broker, Fault, Options};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use tollgate::control::records::{From, KafkaReader, Record};

fn broker(partitions: i32) -> Broker {
    let broker = Broker::start(Options::default()).unwrap();
    broker.create_topic("t", partitions).unwrap();
    broker
}

fn append(broker: &Broker, partition: i32, values: &[&str]) {
    let values: Vec<&[u8]> = values.iter().map(|v| v.as_bytes()).collect();
    broker.append("t", partition, &batch(NOBODY, 1_700_000_000_000, &values), i64::MAX).unwrap();
}

/// Runs on a runtime as the control thread's, bounded.
fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), work).await }).expect("20 s were not enough")
}

async fn connect(addr: SocketAddr) -> Result<KafkaReader, String> {
    KafkaReader::connect(&[(&addr.ip().to_string(), addr.port())]).await
}

fn text(record: &Record) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}

fn all(broker: &Broker, from: From) -> Vec<(i32, i64, String)> {
    let mut found = Vec::new();
    run(async {
        let mut reader = connect(broker.addr()).await.unwrap();
        let each = &mut |r: Record| {
            found.push((r.partition, r.offset, text(&r)));
            ControlFlow::Continue(())
        };
        reader.tail("t", from, false, each).await.unwrap();
    });
    found.sort();
    found
}

#[test]
fn every_record_of_every_partition_comes_back_once() {
    let broker = broker(3);
    append(&broker, 0, &["a", "b"]);
    append(&broker, 2, &["c"]);
    append(&broker, 0, &["d"]);
    let place = |p, o, v: &str| (p, o, v.to_owned());
    assert_eq!(all(&broker, From::Beginning), [place(0, 0, "a"), place(0, 1, "b"), place(0, 2, "d"), place(2, 0, "c")]);
    assert_eq!(all(&broker, From::Offset(1)), [place(0, 1, "b"), place(0, 2, "d")]);
    assert_eq!(all(&broker, From::Last(1)), [place(0, 2, "d"), place(2, 0, "c")]);
    assert_eq!(all(&broker, From::Time(1_700_000_000_000)).len(), 4);
    assert_eq!(all(&broker, From::Time(1_700_000_000_001)), []);
    assert_eq!(all(&broker, From::End), []);
}

#[test]
fn fetch_and_partitions_answer_for_one_place() {
    let broker = broker(2);
    append(&broker, 1, &["a", "b"]);
    run(async {
        let mut reader = connect(broker.addr()).await.unwrap();
        let partitions = reader.partitions("t").await.unwrap();
        assert_eq!(
            partitions.iter().map(|p| (p.partition, p.leader)).collect::<Vec<_>>(),
            [(0, Some(1)), (1, Some(1))]
        );
        let fetched = reader.fetch("t", 1, 1, 100).await.unwrap();
        assert_eq!((fetched.next_offset, fetched.high_watermark, text(&fetched.records[0])), (2, 2, "b".to_owned()));
        assert_eq!(reader.newest_ms("t", 1, 2).await, Some(1_700_000_000_000));
        assert_eq!(reader.newest_ms("t", 0, 0).await, None);
        let (sizes, why) = reader.sizes().await;
        assert!(sizes[&("t".to_owned(), 1)] > 60 && why.is_none());
    });
}

#[test]
fn following_survives_cuts_moved_leaders_and_stalls_and_shows_each_record_once() {
    let broker = broker(2);
    append(&broker, 0, &["0"]);
    let script = broker.script();
    script.push(Api::Fetch, Fault::Cut);
    script.push(Api::Fetch, Fault::Error(6));
    script.push(Api::Fetch, Fault::CutAnswer(30));
    script.push(Api::Fetch, Fault::Delay(Duration::from_millis(300)));
    let mut found = Vec::new();
    run(async {
        let mut reader = connect(broker.addr()).await.unwrap();
        let each = &mut |r: Record| {
            found.push(text(&r));
            let next = found.len();
            append(&broker, (next % 2) as i32, &[&next.to_string()]);
            if next.is_multiple_of(5) {
                broker.cut_connections();
                script.push(Api::Metadata, Fault::Cut);
            }
            if next == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        reader.tail("t", From::Beginning, true, each).await.unwrap();
    });
    assert_eq!(found, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(script.left(Api::Fetch), 0);
}

#[test]
fn following_goes_on_with_a_broker_that_was_started_again() {
    let first = broker(1);
    append(&first, 0, &["a", "b"]);
    let addr = first.addr();
    let mut brokers = vec![first];
    let mut found = Vec::new();
    run(async {
        let mut reader = connect(addr).await.unwrap();
        let each = &mut |r: Record| {
            found.push(text(&r));
            if found.len() == 2 {
                brokers.clear();
                let again = Broker::start(Options { listen: addr, ..Options::default() }).unwrap();
                again.create_topic("t", 1).unwrap();
                append(&again, 0, &["c"]);
                brokers.push(again);
            }
            if found.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        reader.tail("t", From::Beginning, true, each).await.unwrap();
    });
    assert_eq!(found, ["a", "b", "c"]);
}

#[test]
fn records_deleted_before_they_are_read_are_skipped() {
    let size = batch(NOBODY, 0, &[b"0123456789"]).len();
    let broker = Broker::start(Options { retention_bytes: 2 * size, ..Options::default() }).unwrap();
    broker.create_topic("t", 1).unwrap();
    append(&broker, 0, &["0123456789"]);
    let mut found = Vec::new();
    run(async {
        let mut reader = connect(broker.addr()).await.unwrap();
        let each = &mut |r: Record| {
            found.push(r.offset);
            if found.len() == 1 {
                for _ in 0..9 {
                    append(&broker, 0, &["0123456789"]);
                }
            }
            if found.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        reader.tail("t", From::Beginning, true, each).await.unwrap();
    });
    assert_eq!(found, [0, 8, 9]);
}

#[test]
fn asking_for_a_topic_that_is_not_there_names_those_that_are_and_makes_none() {
    let broker = broker(1);
    run(async {
        let mut reader = connect(broker.addr()).await.unwrap();
        let error = reader.partitions("nope").await.unwrap_err();
        assert!(error.contains("no topic nope") && error.contains("there are: t"), "{error}");
        let each = &mut |_: Record| ControlFlow::Continue(());
        assert!(reader.tail("nope", From::End, true, each).await.unwrap_err().contains("no topic nope"));
        let names: Vec<String> = reader.topics().await.unwrap().into_iter().map(|t| t.name).collect();
        assert_eq!(names, ["t"]);
    });
}

#[test]
fn nothing_listening_and_what_is_not_a_kafka_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = run(connect(free)).unwrap_err();
    assert!(error.contains("refuses connections") && error.contains(&free.port().to_string()), "{error}");
    let answers: [(&'static [u8], &str); 4] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks HTTP"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "speaks TLS: ask with --tls"),
        (b"", "closed the connection at the first question"),
        (b"\x00\x00\x00\x08\x00\x00\x00\x09aaaa", "not asked"),
    ];
    for (answer, expected) in answers {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 256]);
            let _ = stream.write_all(answer);
        });
        let error = run(connect(addr)).unwrap_err();
        assert!(error.contains(expected), "{error}");
        peer.join().unwrap();
    }
}

#[test]
fn second_bootstrap_address_is_taken_when_the_first_is_dead() {
    let broker = broker(1);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asked = Instant::now();
    let reader = run(KafkaReader::connect(&[("127.0.0.1", free.port()), ("127.0.0.1", broker.addr().port())]));
    assert!(reader.is_ok() && asked.elapsed() < Duration::from_secs(5));
}

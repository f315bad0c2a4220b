//! `tollgate tail` and `tollgate topics`, as a person runs them, against the dev broker.

use devbroker::batch::make::{NOBODY, batch};
use devbroker::{Api, Broker, Fault, Options};
use std::io::{self, Write};
use std::time::Duration;
use tollgate::control::records::{Access, From};
use tollgate::control::topics::{Style, TailArgs, TopicsArgs, tail, topics};

fn broker() -> Broker {
    let broker = Broker::start(Options::default()).unwrap();
    broker.create_topic("test", 2).unwrap();
    let values: [&[u8]; 3] = [
        br#"{"route_id":"r1","response":{"status":200}}"#,
        br#"[{"route_id":"r1","response":{"status":502}},{"route_id":"r2","response":{"status":503}}]"#,
        b"not json",
    ];
    broker.append("test", 0, &batch(NOBODY, 1_700_000_000_000, &values), i64::MAX).unwrap();
    broker
}

fn args(broker: &Broker) -> TailArgs {
    TailArgs {
        brokers: vec![broker.addr().to_string()],
        access: Access::default(),
        topic: "test".into(),
        from: From::Beginning,
        follow: false,
        count: None,
        filters: Vec::new(),
        style: Style::Raw,
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), work).await }).expect("20 s were not enough")
}

fn tailed(args: TailArgs) -> Result<String, String> {
    let mut out = Vec::new();
    run(tail(args, &mut out)).map(|()| String::from_utf8(out).unwrap())
}

#[test]
fn tail_shows_every_entry_a_batch_one_by_one_and_broken_json_as_it_is() {
    let broker = broker();
    let text = tailed(args(&broker)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!((lines[2], lines[3]), (r#"{"route_id":"r2","response":{"status":503}}"#, "not json"));
}

#[test]
fn tail_filters_counts_and_names_a_wrong_filter() {
    let broker = broker();
    let filters = vec!["response.status>=500".to_owned(), "route_id=r1".to_owned()];
    let text = tailed(TailArgs { filters, ..args(&broker) }).unwrap();
    assert_eq!(text, "{\"route_id\":\"r1\",\"response\":{\"status\":502}}\n");
    let text = tailed(TailArgs { count: Some(2), follow: true, ..args(&broker) }).unwrap();
    assert_eq!(text.lines().count(), 2);
    let wrong = tailed(TailArgs { filters: vec!["status".into()], ..args(&broker) });
    assert!(wrong.unwrap_err().contains("filter 'status'"));
}

struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn tail_ends_quietly_when_the_pipe_is_closed() {
    let broker = broker();
    assert_eq!(run(tail(TailArgs { follow: true, ..args(&broker) }, &mut ClosedPipe)), Ok(()));
}

#[test]
fn topics_shows_offsets_sizes_and_the_newest_time() {
    let broker = broker();
    broker.create_topic("empty", 1).unwrap();
    let mut out = Vec::new();
    let args = TopicsArgs {
        brokers: vec![broker.addr().to_string()],
        access: Access::default(),
        topics: Vec::new(),
        internal: false,
    };
    run(topics(args.clone(), &mut out)).unwrap();
    let text = String::from_utf8(out).unwrap();
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[1], ["empty", "1", "0", "0", "0", "0", "B", "-"]);
    assert_eq!(words[2][..5], ["test", "2", "0", "3", "3"]);
    assert_eq!(words[2][7], "2023-11-14T22:13:20.000Z");
    let mut out = Vec::new();
    run(topics(TopicsArgs { topics: vec!["test".into()], ..args.clone() }, &mut out)).unwrap();
    assert_eq!(String::from_utf8(out).unwrap().lines().count(), 4, "title, topic, two partitions");
    let gone = run(topics(TopicsArgs { topics: vec!["gone".into()], ..args }, &mut Vec::new()));
    assert!(gone.unwrap_err().contains("no topic gone"));
}

#[test]
fn topics_says_why_sizes_are_not_known() {
    let broker = broker();
    broker.script().push(Api::DescribeLogDirs, Fault::Error(31));
    let mut out = Vec::new();
    let args = TopicsArgs {
        brokers: vec![broker.addr().to_string()],
        access: Access::default(),
        topics: Vec::new(),
        internal: false,
    };
    run(topics(args, &mut out)).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("not all sizes are known: not allowed"), "{text}");
}

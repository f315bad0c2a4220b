//! What a real broker answers about an idempotent producer: after five batches, after a clean restart of which only the last batch is
//! remembered, and for a producer that it never heard of. The unit tests' simulated cluster claims to be like this.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tollgate::kafka::batch::{HEADROOM_BYTES, Identity, OpenBatch, key_bytes, write_header};
use tollgate::kafka::batch_heads;
use tollgate::kafka::codec::producers::{self, ProducerState, Producers};
use tollgate::kafka::codec::read::{self, FetchBounds};
use tollgate::kafka::codec::{
    answers,
    requests::{self, Caller},
};
use tollgate::kafka::head::{Head, write_head};

/// One connection, one request at a time.
struct Link(TcpStream);

const CALLER: Caller<'static> = Caller { client_id: "asking", correlation: 7 };

impl Link {
    fn open(address: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        Some(Self(stream))
    }

    /// The answer behind the correlation id.
    fn ask(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        self.0.write_all(request).ok()?;
        let mut size = [0; 4];
        self.0.read_exact(&mut size).ok()?;
        let mut answer = vec![0; u32::from_be_bytes(size) as usize];
        self.0.read_exact(&mut answer).ok()?;
        Some(answer.split_off(4))
    }

    fn producers(&mut self, topic: &str, id: i64) -> Option<Producers> {
        producers::producers(&self.ask(&producers::describe_producers(CALLER, 0, topic, 0))?, 0, &[id])
    }

    /// Sends one batch of two records; the broker's error and base offset.
    fn produce(&mut self, topic: &str, identity: Identity) -> (i16, i64) {
        let mut memory = vec![0; 4_096];
        let mut open = OpenBatch::new(memory.len(), 2);
        for _ in 0..2 {
            open.push_record(&mut memory, &key_bytes(None), now_ms(), &mut |out| out.push(b"{}")).expect("fits");
        }
        let sealed = open.sealed();
        write_header(&mut memory, &sealed, identity);
        assert!(sealed.end > HEADROOM_BYTES);
        let head = Head {
            version: 9,
            correlation: 7,
            client_id: "asking",
            acks: -1,
            timeout_ms: 5_000,
            topic,
            topic_id: [0; 16],
            partition: 0,
        };
        let range = write_head(&mut memory, &head, sealed.end).expect("fits");
        let answer = answers::produced(&self.ask(&memory[range]).expect("answered"), 9).expect("read");
        (answer.error, answer.base_offset)
    }
}

fn now_ms() -> i64 {
    std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as i64
}

/// Asks until the answer is one that stays, at most half a minute.
fn told(address: &str, topic: &str, id: i64) -> Vec<ProducerState> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = Link::open(address).and_then(|mut link| link.producers(topic, id));
        match answer {
            Some(answer) if answer.error == 0 => return answer.states,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "needs a real Kafka: TOLLGATE_TEST_KAFKA=HOST:PORT, and TOLLGATE_TEST_KAFKA_RESTART=a command that restarts it cleanly"]
fn a_real_broker_tells_its_producers_and_remembers_only_the_last_batch_over_a_clean_restart() {
    let address = std::env::var("TOLLGATE_TEST_KAFKA").expect("TOLLGATE_TEST_KAFKA=HOST:PORT");
    let topic = format!("asking-{}-{}", std::process::id(), now_ms());
    let mut link = Link::open(&address).expect("a broker");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = link.ask(&requests::metadata(CALLER, 12, &[&topic])).expect("answered");
        let answer = answers::metadata(&answer, 12).expect("read");
        assert!(answer.cluster_id.is_some_and(|id| id.len() >= 16));
        if answer.topics[0].error == 0 && answer.topics[0].partitions[0].leader >= 0 {
            break;
        }
        assert!(Instant::now() < deadline, "the topic is not made");
    }
    let id = loop {
        let answer = link.ask(&requests::init_producer_id(CALLER, 4)).expect("answered");
        let answer = answers::producer_id(&answer, 4).expect("read");
        if answer.error == 0 {
            break answer.id;
        }
        assert!(answer.error == 14 && Instant::now() < deadline, "{answer:?}");
    };
    assert_eq!(told(&address, &topic, id), [], "nothing was sent yet");
    let identity = |sequence| Identity { producer_id: id, epoch: 0, sequence };
    for at in 0..5 {
        assert_eq!(link.produce(&topic, identity(2 * at)), (0, 2 * i64::from(at)));
    }
    assert_eq!(told(&address, &topic, id), [ProducerState { producer_id: id, epoch: 0, last_sequence: 9 }]);
    assert_eq!(link.produce(&topic, identity(0)), (0, 0), "one of the last five is recognised");

    let bounds = FetchBounds { max_wait_ms: 0, max_bytes: 1 << 20, partition_max_bytes: 1 << 20 };
    let answer = link.ask(&read::fetch_request(CALLER, 12, &topic, &[(0, 2)], bounds)).expect("answered");
    let (error, parts) = read::fetch(&answer, 12).expect("read");
    assert_eq!((error, parts[0].error, parts[0].high_watermark, parts[0].log_start), (0, 0, 10, 0));
    let mut heads = Vec::new();
    batch_heads::read(parts[0].records, |head| heads.push((head.producer_id, head.base_sequence, head.records)));
    assert_eq!(heads, (1..5).map(|at| (id, 2 * at, 2)).collect::<Vec<_>>());
    // At the end there is nothing, and no waiting for it.
    let answer = link.ask(&read::fetch_request(CALLER, 12, &topic, &[(0, 10)], bounds)).expect("answered");
    let (_, parts) = read::fetch(&answer, 12).expect("read");
    assert_eq!((parts[0].error, parts[0].high_watermark, parts[0].records.len()), (0, 10, 0));

    let Ok(restart) = std::env::var("TOLLGATE_TEST_KAFKA_RESTART") else { return };
    let status = std::process::Command::new("sh").args(["-c", &restart]).status().expect("a shell");
    assert!(status.success(), "{restart}");
    assert_eq!(told(&address, &topic, id), [ProducerState { producer_id: id, epoch: 0, last_sequence: 9 }]);
    let mut link = Link::open(&address).expect("a broker");
    assert_eq!(link.produce(&topic, identity(8)), (0, 8), "the last batch is recognised");
    assert_eq!(link.produce(&topic, identity(6)).0, 45, "the one before is not");
    assert_eq!(link.produce(&topic, identity(10)), (0, 10), "the next one follows");
    let unknown = Identity { producer_id: id + 1_000_000, epoch: 0, sequence: 7 };
    assert_eq!(link.produce(&topic, unknown), (0, 12), "a producer that it does not know may begin anywhere");
}

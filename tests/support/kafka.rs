//! The Kafka of the log tests: the one that `TOLLGATE_TEST_KAFKA=HOST:PORT` names, so that the same tests run against real ones,
//! and otherwise a dev broker of their own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use devbroker::{Broker, Options};
use serde_json::{Value, json};
use tollgate::control::records::{From, KafkaReader, Record};

use super::{PATIENCE, wait_until};

/// Names the broker to test against.
const ADDRESS: &str = "TOLLGATE_TEST_KAFKA";
/// How long records may take. A real Kafka makes a topic in seconds when the machine is busy.
const RECORDS_PATIENCE: Duration = Duration::from_secs(40);

static TOPICS: AtomicU32 = AtomicU32::new(0);

/// Kafka's NOT_CONTROLLER: another broker makes topics.
const NOT_CONTROLLER: i16 = 41;

/// A Kafka.
pub struct Kafka {
    host: String,
    port: u16,
    dev: Option<Arc<Broker>>,
}

impl Kafka {
    /// The named one, or a dev broker.
    pub fn start() -> Self {
        match std::env::var(ADDRESS) {
            Ok(address) => Self::named(&address),
            Err(_) => Self::dev(Options { partitions: 2, ..Options::default() }),
        }
    }

    /// The one at HOST:PORT.
    pub fn named(address: &str) -> Self {
        let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
        Self { host: host.to_owned(), port: port.parse().expect("HOST:PORT"), dev: None }
    }

    /// A dev broker, also where a real Kafka is named: for what a real one cannot be asked to do.
    pub fn dev(options: Options) -> Self {
        let broker = Arc::new(Broker::start(options).expect("a free port"));
        Self { host: broker.addr().ip().to_string(), port: broker.addr().port(), dev: Some(broker) }
    }

    /// The dev broker, to script its faults.
    pub fn dev_broker(&self) -> Arc<Broker> {
        Arc::clone(self.dev.as_ref().expect("asked of a dev broker only"))
    }

    /// Where its first broker listens.
    pub fn address(&self) -> SocketAddr {
        let mut found = (self.host.as_str(), self.port).to_socket_addrs().expect("HOST:PORT");
        found.next().expect("HOST has an address")
    }

    /// Makes a topic with so many partitions, as `kafka-topics --create` does.
    pub fn create_topic(&self, topic: &str, partitions: i32) {
        let mut code = create_topic(self.address(), topic, partitions);
        if code == NOT_CONTROLLER {
            // 2.8: only one of the three makes topics. tools/kafka gives them neighbouring ports.
            let others = (1..3).map(|further| SocketAddr::new(self.address().ip(), self.port + further));
            code =
                others.map(|address| create_topic(address, topic, partitions)).find(|code| *code == 0).unwrap_or(code);
        }
        assert_eq!(code, 0, "Kafka's error when topic {topic} was made");
        // Every broker hears of it in its own time.
        let known = || {
            self.read(async |reader| {
                Ok(reader.partitions(topic).await.is_ok_and(|all| all.len() == partitions as usize))
            })
        };
        assert_eq!(wait_until(RECORDS_PATIENCE, || known().then_some(())), Some(()), "{topic} is there");
    }

    /// `brokers` of the plugin.
    pub fn brokers(&self) -> Value {
        json!([{"host": self.host, "port": self.port}])
    }

    /// `broker_list` of the plugin.
    pub fn broker_list(&self) -> Value {
        json!({self.host.clone(): self.port})
    }

    /// The records of a topic now; none if it does not exist. Each partition's in order.
    pub fn records(&self, topic: &str) -> Vec<Record> {
        self.read(async |reader| {
            let mut found = Vec::new();
            if !reader.topics().await?.iter().any(|known| known.name == topic) {
                return Ok(found);
            }
            let each = &mut |record| {
                found.push(record);
                ControlFlow::Continue(())
            };
            reader.tail(topic, From::Beginning, false, each).await?;
            Ok(found)
        })
    }

    /// Bytes that a topic's records take on the brokers' disks.
    pub fn stored_bytes(&self, topic: &str) -> i64 {
        self.read(async |reader| {
            reader.topics().await?;
            let (sizes, why_not) = reader.sizes().await;
            let of_topic = sizes.iter().filter(|((name, _), _)| name == topic);
            why_not.map_or(Ok(of_topic.map(|(_, bytes)| bytes).sum()), Err)
        })
    }

    fn read<T>(&self, work: impl AsyncFnOnce(&mut KafkaReader) -> Result<T, String>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let work = async { work(&mut KafkaReader::connect(&[(&self.host, self.port)]).await?).await };
        let bounded = async { tokio::time::timeout(PATIENCE, work).await };
        let outcome = runtime.block_on(bounded).expect("reading takes seconds at most");
        outcome.unwrap_or_else(|text| panic!("reading back: {text}"))
    }

    /// Waits until a topic holds at least `count` records.
    pub fn wait_records(&self, topic: &str, count: usize) -> Vec<Record> {
        let mut found = Vec::new();
        wait_until(RECORDS_PATIENCE, || {
            found = self.records(topic);
            (found.len() >= count).then_some(())
        });
        assert!(found.len() >= count, "{topic} holds {} records, not {count}", found.len());
        found
    }
}

/// A topic that does not exist anywhere yet.
pub fn new_topic() -> String {
    let number = TOPICS.fetch_add(1, Ordering::Relaxed);
    let now_ms = UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
    format!("test-{now_ms}-{}-{number}", std::process::id())
}

/// The records' values as JSON.
pub fn entries(records: &[Record]) -> Vec<Value> {
    let parse = |record: &Record| {
        let value = record.value.as_deref().expect("an entry has a value");
        serde_json::from_slice(value).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(value)))
    };
    records.iter().map(parse).collect()
}

/// Sends a CreateTopics request, version 4 (KIP-464: the broker's own replication), and gives the topic's error code.
fn create_topic(broker: SocketAddr, topic: &str, partitions: i32) -> i16 {
    let mut request = Vec::new();
    request.extend_from_slice(&[0, 19, 0, 4, 0, 0, 0, 1, 0xff, 0xff]); // key, version, correlation id, no client id
    request.extend_from_slice(&1_i32.to_be_bytes()); // topics
    request.extend_from_slice(&(topic.len() as i16).to_be_bytes());
    request.extend_from_slice(topic.as_bytes());
    request.extend_from_slice(&partitions.to_be_bytes());
    request.extend_from_slice(&(-1_i16).to_be_bytes()); // replication
    request.extend_from_slice(&[0; 8]); // no assignments, no configs
    request.extend_from_slice(&15_000_i32.to_be_bytes()); // timeout
    request.push(0); // do it
    let mut stream = TcpStream::connect_timeout(&broker, PATIENCE).expect("a broker");
    stream.set_read_timeout(Some(RECORDS_PATIENCE)).expect("a TCP socket");
    stream.write_all(&(request.len() as u32).to_be_bytes()).and_then(|()| stream.write_all(&request)).expect("sent");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("a whole answer");
    // Correlation id, throttle time, one topic, its name.
    let at = 4 + 4 + 4 + 2 + topic.len();
    i16::from_be_bytes([answer[at], answer[at + 1]])
}

/// A bootstrap address where nobody listens yet: connections are refused. Opened, it leads to a Kafka.
pub struct LateKafka {
    socket: socket2::Socket,
    address: SocketAddr,
}

impl LateKafka {
    /// Takes a port.
    pub fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("bound");
        Self { socket, address }
    }

    /// `brokers` of the plugin.
    pub fn brokers(&self) -> Value {
        json!([{"host": self.address.ip().to_string(), "port": self.address.port()}])
    }

    /// Takes connections from now on, for as long as the process runs. What is asked for by Kafka's metadata goes to Kafka
    /// directly.
    pub fn open(self, kafka: &Kafka) {
        let behind = kafka.address();
        self.socket.listen(64).expect("a bound socket");
        let listener = std::net::TcpListener::from(self.socket);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(behind) else { continue };
                for (from, to) in [(near.try_clone(), far.try_clone()), (far.try_clone(), near.try_clone())] {
                    let (Ok(mut from), Ok(mut to)) = (from, to) else { continue };
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
    }
}

//! Reads records back from any Kafka: finds leaders, follows them when they move, reads from an offset on. For `tail`, `topics` and `demo`;
//! the data path has its own producer and never comes here.

mod access;
mod flight;
mod link;
mod release;
mod tail;

pub use self::access::Access;
use self::flight::Part;
use self::link::Link;
use crate::kafka::codec::read::{self, ClusterMeta, FetchBounds, TopicMeta, describe};
pub use crate::kafka::codec::read::{EARLIEST, LATEST};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::time::Instant;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The oldest record kept, in each partition.
    Beginning,
    /// Only what comes from now on.
    End,
    /// This offset in each partition; moved into the range that is there.
    Offset(i64),
    /// This many records before the end, in each partition.
    Last(i64),
    /// The first record at or after this time, milliseconds since 1970.
    Time(i64),
}

/// One record, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Partition it was read from.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; -1 if there is none.
    pub timestamp_ms: i64,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// Node that leads it; none while it has no leader.
    pub leader: Option<i32>,
    /// Nodes that hold it.
    pub replicas: usize,
    /// Nodes that hold it and keep up.
    pub in_sync: usize,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Kafka's own (`__consumer_offsets` …).
    pub internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<Partition>,
}

/// What one Fetch brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Where to read on.
    pub next_offset: i64,
    /// One past the last record that consumers may see.
    pub high_watermark: i64,
    /// What was passed over (old formats, unreadable batches), in words; empty as a rule.
    pub notes: Vec<String>,
}

/// A reader of one Kafka cluster. Lives on a tokio runtime; all waiting is bounded.
#[derive(Debug)]
pub struct KafkaReader {
    seeds: Vec<(String, u16)>,
    access: Access,
    nodes: BTreeMap<i32, (String, u16)>,
    links: BTreeMap<i32, Link>,
    seed: Option<Link>,
    leaders: BTreeMap<(String, i32), i32>,
}

/// Milliseconds after which an unreadable partition is given up, where nobody follows.
pub const LEADER_WAIT_MS: u64 = 15_000;
/// Milliseconds without one readable partition after which following gives up.
pub const SILENCE_MS: u64 = 60_000;
/// Milliseconds between two tries at what just failed.
const RETRY_MS: u64 = 250;
/// Topics named in the message that says that one is not there.
const NAMED_TOPICS: usize = 10;
/// Bytes of one Fetch answer, and of one partition in it; a larger batch comes whole even so.
const FETCH_BYTES: i32 = 8 * 1024 * 1024;
const PARTITION_BYTES: i32 = 1024 * 1024;

/// Errors that pass when the leader is looked up again: no leader, not the leader, replica, offset, epoch, topic id.
const fn passes(code: i16) -> bool {
    matches!(code, 3 | 5 | 6 | 7 | 8 | 9 | 56 | 72 | 74 | 75 | 78 | 100 | 103)
}

/// A topic's partition and where in it: [`LATEST`], [`EARLIEST`], or a time in milliseconds since 1970.
pub type Wanted = (String, i32, i64);

/// What brokers said about offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// By topic and partition.
    pub found: BTreeMap<(String, i32), i64>,
    /// Why some are missing.
    pub missing: Option<String>,
}

impl Offsets {
    fn whole(self) -> Result<BTreeMap<(String, i32), i64>, String> {
        self.missing.map_or(Ok(self.found), Err)
    }
}

/// Partitions with the place asked for, by topic.
type ByTopic<'a> = BTreeMap<&'a str, Vec<(i32, i64)>>;

enum Again {
    Yes,
    No,
}

impl KafkaReader {
    /// Connects to the first of `bootstrap` (host, port) that answers as a Kafka.
    ///
    /// # Errors
    /// One text for the operator: what was tried, what each address said, what to do.
    pub async fn connect(bootstrap: &[(&str, u16)]) -> Result<Self, String> {
        Self::connect_as(bootstrap, Access::default()).await
    }

    /// The same for a cluster that asks for SASL or TLS: each of its brokers is told the same.
    ///
    /// # Errors
    /// As [`KafkaReader::connect`].
    pub async fn connect_as(bootstrap: &[(&str, u16)], access: Access) -> Result<Self, String> {
        let seeds = bootstrap.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
        let (nodes, links, leaders) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut reader = Self { seeds, access, nodes, links, seed: None, leaders };
        reader.metadata(Some(&[])).await?;
        Ok(reader)
    }

    /// The release of the broker that answered last about the cluster, in words: `Kafka 3.9`.
    pub fn release(&self) -> String {
        self.seed.as_ref().map_or_else(|| "a Kafka".to_owned(), |link| release::of(link.ranges()))
    }

    /// All topics with their partitions, by name. Creates nothing.
    ///
    /// # Errors
    /// No broker of the cluster answers.
    pub async fn topics(&mut self) -> Result<Vec<Topic>, String> {
        let mut topics: Vec<Topic> =
            self.metadata(None).await?.topics.into_iter().filter(|t| t.error == 0).map(Topic::from).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// The partitions of `topic`, by number. Creates nothing.
    ///
    /// # Errors
    /// No such topic, not allowed to see it, or no broker answers.
    pub async fn partitions(&mut self, topic: &str) -> Result<Vec<Partition>, String> {
        let found = self.metadata(Some(&[topic])).await?.topics.into_iter().find(|t| t.name == topic);
        match found {
            Some(found) if found.error == 0 || found.error == 5 => Ok(Topic::from(found).partitions),
            Some(found) if found.error != 3 => Err(format!("topic {topic}: {}", describe(found.error))),
            _ => Err(self.no_such(topic).await),
        }
    }

    async fn no_such(&mut self, topic: &str) -> String {
        let all = self.topics().await.unwrap_or_default();
        let mut names: Vec<&str> = all.iter().filter(|t| !t.internal).map(|t| t.name.as_str()).collect();
        let more = names.len().saturating_sub(NAMED_TOPICS);
        names.truncate(NAMED_TOPICS);
        let there = match (names.is_empty(), more) {
            (true, _) => "there is none yet".to_owned(),
            (false, 0) => format!("there are: {}", names.join(", ")),
            (false, more) => format!("there are: {} and {more} more", names.join(", ")),
        };
        format!(
            "no topic {topic} in this Kafka; {there}. Kafka makes it when its first record comes, or `kafka-topics --create`"
        )
    }

    /// First offset kept and one past the last, of every partition.
    ///
    /// # Errors
    /// A partition that could not be asked for [`LEADER_WAIT_MS`], and why.
    pub async fn ends(&mut self, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, (i64, i64)>, String> {
        let wanted = |at| partitions.iter().map(|p| (topic.to_owned(), *p, at)).collect::<Vec<Wanted>>();
        let first = self.offsets(&wanted(EARLIEST), LEADER_WAIT_MS).await.whole()?;
        let last = self.offsets(&wanted(LATEST), LEADER_WAIT_MS).await.whole()?;
        let pair = |((topic, p), first): ((String, i32), i64)| Some((p, (first, *last.get(&(topic, p))?)));
        Ok(first.into_iter().filter_map(pair).collect())
    }

    /// Records of one partition from `offset` on; waits up to `max_wait_ms` for the first one.
    ///
    /// # Errors
    /// The partition cannot be read, after its leader was looked up again once.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_wait_ms: i32,
    ) -> Result<Fetched, String> {
        let bounds = FetchBounds { max_wait_ms, max_bytes: FETCH_BYTES, partition_max_bytes: PARTITION_BYTES };
        let mut said = String::new();
        for _ in 0..2 {
            match self.fetch_once(topic, partition, offset, bounds).await {
                Ok(part) if part.error == 0 => return part.fetched,
                Ok(part) if passes(part.error) => said = describe(part.error),
                Ok(part) => return Err(format!("{topic}[{partition}]: {}", describe(part.error))),
                Err(error) => said = error,
            }
            self.leaders.remove(&(topic.to_owned(), partition));
        }
        Err(format!("{topic}[{partition}]: {said}"))
    }

    async fn fetch_once(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        bounds: FetchBounds,
    ) -> Result<Part, String> {
        let key = (topic.to_owned(), partition);
        if !self.leaders.contains_key(&key) {
            self.partitions(topic).await?;
        }
        let node = *self.leaders.get(&key).ok_or_else(|| describe(5))?;
        let mut link = self.link(node).await?;
        let parts = flight::fetch(&mut link, topic, &[(partition, offset)], bounds).await?;
        self.links.insert(node, link);
        parts.into_iter().find(|p| p.partition == partition).ok_or_else(|| "the answer leaves it out".to_owned())
    }

    /// The newest timestamp of one partition whose end is `end`, milliseconds since 1970; none if it is empty or cannot be read.
    pub async fn newest_ms(&mut self, topic: &str, partition: i32, end: i64) -> Option<i64> {
        let bounds = FetchBounds { max_wait_ms: 0, max_bytes: 1, partition_max_bytes: 1 };
        self.fetch_once(topic, partition, end.checked_sub(1).filter(|o| *o >= 0)?, bounds).await.ok()?.newest_ms
    }

    /// Bytes that each partition takes on its leader's disks, and why some are not known.
    pub async fn sizes(&mut self) -> (BTreeMap<(String, i32), i64>, Option<String>) {
        let (mut sizes, mut why) = (BTreeMap::new(), None);
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            match self.sizes_on(node).await {
                Ok((0, found)) => {
                    let led = |key: &(String, i32)| self.leaders.get(key) == Some(&node);
                    let here = found.into_iter().map(|l| ((l.topic, l.partition), l.bytes)).filter(|(key, _)| led(key));
                    sizes.extend(here);
                }
                Ok((code, _)) => why = Some(describe(code)),
                Err(error) => why = Some(error),
            }
        }
        (sizes, why)
    }

    async fn sizes_on(&mut self, node: i32) -> Result<(i16, Vec<read::LogSize>), String> {
        let mut link = self.link(node).await?;
        let answer = link.ask(read::LOG_DIRS_KIND, 0, read::log_dirs_request).await?;
        let sizes = read::log_dirs(&answer.body, answer.version).ok_or_else(|| link.nonsense(read::LOG_DIRS_KIND))?;
        self.links.insert(node, link);
        Ok(sizes)
    }

    /// The offsets `wanted`, from each partition's leader; a time later than all records is -1. What fails is tried again for `patience_ms`.
    pub async fn offsets(&mut self, wanted: &[Wanted], patience_ms: u64) -> Offsets {
        let until = Instant::now() + Duration::from_millis(patience_ms);
        let mut found = BTreeMap::new();
        loop {
            let left = wanted.iter().filter(|(t, p, _)| !found.contains_key(&(t.clone(), *p)));
            let left: Vec<Wanted> = left.cloned().collect();
            match self.offsets_once(&left, &mut found).await {
                Ok(()) => return Offsets { found, missing: None },
                Err((why, Again::No)) => return Offsets { found, missing: Some(why) },
                Err((why, _)) if Instant::now() >= until => return Offsets { found, missing: Some(why) },
                Err(_) => tokio::time::sleep(Duration::from_millis(RETRY_MS)).await,
            }
            let names: BTreeSet<&str> = left.iter().map(|(topic, ..)| topic.as_str()).collect();
            let _ = self.metadata(Some(&names.into_iter().collect::<Vec<_>>())).await;
        }
    }

    /// Asks every leader once; says why a partition is not answered, if one is not.
    async fn offsets_once(
        &mut self,
        wanted: &[Wanted],
        found: &mut BTreeMap<(String, i32), i64>,
    ) -> Result<(), (String, Again)> {
        let mut by_leader: BTreeMap<i32, ByTopic<'_>> = BTreeMap::new();
        let mut failed = Ok(());
        for (topic, partition, at) in wanted {
            match self.leaders.get(&(topic.clone(), *partition)) {
                Some(node) => {
                    by_leader.entry(*node).or_default().entry(topic.as_str()).or_default().push((*partition, *at));
                }
                None => failed = Err((format!("{topic}[{partition}]: {}", describe(5)), Again::Yes)),
            }
        }
        for (node, topics) in by_leader {
            match self.offsets_on(node, topics).await {
                Ok(offsets) => {
                    for one in offsets {
                        if one.error == 0 {
                            found.insert((one.topic, one.partition), one.offset);
                        } else {
                            let again = if passes(one.error) { Again::Yes } else { Again::No };
                            let why = format!("{}[{}]: {}", one.topic, one.partition, describe(one.error));
                            failed = Err((why, again));
                        }
                    }
                }
                Err(error) => failed = Err((error, Again::Yes)),
            }
        }
        failed
    }

    async fn offsets_on(&mut self, node: i32, topics: ByTopic<'_>) -> Result<Vec<read::Offset>, String> {
        let kind = read::LIST_OFFSETS_KIND;
        let topics: Vec<_> = topics.into_iter().collect();
        let mut link = self.link(node).await?;
        let answer = link.ask(kind, 0, |caller, version| read::list_offsets_request(caller, version, &topics)).await?;
        let offsets = read::list_offsets(&answer.body, answer.version).ok_or_else(|| link.nonsense(kind))?;
        self.links.insert(node, link);
        Ok(offsets)
    }

    /// Hands the records of all partitions of `topic` to `each`, in order within a partition, until `each` breaks. Without `follow` it ends
    /// at the ends that the partitions had when it began; with it, it goes on, over leader changes and lost connections. What had to be passed
    /// over (batches that cannot be read, records that were deleted before they were read) is logged.
    ///
    /// # Errors
    /// The topic is not there or may not be read, or nothing of it could be read for [`SILENCE_MS`] ([`LEADER_WAIT_MS`] without `follow`).
    pub async fn tail(
        &mut self,
        topic: &str,
        from: From,
        follow: bool,
        each: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), String> {
        tail::run(self, topic, from, follow, each).await
    }

    /// The connection to `node`, taken out; put it back after a good answer.
    async fn link(&mut self, node: i32) -> Result<Link, String> {
        if let Some(link) = self.links.remove(&node) {
            return Ok(link);
        }
        let (host, port) =
            self.nodes.get(&node).ok_or_else(|| format!("the cluster does not say where broker {node} is"))?;
        Link::open(host, *port, &self.access).await.map_err(|error| advertised(node, &error))
    }

    /// Asks whoever answers first: an open connection, a known broker, a bootstrap address. Learns brokers and leaders.
    async fn metadata(&mut self, topics: Option<&[&str]>) -> Result<ClusterMeta, String> {
        let mut said = Vec::new();
        if let Some(link) = self.seed.take()
            && let Ok(cluster) = self.learn(link, topics).await
        {
            return Ok(cluster);
        }
        while let Some((_, link)) = self.links.pop_first() {
            if let Ok(cluster) = self.learn(link, topics).await {
                return Ok(cluster);
            }
        }
        let mut addresses = self.seeds.clone();
        addresses.extend(self.nodes.values().cloned());
        addresses.dedup();
        for (host, port) in addresses {
            let learned = match Link::open(&host, port, &self.access).await {
                Ok(link) => self.learn(link, topics).await,
                Err(error) => Err(error),
            };
            match learned {
                Ok(cluster) => return Ok(cluster),
                Err(error) => said.push(error),
            }
        }
        said.dedup();
        Err(if said.is_empty() { "no Kafka to ask: no broker was named".to_owned() } else { said.join("\n") })
    }

    async fn learn(&mut self, mut link: Link, topics: Option<&[&str]>) -> Result<ClusterMeta, String> {
        let kind = read::METADATA_KIND;
        let answer = link.ask(kind, 0, |caller, version| read::metadata_request(caller, version, topics)).await?;
        let cluster = read::metadata(&answer.body, answer.version).ok_or_else(|| link.nonsense(kind))?;
        self.seed = Some(link);
        self.nodes = cluster.nodes.iter().map(|n| (n.id, (n.host.clone(), n.port))).collect();
        for topic in &cluster.topics {
            for part in &topic.partitions {
                let key = (topic.name.clone(), part.partition);
                if part.leader >= 0 {
                    self.leaders.insert(key, part.leader);
                } else {
                    self.leaders.remove(&key);
                }
            }
        }
        Ok(cluster)
    }
}

impl KafkaReader {
    /// Where `from` is and where the end is now, of every partition of `topic`.
    ///
    /// # Errors
    /// As of [`KafkaReader::tail`].
    pub async fn places(&mut self, topic: &str, from: From) -> Result<BTreeMap<i32, (i64, i64)>, String> {
        tail::places(self, topic, from).await
    }

    /// Like [`KafkaReader::tail`], but from one offset to just before another, which must have been there.
    ///
    /// # Errors
    /// As of [`KafkaReader::tail`].
    pub async fn between(
        &mut self,
        topic: &str,
        places: &BTreeMap<i32, (i64, i64)>,
        each: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), String> {
        tail::between(self, topic, places, each).await
    }
}

fn advertised(node: i32, error: &str) -> String {
    format!(
        "{error} (the cluster gives this address for broker {node}; if it is wrong from here, see the broker's advertised.listeners)"
    )
}

impl std::convert::From<TopicMeta> for Topic {
    fn from(meta: TopicMeta) -> Self {
        let mut partitions: Vec<Partition> = meta
            .partitions
            .into_iter()
            .map(|p| Partition {
                partition: p.partition,
                leader: (p.leader >= 0).then_some(p.leader),
                replicas: p.replicas,
                in_sync: p.in_sync,
            })
            .collect();
        partitions.sort_by_key(|p| p.partition);
        Self { name: meta.name, internal: meta.internal, partitions }
    }
}

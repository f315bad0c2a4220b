//! Reads a topic's partitions side by side: one Fetch under way per leader, answered in whatever order. Leaders that move and connections that
//! break cost a pause and a look at the metadata, never a record.

use super::flight::{self, Part};
use super::link::Link;
use super::{
    FETCH_BYTES, From, KafkaReader, LEADER_WAIT_MS, PARTITION_BYTES, RETRY_MS, Record, SILENCE_MS, describe, passes,
};
use crate::kafka::codec::read::FetchBounds;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Milliseconds a broker may wait for records before it answers with none.
const POLL_MS: i32 = 500;
/// Milliseconds after which the metadata are asked again, so that new partitions are found.
const METADATA_MS: u64 = 30_000;
/// Kafka's OFFSET_OUT_OF_RANGE.
const OUT_OF_RANGE: i16 = 1;

/// Where one partition's reading stands.
#[derive(Debug)]
struct Cursor {
    next: i64,
    /// Where to stop; none is never.
    end: Option<i64>,
    under_way: bool,
    not_before: Instant,
}

impl Cursor {
    fn new(next: i64, end: Option<i64>) -> Self {
        Self { next, end, under_way: false, not_before: Instant::now() }
    }

    fn done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    fn rest(&mut self) {
        self.not_before = Instant::now() + Duration::from_millis(RETRY_MS);
    }
}

/// A Fetch that came back.
struct Landed {
    node: i32,
    asked: Vec<i32>,
    answer: Result<(Link, Vec<Part>), String>,
}

struct Tail<'a> {
    reader: &'a mut KafkaReader,
    topic: &'a str,
    follow: bool,
    cursors: BTreeMap<i32, Cursor>,
    flights: JoinSet<Landed>,
    /// Leaders that are being asked.
    busy: Vec<i32>,
    metadata_at: Instant,
    stale: bool,
    read_at: Instant,
    trouble: String,
}

pub async fn run(
    reader: &mut KafkaReader,
    topic: &str,
    from: From,
    follow: bool,
    each: &mut dyn FnMut(Record) -> ControlFlow<()>,
) -> Result<(), String> {
    let places = places(reader, topic, from).await?;
    let end = |last| (!follow).then_some(last);
    let cursors = places.into_iter().map(|(partition, (next, last))| (partition, Cursor::new(next, end(last))));
    read(reader, topic, follow, cursors.collect(), each).await
}

/// Reads every partition from its first offset to just before its second.
pub async fn between(
    reader: &mut KafkaReader,
    topic: &str,
    places: &BTreeMap<i32, (i64, i64)>,
    each: &mut dyn FnMut(Record) -> ControlFlow<()>,
) -> Result<(), String> {
    let cursors = places.iter().map(|(partition, (next, end))| (*partition, Cursor::new(*next, Some(*end))));
    read(reader, topic, false, cursors.collect(), each).await
}

async fn read(
    reader: &mut KafkaReader,
    topic: &str,
    follow: bool,
    cursors: BTreeMap<i32, Cursor>,
    each: &mut dyn FnMut(Record) -> ControlFlow<()>,
) -> Result<(), String> {
    let mut tail = Tail {
        reader,
        topic,
        follow,
        cursors,
        flights: JoinSet::new(),
        busy: Vec::new(),
        metadata_at: Instant::now(),
        stale: false,
        read_at: Instant::now(),
        trouble: String::new(),
    };
    while !tail.cursors.values().all(Cursor::done) {
        if tail.step(each).await?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Where to begin, and the end as it is now, of every partition.
pub async fn places(reader: &mut KafkaReader, topic: &str, from: From) -> Result<BTreeMap<i32, (i64, i64)>, String> {
    let partitions: Vec<i32> = reader.partitions(topic).await?.iter().map(|p| p.partition).collect();
    let ends = reader.ends(topic, &partitions).await?;
    let times = match from {
        From::Time(ms) => {
            let wanted: Vec<_> = partitions.iter().map(|p| (topic.to_owned(), *p, ms.max(0))).collect();
            reader.offsets(&wanted, LEADER_WAIT_MS).await.whole()?
        }
        _ => BTreeMap::new(),
    };
    let place = |partition: i32, first: i64, last: i64| match from {
        From::Beginning => first,
        From::End => last,
        From::Offset(offset) => offset.clamp(first, last),
        From::Last(count) => last.saturating_sub(count.max(0)).max(first),
        From::Time(_) => times.get(&(topic.to_owned(), partition)).copied().filter(|o| *o >= 0).unwrap_or(last),
    };
    let both =
        |(partition, (first, last)): (i32, (i64, i64))| (partition, (place(partition, first, last.max(first)), last));
    Ok(ends.into_iter().map(both).collect())
}

impl Tail<'_> {
    async fn step(&mut self, each: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<ControlFlow<()>, String> {
        let patience_ms = if self.follow { SILENCE_MS } else { LEADER_WAIT_MS };
        if self.read_at.elapsed() > Duration::from_millis(patience_ms) {
            return Err(format!("nothing of {} could be read for {patience_ms} ms: {}", self.topic, self.trouble));
        }
        let due = self.follow && self.metadata_at.elapsed() > Duration::from_millis(METADATA_MS);
        if self.stale || due {
            self.look_again().await;
        }
        self.launch();
        let Some(landed) = self.flights.join_next().await else {
            tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
            self.stale = true;
            return Ok(ControlFlow::Continue(()));
        };
        let landed = landed.map_err(|error| format!("reading {} ended: {error}", self.topic))?;
        self.land(landed, each).await
    }

    /// Asks for the metadata; partitions that are new are read from their first record.
    async fn look_again(&mut self) {
        self.metadata_at = Instant::now();
        match self.reader.partitions(self.topic).await {
            Ok(partitions) => {
                self.stale = false;
                for one in partitions.iter().filter(|_| self.follow) {
                    self.cursors.entry(one.partition).or_insert_with(|| Cursor::new(0, None));
                }
            }
            Err(error) => self.trouble = error,
        }
    }

    /// Sends a Fetch to every leader that is not being asked already.
    fn launch(&mut self) {
        let now = Instant::now();
        let mut by_leader: BTreeMap<i32, Vec<(i32, i64)>> = BTreeMap::new();
        for (partition, cursor) in &self.cursors {
            if cursor.done() || cursor.under_way || cursor.not_before > now {
                continue;
            }
            match self.reader.leaders.get(&(self.topic.to_owned(), *partition)) {
                Some(node) if self.busy.contains(node) => {}
                Some(node) => by_leader.entry(*node).or_default().push((*partition, cursor.next)),
                None => {
                    self.stale = true;
                    self.trouble = format!("{}[{partition}] has no leader now", self.topic);
                }
            }
        }
        for (node, wanted) in by_leader {
            self.send(node, wanted);
        }
    }

    fn send(&mut self, node: i32, wanted: Vec<(i32, i64)>) {
        let asked: Vec<i32> = wanted.iter().map(|(partition, _)| *partition).collect();
        for partition in &asked {
            if let Some(cursor) = self.cursors.get_mut(partition) {
                cursor.under_way = true;
            }
        }
        self.busy.push(node);
        let (open, address, topic) =
            (self.reader.links.remove(&node), self.reader.nodes.get(&node).cloned(), self.topic.to_owned());
        let access = self.reader.access.clone();
        let bounds = FetchBounds { max_wait_ms: POLL_MS, max_bytes: FETCH_BYTES, partition_max_bytes: PARTITION_BYTES };
        self.flights.spawn(async move {
            let answer = async {
                let mut link = match (open, address) {
                    (Some(link), _) => link,
                    (None, Some((host, port))) => {
                        Link::open(&host, port, &access).await.map_err(|error| super::advertised(node, &error))?
                    }
                    (None, None) => return Err(format!("the cluster does not say where broker {node} is")),
                };
                let parts = flight::fetch(&mut link, &topic, &wanted, bounds).await?;
                Ok((link, parts))
            };
            Landed { node, asked, answer: answer.await }
        });
    }

    async fn land(
        &mut self,
        landed: Landed,
        each: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        self.busy.retain(|node| *node != landed.node);
        for partition in &landed.asked {
            if let Some(cursor) = self.cursors.get_mut(partition) {
                cursor.under_way = false;
                if landed.answer.is_err() {
                    cursor.rest();
                }
            }
        }
        let parts = match landed.answer {
            Ok((link, parts)) => {
                self.reader.links.insert(landed.node, link);
                parts
            }
            Err(error) => {
                self.stale = true;
                self.trouble = error;
                return Ok(ControlFlow::Continue(()));
            }
        };
        for part in parts {
            if self.take(part, each).await?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn take(
        &mut self,
        part: Part,
        each: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        let place = format!("{}[{}]", self.topic, part.partition);
        match part.error {
            0 => {}
            OUT_OF_RANGE => {
                self.back_into_range(part.partition).await?;
                return Ok(ControlFlow::Continue(()));
            }
            code if passes(code) => {
                self.stale = true;
                self.trouble = format!("{place}: {}", describe(code));
                self.cursors.get_mut(&part.partition).map(Cursor::rest);
                return Ok(ControlFlow::Continue(()));
            }
            code => return Err(format!("{place}: {}", describe(code))),
        }
        let fetched = part.fetched.map_err(|error| format!("{place}: {error}"))?;
        self.read_at = Instant::now();
        for note in &fetched.notes {
            log::warn!("{place}: {note}");
        }
        let Some(cursor) = self.cursors.get_mut(&part.partition) else { return Ok(ControlFlow::Continue(())) };
        for record in fetched.records {
            let beyond = cursor.end.is_some_and(|end| record.offset >= end);
            if !beyond && each(record).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        // The offsets before the end may have been compacted away: an empty answer at the high watermark is the end too.
        let at_end = fetched.next_offset == cursor.next && fetched.high_watermark <= cursor.next;
        cursor.next = fetched.next_offset;
        if at_end && cursor.end.is_some() {
            cursor.end = Some(cursor.next);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The offset is gone (retention) or not there any more (the topic was made anew, an unclean election).
    async fn back_into_range(&mut self, partition: i32) -> Result<(), String> {
        let ends = self.reader.ends(self.topic, &[partition]).await?;
        let (Some(cursor), Some((first, last))) = (self.cursors.get_mut(&partition), ends.get(&partition)) else {
            return Ok(());
        };
        let place = format!("{}[{partition}]", self.topic);
        // Behind the end means another log under the same name: what is in it has not been shown.
        let next = *first;
        log::warn!("{place}: offset {} is not there ({first} to {last} are), going on at {next}", cursor.next);
        cursor.next = next;
        cursor.rest();
        Ok(())
    }
}

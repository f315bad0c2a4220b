//! `tollgate audit`: reads a topic from one end to the other and says whether all entries are there, once and in order. What the headers prove is
//! `kafka::audit`'s, looks are `show`'s (both pure); reading is `control::records`'.

mod show;

pub use show::{json, text};

use super::records::{Access, From, KafkaReader, Record};
use super::topics::{connect, written};
use crate::kafka::audit::{Audit, Place};
use crate::kafka::trace::{HEADER_NAME, Stamp};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::time::Instant;

/// How often the topic is looked at again where entries are missing: they may have been on their way, to another partition than later ones.
const LOOKS: usize = 3;
/// Milliseconds before each.
const LOOK_MS: u64 = 1_000;
/// Milliseconds between two words on how far it is.
const PROGRESS_MS: u64 = 2_000;

/// What `tollgate audit` was asked for.
#[derive(Clone, Debug)]
pub struct AuditArgs {
    /// Bootstrap brokers, `host:port` each; a missing port is 9092.
    pub brokers: Vec<String>,
    /// How to get in.
    pub access: Access,
    /// The topic.
    pub topic: String,
    /// Where to begin.
    pub from: From,
    /// One JSON object instead of text.
    pub json: bool,
}

/// What the audit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every entry is there, once and in order.
    Complete,
    /// Entries are missing, there twice, or in disorder.
    Broken,
    /// There are messages, but none with a header of ours: nothing can be said.
    Unknown,
}

impl Verdict {
    /// Of what was read.
    pub fn of(audit: &Audit) -> Self {
        let found = audit.found();
        if found.is_empty() && audit.bare().messages > 0 {
            return Self::Unknown;
        }
        if found.iter().all(|(_, found)| found.is_well()) { Self::Complete } else { Self::Broken }
    }
}

/// Audits a topic and prints what was found to `out`; `progress` is told now and then how far it is.
///
/// # Errors
/// One text for the operator: no Kafka, no such topic, an `out` that fails.
pub async fn audit(args: AuditArgs, out: &mut dyn Write, progress: &mut dyn FnMut(&str)) -> Result<Verdict, String> {
    let mut reader = connect(&args.brokers, &args.access).await?;
    let audit = read(&mut reader, &args.topic, args.from, progress).await?;
    let print = if args.json { json } else { text };
    written(out.write_all(print(&args.topic, &audit).as_bytes()).and_then(|()| out.flush()))?;
    Ok(Verdict::of(&audit))
}

async fn read(
    reader: &mut KafkaReader,
    topic: &str,
    from: From,
    progress: &mut dyn FnMut(&str),
) -> Result<Audit, String> {
    let mut places = reader.places(topic, from).await?;
    let mut audit = Audit::new(places.iter().map(|(partition, (begin, _))| (*partition, *begin)));
    pass(reader, topic, &places, &mut audit, progress).await?;
    for _ in 0..LOOKS {
        if !audit.has_gaps() {
            break;
        }
        audit.settle();
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        let ends = reader.ends(topic, &places.keys().copied().collect::<Vec<_>>()).await?;
        for (partition, place) in &mut places {
            *place = (place.1, ends.get(partition).map_or(place.1, |(_, end)| place.1.max(*end)));
        }
        pass(reader, topic, &places, &mut audit, progress).await?;
    }
    Ok(audit)
}

async fn pass(
    reader: &mut KafkaReader,
    topic: &str,
    places: &BTreeMap<i32, (i64, i64)>,
    audit: &mut Audit,
    progress: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let all: i64 = places.values().map(|(begin, end)| (end - begin).max(0)).sum();
    let (mut read, mut said_at, mut failed) = (0i64, Instant::now(), None);
    let each = &mut |record: Record| {
        read += 1;
        // The clock is not asked for every message.
        if read % 1_024 == 0 && said_at.elapsed() > Duration::from_millis(PROGRESS_MS) {
            progress(&format!("{topic}: {read} of {all} messages read"));
            said_at = Instant::now();
        }
        match take(audit, &record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    reader.between(topic, places, each).await?;
    failed.map_or(Ok(()), Err)
}

fn take(audit: &mut Audit, record: &Record) -> Result<(), String> {
    let Record { partition, offset, timestamp_ms, .. } = *record;
    let ours = record.headers.iter().find(|(name, _)| name == HEADER_NAME);
    let stamp = ours.and_then(|(_, value)| Stamp::parse(value.as_deref()?));
    audit.take(Place { partition, offset, timestamp_ms }, stamp)
}

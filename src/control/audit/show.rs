//! How an audit looks: text for people, one JSON object for programs. Pure. What peers wrote is numbers by now; only the topic's name is theirs.

use super::Verdict;
use crate::control::topics::utc;
use crate::kafka::audit::{Audit, Found, Spot};
use crate::kafka::trace::Stream;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::ops::Range;

/// Lines of a kind that the text has for a stream; JSON has all.
const LINES: usize = 20;

/// The sums over all streams.
#[derive(Debug, Default)]
struct Sums {
    messages: u64,
    entries: u64,
    gaps: u64,
    missing: u64,
    cut: u64,
    twice: u64,
    late: u64,
}

impl Sums {
    fn of(found: &[(Stream, Found)]) -> Self {
        let mut sums = Self::default();
        for (_, found) in found {
            sums.messages += found.messages;
            sums.entries += found.entries;
            sums.gaps += found.gaps.len() as u64;
            sums.missing += found.gaps.iter().map(len).sum::<u64>();
            sums.cut += found.cut.iter().map(len).sum::<u64>();
            sums.twice += found.twice_entries;
            sums.late += found.late_messages;
        }
        sums
    }
}

fn len(range: &Range<u64>) -> u64 {
    range.end - range.start
}

/// `5`, or `5 to 7`.
fn numbers(range: &Range<u64>) -> String {
    match len(range) {
        1 => range.start.to_string(),
        _ => format!("{} to {}", range.start, range.end - 1),
    }
}

/// `1 gap`, `2 gaps`.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn entries(count: u64) -> String {
    counted(count, "entry", "entries")
}

fn messages(count: u64) -> String {
    counted(count, "message", "messages")
}

/// What was found, a paragraph per stream, and one line about all.
pub fn text(topic: &str, audit: &Audit) -> String {
    let found = audit.found();
    let mut text = String::new();
    for (stream, found) in &found {
        paragraph(&mut text, stream, found);
    }
    others(&mut text, audit);
    let sums = Sums::of(&found);
    let streams = counted(found.len() as u64, "stream", "streams");
    let all = format!("{streams}, {}, {}", messages(sums.messages), entries(sums.entries));
    let _ = match Verdict::of(audit) {
        Verdict::Complete if found.is_empty() => writeln!(text, "{topic}: no messages"),
        Verdict::Complete => writeln!(text, "{topic}: complete: {all}, each there once and in order"),
        Verdict::Broken => writeln!(
            text,
            "{topic}: NOT complete: {all}; {} missing in {}, {} there again, {} out of order",
            entries(sums.missing),
            counted(sums.gaps, "gap", "gaps"),
            entries(sums.twice),
            messages(sums.late)
        ),
        Verdict::Unknown => writeln!(
            text,
            "{topic}: no message has a `tollgate` header: nothing can be said (tollgate.kafka.record_headers is on by default)"
        ),
    };
    text
}

fn paragraph(text: &mut String, stream: &Stream, found: &Found) {
    let Stream { start, core, lane, .. } = *stream;
    let _ = writeln!(text, "{stream}  started {}, core {core}, lane {lane}", utc((start / 1_000_000) as i64));
    let partitions: Vec<String> = found.partitions.iter().map(ToString::to_string).collect();
    let _ = writeln!(
        text,
        "  {} to {}: {} in {}, partitions {}",
        found.first,
        found.last,
        entries(found.entries),
        messages(found.messages),
        partitions.join(" ")
    );
    if let Some(begin) = found.begins_at {
        let _ = writeln!(text, "  begins at {begin}: the topic's own beginning was deleted, or not read");
    }
    let missing = |gap: &Range<u64>| format!("missing  {} ({})", numbers(gap), entries(len(gap)));
    let cut = |gap: &Range<u64>| {
        format!("cut off  {} ({}), or missing: its partition's beginning is gone", numbers(gap), entries(len(gap)))
    };
    let twice =
        |spot: &Spot| format!("again    {} ({}) at {}", numbers(&spot.range), entries(len(&spot.range)), place(spot));
    let late = |spot: &Spot| format!("order    {} at {}, behind {}", numbers(&spot.range), place(spot), spot.behind);
    lines(text, &found.gaps, missing);
    lines(text, &found.cut, cut);
    lines(text, &found.twice, twice);
    lines(text, &found.late, late);
}

/// `[0]@5`, or `[0]@5 to 7`: partition and offsets, as `tail` shows them.
fn place(spot: &Spot) -> String {
    let Spot { partition, first_offset, last_offset, .. } = spot;
    if first_offset == last_offset {
        format!("[{partition}]@{first_offset}")
    } else {
        format!("[{partition}]@{first_offset} to {last_offset}")
    }
}

fn lines<T>(text: &mut String, list: &[T], line: impl Fn(&T) -> String) {
    for one in list.iter().take(LINES) {
        let _ = writeln!(text, "  {}", line(one));
    }
    if list.len() > LINES {
        let _ = writeln!(text, "  … and {} more like these (--json has them)", list.len() - LINES);
    }
}

/// What is no stream's.
fn others(text: &mut String, audit: &Audit) {
    let bare = audit.bare();
    if let Some(first) = bare.first {
        let _ = writeln!(
            text,
            "{} without a `tollgate` header that can be read, the first at [{}]@{}",
            messages(bare.messages),
            first.partition,
            first.offset
        );
    }
    let (holes, count) = audit.holes();
    for hole in holes.iter().take(LINES) {
        let last = hole.offsets.end - 1;
        let _ = writeln!(
            text,
            "offsets {} to {last} of partition {} could not be read",
            hole.offsets.start, hole.partition
        );
    }
    if count > LINES as u64 {
        let _ = writeln!(text, "… and {} more like these", count - LINES as u64);
    }
}

/// The same as one object on one line.
pub fn json(topic: &str, audit: &Audit) -> String {
    let found = audit.found();
    let sums = Sums::of(&found);
    let verdict = match Verdict::of(audit) {
        Verdict::Complete => "complete",
        Verdict::Broken => "broken",
        Verdict::Unknown => "unknown",
    };
    let bare = audit.bare();
    let (holes, hole_count) = audit.holes();
    let hole = |hole: &crate::kafka::audit::Hole| json!({"partition": hole.partition, "first": hole.offsets.start, "last": hole.offsets.end - 1});
    let whole = json!({
        "topic": topic,
        "verdict": verdict,
        "messages": sums.messages,
        "entries": sums.entries,
        "missing": sums.missing,
        "cut_off": sums.cut,
        "again": sums.twice,
        "out_of_order": sums.late,
        "without_header": {
            "messages": bare.messages,
            "first": bare.first.map(|at| json!({"partition": at.partition, "offset": at.offset})),
        },
        "unread_offsets": { "count": hole_count, "ranges": holes.iter().map(hole).collect::<Vec<_>>() },
        "streams": found.iter().map(one).collect::<Vec<_>>(),
    });
    format!("{whole}\n")
}

fn one((stream, found): &(Stream, Found)) -> Value {
    let range = |range: &Range<u64>| json!({"first": range.start, "last": range.end - 1});
    let spot = |spot: &Spot| {
        json!({
            "first": spot.range.start,
            "last": spot.range.end - 1,
            "partition": spot.partition,
            "first_offset": spot.first_offset,
            "last_offset": spot.last_offset,
            "behind": spot.behind,
        })
    };
    json!({
        "gateway": format!("{:016x}", stream.gateway),
        "start": format!("{:x}", stream.start),
        "started": utc((stream.start / 1_000_000) as i64),
        "core": stream.core,
        "lane": stream.lane,
        "first": found.first,
        "last": found.last,
        "messages": found.messages,
        "entries": found.entries,
        "partitions": found.partitions,
        "begins_at": found.begins_at,
        "gaps": found.gaps.iter().map(range).collect::<Vec<_>>(),
        "cut_off": found.cut.iter().map(range).collect::<Vec<_>>(),
        "again_entries": found.twice_entries,
        "again": found.twice.iter().map(spot).collect::<Vec<_>>(),
        "out_of_order_messages": found.late_messages,
        "out_of_order": found.late.iter().map(spot).collect::<Vec<_>>(),
    })
}

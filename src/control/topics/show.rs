//! How records and topics look in a terminal. Pure: bytes in, text out. What peers wrote cannot steer the terminal: control characters are shown, not sent.

use super::Style;
use super::filter::Filter;
use crate::control::records::Record;
use serde_json::Value;
use std::fmt::Write as _;

/// The entries of one record that meet all `filters`, each as the text to print (with its newline).
pub fn entries(topic: &str, record: &Record, filters: &[Filter], style: Style) -> Vec<Vec<u8>> {
    let bytes = record.value.as_deref().unwrap_or_default();
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        // Not JSON: shown as it is; no field of it can meet a condition.
        return if filters.is_empty() { vec![unparsed(topic, record, style)] } else { Vec::new() };
    };
    match value {
        Value::Array(list) => {
            let count = list.len();
            let chosen = list.iter().enumerate().filter(|(_, entry)| filters.iter().all(|f| f.holds(entry)));
            chosen.map(|(index, entry)| one(topic, record, entry, style, Some((index + 1, count)))).collect()
        }
        entry if filters.iter().all(|f| f.holds(&entry)) => match style {
            // Bytes as they came: numbers keep their spelling.
            Style::Raw => vec![line(bytes)],
            Style::Pretty => vec![one(topic, record, &entry, style, None)],
        },
        _ => Vec::new(),
    }
}

fn line(bytes: &[u8]) -> Vec<u8> {
    [bytes, b"\n"].concat()
}

fn unparsed(topic: &str, record: &Record, style: Style) -> Vec<u8> {
    match (style, &record.value) {
        (Style::Raw, value) => line(value.as_deref().unwrap_or_default()),
        (Style::Pretty, None) => format!("{}\n(no value: a tombstone)\n", headline(topic, record, None)).into_bytes(),
        (Style::Pretty, Some(value)) => {
            let text = String::from_utf8_lossy(value);
            format!("{}\n{}\n", headline(topic, record, None), printable(&text, Lines::Kept)).into_bytes()
        }
    }
}

fn one(topic: &str, record: &Record, entry: &Value, style: Style, place: Option<(usize, usize)>) -> Vec<u8> {
    match style {
        Style::Raw => line(entry.to_string().as_bytes()),
        Style::Pretty => {
            let json = serde_json::to_string_pretty(entry).unwrap_or_else(|_| entry.to_string());
            format!("{}\n{}\n", headline(topic, record, place), printable(&json, Lines::Kept)).into_bytes()
        }
    }
}

/// `test[0]@12  2026-11-22T10:00:00.123Z  key=…  [2/5]`.
fn headline(topic: &str, record: &Record, place: Option<(usize, usize)>) -> String {
    let mut text = format!("{}[{}]@{}", printable(topic, Lines::Shown), record.partition, record.offset);
    if record.timestamp_ms >= 0 {
        let _ = write!(text, "  {}", utc(record.timestamp_ms));
    }
    if let Some(key) = &record.key {
        let _ = write!(text, "  key={}", printable(&String::from_utf8_lossy(key), Lines::Shown));
    }
    for (name, value) in &record.headers {
        let value = String::from_utf8_lossy(value.as_deref().unwrap_or_default());
        let _ = write!(text, "  {}={}", printable(name, Lines::Shown), printable(&value, Lines::Shown));
    }
    if let Some((index, count)) = place {
        let _ = write!(text, "  [{index}/{count}]");
    }
    text
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// Newlines and tabs are layout.
    Kept,
    /// They are shown like every control character.
    Shown,
}

/// Control characters as `\u{1b}`, and those that turn the writing direction.
fn printable(text: &str, lines: Lines) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let layout = lines == Lines::Kept && matches!(c, '\n' | '\t');
        let steers = c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if steers && !layout {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// `2026-11-22T10:00:00.123Z` for milliseconds since 1970.
pub fn utc(unix_ms: i64) -> String {
    let (days, ms) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

/// Year, month, day of the Gregorian calendar, `days` after 1970-01-01. Counted in eras of 400 years that begin on a 1 March.
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// `1.5 MiB`.
pub fn size(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// One line of the table of topics: a topic, or one partition of it. What is not known is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The topic's name, or the partition's number.
    pub name: String,
    /// Partitions; for a partition the node that leads it.
    pub partitions: String,
    /// First offset kept.
    pub first: Option<i64>,
    /// One past the newest.
    pub last: Option<i64>,
    /// Offsets in between: records, where none were compacted away.
    pub records: Option<i64>,
    /// Bytes on the leader's disks.
    pub bytes: Option<i64>,
    /// Newest timestamp, milliseconds since 1970.
    pub newest_ms: Option<i64>,
}

const TITLES: [&str; 7] = ["TOPIC", "PARTITIONS", "FIRST", "LAST", "RECORDS", "BYTES", "NEWEST"];

/// The table, its columns aligned; `-` is what is not known or not there.
pub fn table(rows: &[Row]) -> String {
    let cell = |value: &Option<i64>| value.map_or_else(|| "-".to_owned(), |v| v.to_string());
    let cells = rows.iter().map(|row| {
        [
            printable(&row.name, Lines::Shown),
            row.partitions.clone(),
            cell(&row.first),
            cell(&row.last),
            cell(&row.records),
            row.bytes.map_or_else(|| "-".to_owned(), size),
            row.newest_ms.map_or_else(|| "-".to_owned(), utc),
        ]
    });
    let lines: Vec<[String; 7]> = std::iter::once(TITLES.map(str::to_owned)).chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..TITLES.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for (column, (value, width)) in line.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            // Names and times begin at the left, numbers end at the right.
            let _ = if matches!(column, 0 | 6) {
                write!(text, "{gap}{value:<width$}")
            } else {
                write!(text, "{gap}{value:>width$}")
            };
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: Option<&[u8]>) -> Record {
        Record {
            partition: 0,
            offset: 12,
            timestamp_ms: 1_700_000_000_123,
            key: Some(b"k\x1b[2J".to_vec()),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        }
    }

    fn shown(value: &[u8], filters: &[&str], style: Style) -> Vec<String> {
        let filters: Vec<Filter> = filters.iter().map(|f| Filter::parse(f).unwrap()).collect();
        let texts = entries("t", &record(Some(value)), &filters, style);
        texts.into_iter().map(|t| String::from_utf8_lossy(&t).into_owned()).collect()
    }

    #[test]
    fn batch_is_shown_entry_by_entry_and_filtered_entry_by_entry() {
        let batch = br#"[{"n":1},{"n":2},{"n":3}]"#;
        assert_eq!(shown(batch, &[], Style::Raw), ["{\"n\":1}\n", "{\"n\":2}\n", "{\"n\":3}\n"]);
        assert_eq!(shown(batch, &["n>1", "n!=3"], Style::Raw), ["{\"n\":2}\n"]);
        assert!(shown(batch, &["n=2"], Style::Pretty)[0].contains("[2/3]"));
    }

    #[test]
    fn broken_json_is_shown_as_it_is_and_meets_no_condition() {
        assert_eq!(shown(b"{\"a\":", &[], Style::Raw), ["{\"a\":\n"]);
        assert!(shown(b"{\"a\":", &[], Style::Pretty)[0].ends_with("\n{\"a\":\n"));
        assert!(shown(b"{\"a\":", &["a!=1"], Style::Raw).is_empty());
        assert!(shown(b"\xff\xfe", &[], Style::Pretty)[0].contains('\u{fffd}'));
    }

    #[test]
    fn raw_keeps_bytes_and_order_and_pretty_says_where_and_when() {
        let odd = b" {\"b\":1.50, \"a\":1e2}";
        assert_eq!(shown(odd, &[], Style::Raw), [" {\"b\":1.50, \"a\":1e2}\n"]);
        let pretty = &shown(b"{\"b\":1,\"a\":2}", &[], Style::Pretty)[0];
        assert_eq!(pretty, "t[0]@12  2023-11-14T22:13:20.123Z  key=k\\u{1b}[2J\n{\n  \"b\": 1,\n  \"a\": 2\n}\n");
    }

    #[test]
    fn nothing_a_peer_wrote_steers_the_terminal() {
        let value = "{\"a\":\"\u{9b}2J\u{7f}\u{202e}\"} trailing \u{1b}[2J\r";
        let text = &shown(value.as_bytes(), &[], Style::Pretty)[0];
        assert!(!text.chars().any(|c| c.is_control() && c != '\n') && !text.contains('\u{202e}'), "{text:?}");
    }

    #[test]
    fn tombstones_are_named() {
        let text = entries("t", &record(None), &[], Style::Pretty);
        assert!(String::from_utf8_lossy(&text[0]).contains("tombstone"));
    }

    #[test]
    fn dates_are_right_around_leap_days_and_before_1970() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(utc(ms), expected);
        }
        let _ = (utc(i64::MIN), utc(i64::MAX));
    }

    #[test]
    fn table_aligns_and_marks_what_is_not_known() {
        let known = Row {
            name: "test".into(),
            partitions: "3".into(),
            first: Some(0),
            last: Some(1_234),
            records: Some(1_234),
            bytes: Some(1_572_864),
            newest_ms: Some(0),
        };
        let empty = Row { name: "a-long-name".into(), partitions: "1".into(), ..Row::default() };
        let expected = "\
TOPIC        PARTITIONS  FIRST  LAST  RECORDS    BYTES  NEWEST
test                  3      0  1234     1234  1.5 MiB  1970-01-01T00:00:00.000Z
a-long-name           1      -     -        -        -  -
";
        assert_eq!(table(&[known, empty]), expected);
    }
}

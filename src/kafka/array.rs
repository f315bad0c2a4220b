//! Where the elements of a JSON array lie, by brackets, quotes and commas alone: enough to count what a message holds and to cut it
//! between two elements. It is no check of what it reads: the arrays are our own, and came through a CRC where they came from a
//! file.

use std::ops::Range;

/// Elements of a message's value. What is no JSON array counts as one.
pub fn count_elements(value: &[u8]) -> u32 {
    each_element(value, |_| {}).unwrap_or(1)
}

/// The bytes of `count` elements from the `first` on, with the commas between them and without brackets. None if the array has not
/// that many, or is none.
pub fn elements(value: &[u8], first: u32, count: u32) -> Option<Range<usize>> {
    let last = first.checked_add(count.checked_sub(1)?)?;
    let (mut at, mut start, mut end) = (0, None, None);
    each_element(value, |range| {
        if at == first {
            start = Some(range.start);
        }
        if at == last {
            end = Some(range.end);
        }
        at += 1;
    })?;
    Some(start?..end?)
}

/// Hands over where each element lies; returns how many there are. None if `value` is no whole array.
fn each_element(value: &[u8], mut each: impl FnMut(Range<usize>)) -> Option<u32> {
    let mut at = value.iter().position(|byte| !byte.is_ascii_whitespace()).filter(|at| value[*at] == b'[')? + 1;
    let (mut start, mut depth, mut count) = (at, 1u32, 0u32);
    loop {
        match *value.get(at)? {
            b'"' => at = string_end(value, at)?,
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 1 => depth -= 1,
            end @ (b',' | b']') if depth == 1 => {
                let empty = count == 0 && end == b']' && value[start..at].iter().all(u8::is_ascii_whitespace);
                if !empty {
                    each(start..at);
                    count += 1;
                }
                if end == b']' {
                    return value[at + 1..].iter().all(u8::is_ascii_whitespace).then_some(count);
                }
                start = at + 1;
            }
            b'}' => return None,
            _ => {}
        }
        at += 1;
    }
}

/// Where the string that opens at `at` closes.
fn string_end(value: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += 1;
        match *value.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::retry::Rng;

    #[test]
    fn commas_in_strings_and_in_nested_values_part_nothing() {
        for (value, count) in [
            (r#"[1]"#, 1),
            (r#"[{"a":[1,2],"b":{"c":",]"}},"x,\"],[\\",[[],[]]]"#, 3),
            (r#" [ "\\" , "\"" ] "#, 2),
            (r#"[]"#, 0),
            (r#"[ ]"#, 0),
        ] {
            assert_eq!(count_elements(value.as_bytes()), count, "{value}");
        }
    }

    #[test]
    fn what_is_no_whole_array_counts_as_one() {
        for value in ["", "{}", r#"{"a":[1,2]}"#, "text, text", "[1,2", r#"["a"#, r#"["a\"]"#, "[1]2", "[}]", "null"] {
            assert_eq!(count_elements(value.as_bytes()), 1, "{value}");
            assert_eq!(elements(value.as_bytes(), 0, 1), None, "{value}");
        }
    }

    #[test]
    fn elements_beyond_the_end_are_none() {
        let value = b"[10,20,30]";
        assert_eq!(elements(value, 0, 3), Some(1..9));
        assert_eq!(elements(value, 1, 1), Some(4..6));
        for (first, count) in [(0, 4), (3, 1), (2, 2), (0, 0), (u32::MAX, 2)] {
            assert_eq!(elements(value, first, count), None, "{first}+{count}");
        }
    }

    /// Random JSON, as awkward as it gets.
    fn value(rng: &mut Rng, depth: u32) -> serde_json::Value {
        use serde_json::Value;
        match rng.below(if depth == 0 { 4 } else { 6 }) {
            0 => Value::Null,
            1 => Value::from(rng.below(1 << 40) as i64 - (1 << 39)),
            2 => Value::from(rng.below(2) == 0),
            3 => Value::from(text(rng)),
            4 => (0..rng.below(5)).map(|_| value(rng, depth - 1)).collect(),
            _ => Value::Object((0..rng.below(5)).map(|_| (text(rng), value(rng, depth - 1))).collect()),
        }
    }

    fn text(rng: &mut Rng) -> String {
        const PIECES: [&str; 12] = ["\"", "\\", "[", "]", "{", "}", ",", ":", "é", "\u{1}", "\n", "a"];
        (0..rng.below(8)).map(|_| PIECES[rng.below(12) as usize]).collect()
    }

    #[test]
    fn any_array_is_cut_into_pieces_that_hold_its_elements_in_order() {
        let mut rng = Rng::new(5);
        for round in 0..3_000 {
            let all: Vec<_> = (0..1 + rng.below(9)).map(|_| value(&mut rng, 3)).collect();
            let list = serde_json::Value::from(all.clone());
            let bytes = if round % 2 == 0 { serde_json::to_vec(&list) } else { serde_json::to_vec_pretty(&list) };
            let bytes = bytes.expect("JSON");
            assert_eq!(count_elements(&bytes) as usize, all.len());
            let cut = rng.below(all.len() as u64 + 1) as usize;
            for (first, end) in [(0, cut), (cut, all.len())] {
                if first == end {
                    continue;
                }
                let range = elements(&bytes, first as u32, (end - first) as u32).expect("they are there");
                let piece = [b"[", &bytes[range], b"]"].concat();
                let piece: Vec<serde_json::Value> = serde_json::from_slice(&piece).expect("an array");
                assert_eq!(piece, all[first..end]);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_ranges_stay_inside() {
        let mut rng = Rng::new(6);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..rng.below(24)).map(|_| b"[]{}\",\\ a1"[rng.below(10) as usize]).collect();
            let count = each_element(&bytes, |range| assert!(range.start <= range.end && range.end < bytes.len()));
            assert_eq!(count.unwrap_or(1), count_elements(&bytes));
        }
    }
}

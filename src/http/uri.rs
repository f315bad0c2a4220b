//! Paths as nginx reads them (APISIX routes on the result): percent-decoded, slashes merged, dot segments resolved.

use super::head::{Reject, bad};

/// Appends the normalised path to `out`. An empty path is `/`; `*` stays.
///
/// # Errors
/// A malformed escape, an escaped NUL, or a path that leads above the root (400).
pub fn normalize(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
    if raw == b"*" {
        out.push(b'*');
        return Ok(());
    }
    let root = out.len();
    out.push(b'/');
    let mut at = usize::from(raw.first() == Some(&b'/'));
    while at < raw.len() {
        let (byte, next) = decoded(raw, at)?;
        at = next;
        if byte == b'/' {
            end_segment(out, root)?;
        } else {
            out.push(byte);
        }
    }
    // The last segment: dots are resolved, anything else stays without a slash behind it.
    match last_segment(out, root) {
        b"." | b".." => end_segment(out, root),
        _ => Ok(()),
    }
}

fn decoded(raw: &[u8], at: usize) -> Result<(u8, usize), Reject> {
    if raw[at] != b'%' {
        return Ok((raw[at], at + 1));
    }
    let byte = match raw.get(at + 1..at + 3) {
        Some([high, low]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
        _ => None,
    };
    match byte {
        None => Err(bad("a malformed escape in the path")),
        Some(0) => Err(bad("an escaped NUL in the path")),
        Some(byte) => Ok((byte, at + 3)),
    }
}

fn last_segment(out: &[u8], root: usize) -> &[u8] {
    let start = out[root..].iter().rposition(|byte| *byte == b'/').map_or(root, |at| root + at + 1);
    &out[start..]
}

/// Ends the segment being written with a slash; drops an empty or `.` one, and with `..` the one before it.
fn end_segment(out: &mut Vec<u8>, root: usize) -> Result<(), Reject> {
    match last_segment(out, root) {
        b"" => {}
        b"." => {
            out.pop();
        }
        b".." => {
            out.truncate(out.len() - 3);
            if out.len() <= root {
                return Err(bad("a path that leads above the root"));
            }
            let parent = out[root..].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            out.truncate(root + parent + 1);
        }
        _ => out.push(b'/'),
    }
    Ok(())
}

/// The value of a hexadecimal digit.
pub const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(raw: &str) -> Option<String> {
        let mut out = Vec::new();
        normalize(raw.as_bytes(), &mut out).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_path_is_decoded_merged_and_resolved() {
        let cases = [
            ("", "/"),
            ("/", "/"),
            ("*", "*"),
            ("/a/b", "/a/b"),
            ("/a//b///c", "/a/b/c"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a/.../b", "/a/.../b"),
            ("/a%20b", "/a b"),
            ("/a%2fb", "/a/b"),
            ("/a/%2e%2e/b", "/b"),
            ("/%C3%A9", "/é"),
            ("/a/b/", "/a/b/"),
            ("/..a/b", "/..a/b"),
        ];
        for (raw, expected) in cases {
            assert_eq!(normal(raw).as_deref(), Some(expected), "{raw}");
        }
    }

    #[test]
    fn a_path_above_the_root_or_with_a_broken_escape_is_refused() {
        for raw in ["/..", "/../a", "/a/../../b", "/%", "/%4", "/%zz", "/%00", "/%2e%2e/"] {
            assert_eq!(normal(raw), None, "{raw}");
        }
    }
}

//! Paths, queries and cookies as nginx and APISIX read them (APISIX-COMPAT §4.2, §6.3). For matching and logging only: what
//! goes upstream is the raw target.

use std::borrow::Cow;

use super::message::Reject;
use super::syntax::{hex, trim};

/// Appends `raw_path` as nginx's `$uri`: percent-decoded, slashes merged, `.` and `..` resolved (also encoded ones); `*` stays as
/// it is. 400 for a broken escape, `%00`, a way above the root, or a path that does not begin with `/`; `out` is then unchanged.
pub fn normalize(raw_path: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
    if is_normal(raw_path) || raw_path == b"*" {
        out.extend_from_slice(raw_path);
        return Ok(());
    }
    let root = out.len();
    let done = resolve(raw_path, out);
    if done.is_err() {
        out.truncate(root);
    }
    done
}

/// True if nothing is to be done: the common case.
fn is_normal(path: &[u8]) -> bool {
    let mut before = 0;
    for &byte in path {
        if byte == b'%' || byte == 0 || (before == b'/' && (byte == b'/' || byte == b'.')) {
            return false;
        }
        before = byte;
    }
    path.first() == Some(&b'/')
}

fn resolve(raw_path: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
    let [b'/', rest @ ..] = raw_path else { return Err(Reject::bad("a path that does not begin with a slash")) };
    out.push(b'/');
    let root = out.len();
    let mut segment = root;
    let mut rest = rest.iter();
    while let Some(&byte) = rest.next() {
        let byte = match byte {
            b'%' => escape(rest.next(), rest.next()).ok_or(Reject::bad("a broken escape in the path"))?,
            byte => byte,
        };
        match byte {
            0 => return Err(Reject::bad("a zero byte in the path")),
            b'/' => segment = end_segment(out, root, segment, true)?,
            byte => out.push(byte),
        }
    }
    end_segment(out, root, segment, false)?;
    Ok(())
}

fn escape(high: Option<&u8>, low: Option<&u8>) -> Option<u8> {
    Some(hex(*high?)? << 4 | hex(*low?)?)
}

/// Settles the segment that begins at `segment` and says where the next one begins.
fn end_segment(out: &mut Vec<u8>, root: usize, segment: usize, slash_follows: bool) -> Result<usize, Reject> {
    match &out[segment..] {
        b"" => {}
        b"." => out.truncate(segment),
        b".." => {
            if segment == root {
                return Err(Reject::bad("a path above the root"));
            }
            // `out` ends in a slash before `segment`; the parent begins behind the slash before that.
            let parent = memchr::memrchr(b'/', &out[root..segment - 1]).map_or(root, |slash| root + slash + 1);
            out.truncate(parent);
        }
        _ if slash_follows => out.push(b'/'),
        _ => {}
    }
    Ok(out.len())
}

/// The arguments of a query in order, still encoded: name, and value (`None` for `a`, empty for `a=`). Empty names are left out,
/// as in `ngx.req.get_uri_args`.
pub fn args(query: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    query
        .split(|&byte| byte == b'&')
        .map(|pair| match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], Some(&pair[at + 1..])),
            None => (pair, None),
        })
        .filter(|(name, _)| !name.is_empty())
}

/// The value (still encoded) of the first argument whose decoded name is `name`: `Some(None)` for a valueless one.
pub fn arg<'a>(query: &'a [u8], name: &[u8]) -> Option<Option<&'a [u8]>> {
    args(query).find(|(raw, _)| decoded(raw).eq(name.iter().copied())).map(|(_, value)| value)
}

/// An argument's name or value decoded: `+` is a space, `%XX` a byte, a broken escape stays as it is. Copies only if it must.
pub fn decode_arg(raw: &[u8]) -> Cow<'_, [u8]> {
    match memchr::memchr2(b'+', b'%', raw) {
        None => Cow::Borrowed(raw),
        Some(_) => Cow::Owned(decoded(raw).collect()),
    }
}

fn decoded(raw: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = raw.iter();
    std::iter::from_fn(move || {
        let byte = match *rest.next()? {
            b'+' => b' ',
            b'%' => match escape(rest.as_slice().first(), rest.as_slice().get(1)) {
                Some(byte) => {
                    rest = rest.as_slice()[2..].iter();
                    byte
                }
                None => b'%',
            },
            byte => byte,
        };
        Some(byte)
    })
}

/// Name and value of each pair in one Cookie field, in order (RFC 6265 §4.2), white space trimmed, quotes kept; pairs without `=` left out.
pub fn cookies(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|&byte| byte == b';').filter_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        Some((trim(&pair[..at]), trim(&pair[at + 1..])))
    })
}

/// For fuzzing: no panic; a normal path is absolute, has no empty or dot segment, and nothing stays behind after an error.
#[doc(hidden)]
pub fn fuzz_normalize(bytes: &[u8]) {
    let mut out = b"kept".to_vec();
    let verdict = normalize(bytes, &mut out);
    let path = out.strip_prefix(b"kept").expect("what was there stays");
    if verdict.is_err() {
        return assert!(path.is_empty());
    }
    assert!(path == b"*" || path.first() == Some(&b'/'));
    assert!(path.len() <= bytes.len() && !path.contains(&0));
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        assert!(segment != b"." && segment != b".." && (!segment.is_empty() || segments.peek().is_none()));
    }
    for (name, value) in args(bytes) {
        assert!(arg(bytes, &decode_arg(name)).is_some());
        assert!(decode_arg(value.unwrap_or_default()).len() <= bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_out_as_nginx_has_them() {
        for (raw, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/.", "/"),
            ("/./", "/"),
            ("/a/.", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/../../c", "/c"),
            ("/a//../b", "/b"),
            ("/a/...", "/a/..."),
            ("/a/..b/.c", "/a/..b/.c"),
            ("/a..", "/a.."),
            ("/%61%2Fb", "/a/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a%2f..%2fb", "/b"),
            ("/%25%23%3f%2b+", "/%#?++"),
            ("/%C3%A4", "/\u{e4}"),
            ("/%2561", "/%61"),
            ("*", "*"),
        ] {
            let mut out = Vec::new();
            assert_eq!(normalize(raw.as_bytes(), &mut out), Ok(()), "{raw}");
            assert_eq!(out, normal.as_bytes(), "{raw}");
        }
    }

    #[test]
    fn broken_paths_are_refused_and_leave_nothing() {
        for raw in [
            "",
            "a",
            "/..",
            "/../a",
            "/a/../..",
            "/a/%2e%2e/%2e%2e",
            "/%",
            "/%4",
            "/%zz",
            "/%00",
            "/a\0",
            "/%u0041",
            "**",
        ] {
            let mut out = b"x".to_vec();
            assert_eq!(normalize(raw.as_bytes(), &mut out).map_err(|reject| reject.status), Err(400), "{raw:?}");
            assert_eq!(out, b"x");
        }
    }

    #[test]
    fn arguments_keep_their_order_and_the_lack_of_a_value() {
        let found: Vec<_> = args(b"a&b=&c=1=2&&=x&a=%20").collect();
        let expected: [(&[u8], Option<&[u8]>); 4] =
            [(b"a", None), (b"b", Some(b"")), (b"c", Some(b"1=2")), (b"a", Some(b"%20"))];
        assert_eq!(found, expected);
        assert_eq!(args(b"").count(), 0);
    }

    #[test]
    fn an_argument_is_found_by_its_decoded_name() {
        let query = b"x+y=1&%6eame=v%31&name=2&flag";
        assert_eq!(arg(query, b"name"), Some(Some(&b"v%31"[..])));
        assert_eq!(arg(query, b"x y"), Some(Some(&b"1"[..])));
        assert_eq!(arg(query, b"flag"), Some(None));
        assert_eq!(arg(query, b"NAME"), None);
    }

    #[test]
    fn decoding_leaves_broken_escapes_alone() {
        for (raw, plain) in
            [("a+b%20c", "a b c"), ("%", "%"), ("%4", "%4"), ("%zz%41", "%zzA"), ("%%41", "%A"), ("", "")]
        {
            assert_eq!(decode_arg(raw.as_bytes()).as_ref(), plain.as_bytes(), "{raw}");
        }
        assert!(matches!(decode_arg(b"plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn cookies_come_as_pairs() {
        let found: Vec<_> = cookies(b"a=1; b = \"x=y\";; c;d=").collect();
        let expected: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b", b"\"x=y\""), (b"d", b"")];
        assert_eq!(found, expected);
    }

    #[test]
    fn damaged_paths_keep_the_fuzz_invariants() {
        let seed = b"/a/%2e%2E/./b//c?d=%20&e=+";
        for at in 0..seed.len() {
            for &byte in b"/.%0?&=+*\0\xff" {
                let mut bytes = seed.to_vec();
                bytes[at] = byte;
                fuzz_normalize(&bytes);
                bytes.insert(at, byte);
                fuzz_normalize(&bytes);
                fuzz_normalize(&bytes[at..]);
            }
        }
    }
}

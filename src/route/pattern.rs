//! A `uri` as routes write it, taken apart: an exact path, a prefix, or a prefix with a pattern behind it (APISIX-COMPAT §6.3).

use std::sync::Arc;

use super::table::UriParams;
use crate::http::fields::Span;

/// The name of an unnamed tail, as APISIX has it.
const UNNAMED: &str = ":ext";

/// A `uri`, taken apart.
#[derive(Debug, PartialEq)]
pub enum Uri {
    /// This path only.
    Exact(Box<[u8]>),
    /// Every path that begins so, and, if there is a pattern, matches it as a whole.
    Prefix(Box<[u8]>, Option<Pattern>),
}

/// A path with gaps.
#[derive(Debug, PartialEq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq)]
enum Part {
    Literal(Box<[u8]>),
    /// One segment that is not empty.
    Segment(Arc<str>),
    /// Anything, slashes and nothing included.
    Rest(Arc<str>),
}

/// Whether `:name` at the start of a segment is a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// It is.
    Named,
    /// It is text.
    Literal,
}

impl Uri {
    /// Takes a `uri` apart.
    pub fn parse(uri: &str, parameters: Parameters) -> Self {
        let colon = if parameters == Parameters::Named { uri.find("/:").map(|at| at + 1) } else { None };
        let Some(gap) = uri.find('*').into_iter().chain(colon).min() else { return Self::Exact(uri.as_bytes().into()) };
        let prefix = uri.as_bytes()[..gap].into();
        if &uri[gap..] == "*" {
            return Self::Prefix(prefix, None);
        }
        let pattern = Pattern::parse(uri, parameters);
        Self::Prefix(prefix, Some(pattern).filter(Pattern::has_gaps))
    }
}

impl Pattern {
    fn parse(uri: &str, parameters: Parameters) -> Self {
        let (mut parts, mut literal) = (Vec::new(), Vec::new());
        for (index, segment) in uri.split('/').enumerate() {
            if index > 0 {
                literal.push(b'/');
            }
            let gap = match (segment.strip_prefix(':'), segment.strip_prefix('*')) {
                (Some(name), _) if parameters == Parameters::Named => Part::Segment(name.into()),
                (_, Some("")) => Part::Rest(UNNAMED.into()),
                (_, Some(name)) => Part::Rest(name.into()),
                _ => {
                    literal.extend_from_slice(segment.as_bytes());
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(gap);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Self { parts }
    }

    /// False for `/a*b`: a star inside a segment ends the path there, as in APISIX.
    fn has_gaps(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Literal(_)))
    }

    /// True if the whole `path` matches; `params` then has the values. Looks back only to the last tail, so the time is bounded by
    /// path × pattern.
    pub fn matches(&self, path: &[u8], params: &mut UriParams) -> bool {
        params.clear();
        let (mut at, mut part) = (0, 0);
        // The last tail: its part, where it began, where it ends for now, and the values before it.
        let mut tail: Option<(usize, usize, usize, usize)> = None;
        loop {
            let step = match self.parts.get(part) {
                None if at == path.len() => return true,
                None => None,
                Some(Part::Literal(text)) => path[at..].starts_with(text).then_some(at + text.len()),
                Some(Part::Segment(name)) => {
                    let len = memchr::memchr(b'/', &path[at..]).unwrap_or(path.len() - at);
                    params.push((Arc::clone(name), Span::new(at, at + len)));
                    (len > 0).then_some(at + len)
                }
                Some(Part::Rest(name)) => {
                    let end = if part + 1 == self.parts.len() { path.len() } else { at };
                    tail = Some((part, at, end, params.len()));
                    params.push((Arc::clone(name), Span::new(at, end)));
                    Some(end)
                }
            };
            if let Some(next) = step {
                (at, part) = (next, part + 1);
                continue;
            }
            let Some((star, start, end, values)) = tail.filter(|(_, _, end, _)| *end < path.len()) else {
                return false;
            };
            tail = Some((star, start, end + 1, values));
            params.truncate(values + 1);
            params[values].1 = Span::new(start, end + 1);
            (at, part) = (end + 1, star + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(uri: &str, path: &str) -> Option<Vec<(String, String)>> {
        let Uri::Prefix(prefix, pattern) = Uri::parse(uri, Parameters::Named) else { panic!("{uri} is exact") };
        assert!(uri.as_bytes().starts_with(&prefix));
        let mut params = UriParams::new();
        pattern.unwrap().matches(path.as_bytes(), &mut params).then(|| {
            let text = |span: Span| String::from_utf8(span.of(path.as_bytes()).to_vec()).unwrap();
            params.iter().map(|(name, span)| (name.to_string(), text(*span))).collect()
        })
    }

    fn pairs(expected: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_parameter_is_one_segment_that_is_not_empty() {
        assert_eq!(values("/blog/:name", "/blog/dog"), pairs(&[("name", "dog")]));
        assert_eq!(values("/blog/:name", "/blog/"), None);
        assert_eq!(values("/blog/:name", "/blog/dog/"), None);
        assert_eq!(values("/blog/:name", "/blog/dog/cat"), None);
        assert_eq!(values("/:a/x/:b", "/1/x/2"), pairs(&[("a", "1"), ("b", "2")]));
        assert_eq!(values("/:a/x/:b", "/1/y/2"), None);
    }

    #[test]
    fn a_tail_is_anything() {
        assert_eq!(values("/files/*path", "/files/a/b"), pairs(&[("path", "a/b")]));
        assert_eq!(values("/files/*path", "/files/"), pairs(&[("path", "")]));
        assert_eq!(values("/:a/*rest", "/x/y/z"), pairs(&[("a", "x"), ("rest", "y/z")]));
        assert_eq!(values("/a/*/b", "/a/x/y/b"), pairs(&[(":ext", "x/y")]));
        assert_eq!(values("/a/*/b", "/a/b/b/c"), None);
        assert_eq!(values("/a/*x/b/:c", "/a/1/b/2/b/3"), pairs(&[("x", "1/b/2"), ("c", "3")]));
        assert_eq!(values("/*x/a/*y/b", "/1/a/2/a/3/b"), pairs(&[("x", "1"), ("y", "2/a/3")]));
    }

    #[test]
    fn many_tails_do_not_make_the_search_explode() {
        let uri = "/*a/x".repeat(20) + "/end";
        let path = "/x".repeat(2000);
        assert_eq!(values(&uri, &path), None);
    }

    #[test]
    fn uris_are_exact_or_prefixes() {
        let prefix = |text: &str| Uri::Prefix(text.as_bytes().into(), None);
        assert_eq!(Uri::parse("/do:list", Parameters::Literal), Uri::Exact(b"/do:list".as_slice().into()));
        assert_eq!(Uri::parse("/do:list", Parameters::Named), Uri::Exact(b"/do:list".as_slice().into()));
        assert_eq!(Uri::parse("/a/:b", Parameters::Literal), Uri::Exact(b"/a/:b".as_slice().into()));
        assert_eq!(Uri::parse("/foo/*", Parameters::Named), prefix("/foo/"));
        assert_eq!(Uri::parse("/foo*", Parameters::Literal), prefix("/foo"));
        assert_eq!(Uri::parse("*", Parameters::Literal), prefix(""));
        assert_eq!(Uri::parse("/a*b", Parameters::Literal), prefix("/a"));
        assert!(matches!(Uri::parse("/a/*/b", Parameters::Literal), Uri::Prefix(_, Some(_))));
    }
}

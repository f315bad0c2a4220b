//! What is recorded of a request: about what APISIX's default entry says, as a serde value. Nothing is added by hand: the text is
//! simd-json's.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, request, response};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// One entry.
#[derive(Serialize)]
pub struct Entry<'a> {
    request: Request<'a>,
    response: Response<'a>,
    client_ip: IpAddr,
    upstream: SocketAddr,
    start_time: u64,
    latency: f64,
}

#[derive(Serialize)]
struct Request<'a> {
    method: &'a str,
    uri: &'a str,
    headers: Headers<'a>,
}

#[derive(Serialize)]
struct Response<'a> {
    status: u16,
    headers: Headers<'a>,
}

/// Fields in their order; bytes that are no UTF-8 are replaced.
struct Headers<'a>(&'a HeaderMap);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name.as_str(), &String::from_utf8_lossy(value.as_bytes()))?;
        }
        map.end()
    }
}

/// When and between whom.
#[derive(Clone, Copy)]
pub struct Times {
    /// The client.
    pub peer: SocketAddr,
    /// Who answered.
    pub upstream: SocketAddr,
    /// Milliseconds since 1970.
    pub start_ms: u64,
    /// Nanoseconds from the request's head to the end of its response.
    pub took_ns: u64,
}

impl<'a> Entry<'a> {
    /// The entry of one exchange.
    pub fn new(request: &'a request::Parts, response: &'a response::Parts, times: Times) -> Self {
        let uri = request.uri.path_and_query().map_or("/", |target| target.as_str());
        Self {
            request: Request { method: request.method.as_str(), uri, headers: Headers(&request.headers) },
            response: Response { status: response.status.as_u16(), headers: Headers(&response.headers) },
            client_ip: times.peer.ip(),
            upstream: times.upstream,
            start_time: times.start_ms,
            latency: times.took_ns as f64 / 1e6,
        }
    }

    /// Its text, in place of what `text` held.
    pub fn write(&self, text: &mut Vec<u8>) {
        text.clear();
        // Into memory, from strings and numbers: neither can fail.
        simd_json::serde::to_writer(text, self).expect("an entry is written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_json_with_what_was_said() {
        let (request, ()) = http::Request::get("/a?b=1").header("x", "q\"").body(()).expect("a request").into_parts();
        let (response, ()) = http::Response::builder().status(404).body(()).expect("a response").into_parts();
        let (peer, upstream) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 2], 80)));
        let times = Times { peer, upstream, start_ms: 1_700_000_000_123, took_ns: 1_500_000 };
        let mut text = b"before".to_vec();
        Entry::new(&request, &response, times).write(&mut text);
        assert_eq!(
            String::from_utf8(text).expect("UTF-8"),
            r#"{"request":{"method":"GET","uri":"/a?b=1","headers":{"x":"q\""}},"response":{"status":404,"headers":{}},"client_ip":"127.0.0.1","upstream":"127.0.0.2:80","start_time":1700000000123,"latency":1.5}"#
        );
    }
}

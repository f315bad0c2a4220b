//! monoio-http both ways: a request is read with its body, sent on over a kept connection, and its response goes back.
//!
//! What the crate cannot do is not done: its bodies are whole in memory, HEAD, 204 and 304 have none of their rules, an interim response
//! passes as a final one. What any proxy would do is: fields of one hop stay on it, `Connection: close` is minded.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use http::header::{CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, UPGRADE};
use http::{HeaderMap, StatusCode, Version, request, response};
use monoio::io::sink::{Sink, SinkExt};
use monoio::io::stream::Stream;
use monoio::net::TcpStream;
use monoio_http::common::error::HttpError;
use monoio_http::common::request::{Request, RequestHeadRef, RequestRef};
use monoio_http::common::response::Response;
use monoio_http::h1::codec::decoder::FillPayload;
use monoio_http::h1::codec::{ClientCodec, ServerCodec};
use monoio_http::h1::payload::Payload;
use tollgate::base::time::Now;

use crate::entry::{Entry, Times};
use crate::recorder::Recorder;

/// Kept upstream connections, at most.
const KEPT: usize = 4_096;

/// Fields of one hop that stand by their own name (RFC 9110, 7.6.1).
const OF_ONE_HOP: [&str; 2] = ["keep-alive", "proxy-connection"];

/// What all connections share.
pub struct Proxy {
    upstream: SocketAddr,
    kept: RefCell<Vec<ClientCodec<TcpStream>>>,
    recorder: Option<Recorder>,
}

impl Proxy {
    /// One that serves from `upstream`.
    pub fn new(upstream: SocketAddr, recorder: Option<Recorder>) -> Self {
        Self { upstream, kept: RefCell::default(), recorder }
    }

    /// Sends what is left to Kafka; how many records did not get there.
    pub async fn finish(&self) -> u64 {
        match &self.recorder {
            Some(recorder) => recorder.finish().await,
            None => 0,
        }
    }

    /// Serves one client until either side ends.
    pub async fn serve(self: Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let mut client = ServerCodec::new(stream);
        while let Some(read) = client.next().await {
            let goes_on = match read {
                Ok(request) if client.fill_payload().await.is_ok() => self.exchange(&mut client, request, peer).await,
                _ => answer(&mut client, StatusCode::BAD_REQUEST).await.and(Ok(false)),
            };
            if !goes_on.unwrap_or(false) {
                break;
            }
        }
        let _ = Sink::<Response>::close(&mut client).await;
    }

    /// One request and its response; whether the connection goes on.
    async fn exchange(
        &self,
        client: &mut ServerCodec<TcpStream>,
        request: Request,
        peer: SocketAddr,
    ) -> Result<bool, HttpError> {
        let began = self.recorder.as_ref().map(Recorder::now);
        let (mut request, body) = request.into_parts();
        let keep = request.version == Version::HTTP_11 && !says_close(&request.headers);
        drop_hop(&mut request.headers);
        let mut upstream = match self.asked(&request, body).await {
            Ok(upstream) => upstream,
            Err(_) => return answer(client, StatusCode::BAD_GATEWAY).await.and(Ok(keep)),
        };
        let Some(Ok(answered)) = upstream.next().await else {
            return answer(client, StatusCode::BAD_GATEWAY).await.and(Ok(keep));
        };
        let (mut response, body) = answered.into_parts();
        let stays = response.version == Version::HTTP_11 && !says_close(&response.headers);
        drop_hop(&mut response.headers);
        response.version = Version::HTTP_11;
        if !keep {
            response.headers.insert(CONNECTION, http::HeaderValue::from_static("close"));
        }
        let told = self.recorder.is_some().then(|| copy(&response));
        client.send_and_flush(Response::from_parts(response, body.with_io(&mut upstream))).await?;
        if stays && self.kept.borrow().len() < KEPT {
            self.kept.borrow_mut().push(upstream);
        }
        if let (Some(recorder), Some(began), Some(told)) = (&self.recorder, began, told) {
            self.record(recorder, began, (&request, &told), peer);
        }
        Ok(keep)
    }

    /// A connection that was sent the request.
    async fn asked(&self, head: &request::Parts, body: Payload) -> Result<ClientCodec<TcpStream>, HttpError> {
        let kept = self.kept.borrow_mut().pop();
        let mut upstream = match kept {
            Some(kept) => kept,
            None => {
                let stream = TcpStream::connect_addr(self.upstream).await?;
                stream.set_nodelay(true)?;
                ClientCodec::new(stream)
            }
        };
        let parts =
            RequestHeadRef { method: &head.method, uri: &head.uri, version: Version::HTTP_11, headers: &head.headers };
        upstream.send_and_flush(RequestRef { parts, body }).await?;
        Ok(upstream)
    }

    fn record(
        &self,
        recorder: &Recorder,
        began: Now,
        (request, response): (&request::Parts, &response::Parts),
        peer: SocketAddr,
    ) {
        let now = recorder.now();
        let (start_ms, took_ns) = (began.wall.unix_ms(), now.mono.ns_since(began.mono));
        let times = Times { peer, upstream: self.upstream, start_ms, took_ns };
        recorder.record(&Entry::new(request, response, times), now);
    }
}

/// A response of our own, without a body.
async fn answer(client: &mut ServerCodec<TcpStream>, status: StatusCode) -> Result<(), HttpError> {
    let mut response: Response = Response::new(Payload::None);
    *response.status_mut() = status;
    client.send_and_flush(response).await
}

/// The head again, for the record: the crate's writer takes the one it writes.
fn copy(head: &response::Parts) -> response::Parts {
    let (mut copy, ()) = http::Response::new(()).into_parts();
    copy.status = head.status;
    copy.headers = head.headers.clone();
    copy
}

fn says_close(headers: &HeaderMap) -> bool {
    let mut options = headers.get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    options.any(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close")))
}

/// Takes the fields of one hop off, those that Connection nominates too.
fn drop_hop(headers: &mut HeaderMap) {
    let nominated: Vec<String> = headers
        .get_all(CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|option| option.trim().to_owned()))
        .collect();
    for name in nominated.iter().map(String::as_str).chain(OF_ONE_HOP) {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_hop_stay_on_it() {
        let lines =
            [("connection", "x-one, Close"), ("x-one", "1"), ("keep-alive", "5"), ("te", "trailers"), ("x-two", "2")];
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, http::HeaderValue::from_static(value));
        }
        assert!(says_close(&headers));
        drop_hop(&mut headers);
        assert_eq!(headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-two"]);
        assert!(!says_close(&headers));
    }
}

//! A small upstream that answers like httpbin's `/get`, `/anything`, `/status/N`, `/delay/N`, `/bytes/N`. For the demo only.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Map, Value, json};

/// The most bytes that `/bytes/N` gives.
const BYTES_MAX: usize = 100 * 1024;
/// The most seconds that `/delay/N` waits, httpbin's own bound.
const DELAY_MAX_S: u64 = 10;

/// Starts the upstream on a thread of its own, on a free port of the loopback address; it lives as long as the process.
///
/// # Errors
/// When no port or thread can be had.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    std::thread::Builder::new().name("echo".to_owned()).spawn(move || {
        if let Err(error) = serve(listener) {
            log::error!("demo: the echo upstream on {address} stopped: {error}");
        }
    })?;
    Ok(address)
}

fn serve(listener: TcpListener) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, routes().into_make_service_with_connect_info::<SocketAddr>()).await
    })
}

fn routes() -> Router {
    Router::new()
        .route("/get", get(echo))
        .route("/anything", any(echo))
        .route("/anything/{*rest}", any(echo))
        .route("/status/{code}", any(status))
        .route("/delay/{seconds}", any(delay))
        .route("/bytes/{count}", get(bytes))
}

/// What httpbin tells of a request: arguments, headers, origin, address, and for `/anything` method and body.
async fn echo(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let origin = headers.get("x-forwarded-for").and_then(|origin| origin.to_str().ok()).map(str::to_owned);
    let mut answer = json!({
        "args": arguments(query.as_deref().unwrap_or("")),
        "headers": fields(&headers),
        "origin": origin.unwrap_or_else(|| peer.ip().to_string()),
        "url": format!("http://{host}{uri}"),
    });
    if uri.path() != "/get" {
        answer["method"] = Value::from(method.as_str());
        answer["data"] = Value::from(String::from_utf8_lossy(&body));
    }
    pretty(&answer)
}

fn arguments(query: &str) -> Map<String, Value> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

fn fields(headers: &HeaderMap) -> Map<String, Value> {
    headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())).collect()
}

fn pretty(answer: &Value) -> Response {
    let mut text = format!("{answer:#}");
    text.push('\n');
    ([("content-type", "application/json")], text).into_response()
}

async fn status(Path(code): Path<u16>) -> Response {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST).into_response()
}

async fn delay(Path(seconds): Path<u64>) -> Response {
    let seconds = seconds.min(DELAY_MAX_S);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    pretty(&json!({ "delay": seconds }))
}

async fn bytes(Path(count): Path<usize>) -> Response {
    // Any bytes will do; the same ones each time make a broken relay easy to see.
    let body: Vec<u8> = (0..count.min(BYTES_MAX)).map(|index| (index % 251) as u8).collect();
    ([("content-type", "application/octet-stream")], body).into_response()
}

//! The Admin API as a curl user calls it.

use std::net::SocketAddr;

use serde_json::Value;

use super::client::Client;

/// The key that the tests' gateways take.
pub const KEY: &str = "tests-only-4f1c2a";

/// One gateway's Admin API.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    address: SocketAddr,
}

impl Admin {
    /// The API at this address.
    pub const fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// True if it answers and takes our key. Somebody else who took the port may answer anything, or nothing.
    pub fn answers(&self) -> bool {
        let request = format!(
            "GET /apisix/admin/routes HTTP/1.1\r\nHost: admin\r\nX-API-KEY: {KEY}\r\nConnection: close\r\n\r\n"
        );
        let answer = Client::try_connect(self.address).and_then(|mut client| {
            client.try_send(request)?;
            client.try_response()
        });
        answer.is_ok_and(|response| response.status == 200)
    }

    /// Any call: status and body, `Null` if the body is not JSON.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} /apisix/admin/{path} HTTP/1.1\r\nHost: admin\r\nX-API-KEY: {KEY}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let response = Client::connect(self.address).exchange(request);
        (response.status, serde_json::from_slice(&response.body).unwrap_or(Value::Null))
    }

    /// Puts an object; panics if it is refused.
    pub fn put(&self, path: &str, body: &Value) {
        let (status, answer) = self.call("PUT", path, Some(body));
        assert!(matches!(status, 200 | 201), "PUT {path}: {status} {answer}");
    }

    /// Puts a route `id` for `uri` to `nodes`, each with its weight.
    pub fn route(&self, id: &str, uri: &str, nodes: &[(&str, u32)]) {
        let nodes: serde_json::Map<_, _> =
            nodes.iter().map(|(node, weight)| ((*node).to_owned(), Value::from(*weight))).collect();
        let upstream = serde_json::json!({"type": "roundrobin", "nodes": nodes});
        self.put(&format!("routes/{id}"), &serde_json::json!({"uri": uri, "upstream": upstream}));
    }

    /// Deletes an object; panics if that is refused.
    pub fn delete(&self, path: &str) {
        let (status, answer) = self.call("DELETE", path, None);
        assert_eq!(status, 200, "DELETE {path}: {answer}");
    }
}

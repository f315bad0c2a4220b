//! Who may use the Admin API: by address, by key, by role (APISIX-COMPAT §5.1). Pure: the request's parts are handed in.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method};
use serde_json::json;

use super::answer::Answer;
use super::query::Query;
use crate::config::file::{AdminConfig, AdminKey, Role};
use crate::control::key::same_key;
use crate::route::Cidr;

/// nginx's page for an address that is not allowed, with our name at its foot.
pub const FORBIDDEN_PAGE: &str = "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n\
    <center><h1>403 Forbidden</h1></center>\r\n<hr><center>tollgate</center>\r\n</body>\r\n</html>\r\n";

/// The rules.
#[derive(Clone, Debug)]
pub struct Access {
    allow: Vec<Cidr>,
    keys: Vec<AdminKey>,
    key_required: bool,
}

impl Access {
    /// The file's rules, with the key that was made if the file names none.
    pub fn new(config: &AdminConfig, made_key: Option<String>) -> Self {
        let mut keys = config.keys.clone();
        keys.extend(made_key.map(|key| AdminKey { name: "admin".into(), key, role: Role::Admin }));
        Self { allow: config.allow.clone(), keys, key_required: config.key_required }
    }

    /// True if `allow_admin` lets this address in; an empty list lets everybody in, also those without a known address. An IPv4
    /// address in IPv6 form is IPv4.
    pub fn allows(&self, peer: Option<IpAddr>) -> bool {
        let listed = |peer: IpAddr| self.allow.iter().any(|network| network.contains(peer.to_canonical()));
        self.allow.is_empty() || peer.is_some_and(listed)
    }

    /// Checks the key: argument `api_key`, else header `X-API-KEY`, else cookie `x_api_key`.
    ///
    /// # Errors
    /// The 401.
    pub fn check_key(&self, method: &Method, query: &Query, headers: &HeaderMap) -> Result<(), Answer> {
        if !self.key_required {
            return Ok(());
        }
        let header = || headers.get("x-api-key").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let given = query.first("api_key").map(str::to_owned).or_else(header).or_else(|| cookie(headers, "x_api_key"));
        let Some(given) = given else { return Err(refused("missing apikey")) };
        // Every key is compared, whichever matches: the time must not tell how far the list was walked.
        let found =
            self.keys.iter().fold(None, |found, key| if same_key(&key.key, &given) { Some(key) } else { found });
        match found {
            None => Err(refused("wrong apikey")),
            Some(key) if key.role == Role::Viewer && *method != Method::GET => {
                Err(refused("invalid method for role viewer"))
            }
            Some(_) => Ok(()),
        }
    }
}

fn refused(description: &str) -> Answer {
    let body = json!({ "error_msg": "failed to check token", "description": description });
    Answer::json(axum::http::StatusCode::UNAUTHORIZED, body)
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all("cookie").iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

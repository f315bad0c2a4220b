//! The Admin API, APISIX's to the byte where a client could tell (APISIX-COMPAT §5): who may ask, where a path leads, which headers an
//! answer carries. What an answer says is [`objects`]', [`list`]'s and [`schemas`]'.

pub mod access;
pub mod answer;
pub mod body;
pub mod list;
pub mod objects;
pub mod query;
pub mod schemas;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use tokio::sync::Mutex;

use self::access::{Access, FORBIDDEN_PAGE};
use self::answer::{Answer, Payload};
use self::objects::Call;
use self::query::{Plus, Query, decoded};
use super::peer::Peer;
use super::publish::{Publisher, View};
use crate::config::file::ApiVersion;
use crate::config::resource::{Kind, Method as Verb};

/// What we call ourselves.
pub const SERVER: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));
/// Where everything is.
pub const PREFIX: &str = "/apisix/admin";

/// The Admin API of one process; its two listeners share it.
pub struct Admin {
    access: Access,
    version: ApiVersion,
    cors: bool,
    view: View,
    publisher: Arc<Mutex<Publisher>>,
}

impl Admin {
    /// The API in front of a publisher.
    pub fn new(access: Access, version: ApiVersion, cors: bool, view: View, publisher: Arc<Mutex<Publisher>>) -> Self {
        Self { access, version, cors, view, publisher }
    }
}

/// Serves the API. Connections must carry their [`Peer`].
pub fn router(admin: Arc<Admin>) -> Router {
    Router::new().fallback(handle).with_state(admin)
}

async fn handle(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response<Body> {
    let mut response = if !admin.access.allows(peer.ip()) {
        let who = peer.ip().map_or_else(|| "a peer without a known address".to_owned(), |ip| ip.to_string());
        log::warn!("allow_admin does not let {who} in");
        Answer { status: StatusCode::FORBIDDEN, payload: Payload::Html(FORBIDDEN_PAGE) }.into_response()
    } else if !is_ours(request.uri().path()) {
        Answer::bare(StatusCode::NOT_FOUND).into_response()
    } else if admin.cors && *request.method() == Method::OPTIONS {
        preflight()
    } else {
        let mut response = admin.answer(request).await;
        if admin.cors {
            allow_origins(response.headers_mut());
        }
        response
    };
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
    response
}

fn is_ours(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

const fn text(value: &'static str) -> HeaderValue {
    HeaderValue::from_static(value)
}

fn preflight() -> Response<Body> {
    let mut response = Answer::bare(StatusCode::OK).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, text("POST, GET, PUT, OPTIONS, DELETE, PATCH"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, text("*"));
    allow_origins(headers);
    response
}

fn allow_origins(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, text("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, text("true"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, text("*"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, text("3600"));
}

/// Where a path leads.
enum Target {
    PluginNames,
    Reload,
    ValidateOne(String),
    ValidateAll,
    Plugin(Option<String>),
    Schema(Option<String>),
    PluginSchema(Option<String>),
    Objects(Kind, Option<String>, String),
    /// Out of scope, with APISIX's text for a gateway without streams.
    Streams,
    Unknown(String),
}

impl Target {
    /// `segments` is what follows `/apisix/admin/`, decoded, without empty ones.
    fn of(method: &Method, segments: &[String]) -> Self {
        let segment = |index: usize| segments.get(index).cloned();
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        match names[..] {
            ["plugins", "list"] if *method == Method::GET => Self::PluginNames,
            ["plugins", "reload"] => Self::Reload,
            ["schema", "validate", kind] if *method == Method::POST => Self::ValidateOne(kind.to_owned()),
            ["configs", "validate"] if *method == Method::POST => Self::ValidateAll,
            ["plugins", ..] => Self::Plugin(segment(1)),
            ["schema", "plugins", ..] => Self::PluginSchema(segment(2)),
            ["schema", ..] => Self::Schema(segment(1)),
            ["stream_routes", ..] => Self::Streams,
            [kind, ..] => match Kind::from_segment(kind) {
                Some(kind) => Self::Objects(kind, segment(1), segments.get(2..).unwrap_or_default().join("/")),
                None => Self::Unknown(kind.to_owned()),
            },
            [] => Self::Unknown(String::new()),
        }
    }
}

impl Admin {
    async fn answer(&self, request: Request) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let segments: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(|part| decoded(part, Plus::IsPlus)).collect();
        if parts.method == Method::HEAD && segments.is_empty() {
            return Answer::empty(StatusCode::OK).into_response();
        }
        let Some(verb) = verb(&parts.method).filter(|_| !segments.is_empty()) else {
            return Answer::bare(StatusCode::NOT_FOUND).into_response();
        };
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        if let Err(refused) = self.access.check_key(&parts.method, &query, &parts.headers) {
            return refused.into_response();
        }
        let target = Target::of(&parts.method, &segments);
        let versioned = !matches!(target, Target::Unknown(_) | Target::Streams | Target::PluginNames | Target::Reload);
        let mut response = self.call(target, verb, body, query).await.into_response();
        if versioned {
            let version = match self.version {
                ApiVersion::V3 => "v3",
                ApiVersion::V2 => "v2",
            };
            response.headers_mut().insert(HeaderName::from_static("x-api-version"), text(version));
        }
        response
    }

    async fn call(&self, target: Target, verb: Verb, body: Body, query: Query) -> Answer {
        let not_found = || Answer::error(StatusCode::NOT_FOUND, "not found");
        match target {
            Target::Unknown(name) => unsupported(&name),
            Target::Streams => Answer::invalid("stream mode is disabled, can not add stream routes"),
            Target::PluginNames => schemas::plugin_names(&query),
            Target::Reload if verb == Verb::Put => Answer::text(StatusCode::OK, "done"),
            Target::Reload => Answer::error(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("please use PUT method to reload the plugins, {} method is not allowed.", verb.as_str()),
            ),
            Target::ValidateOne(name) => match (Kind::from_segment(&name), body::read(body).await) {
                (None, _) => unsupported(&name),
                (_, Err(refused)) => refused,
                (Some(kind), Ok(body)) => schemas::validate_one(kind, body.as_ref()),
            },
            Target::ValidateAll => match body::read(body).await {
                Err(refused) => refused,
                Ok(body) => schemas::validate_all(body.as_ref()),
            },
            Target::Plugin(_) | Target::Schema(_) | Target::PluginSchema(_) if verb != Verb::Get => not_found(),
            Target::Plugin(name) => schemas::plugin(name.as_deref(), &query),
            Target::Schema(name) => schemas::resource(name.as_deref()),
            Target::PluginSchema(name) => schemas::plugin_schema(name.as_deref(), &query),
            Target::Objects(kind, id, sub_path) => match body::read(body).await {
                Err(refused) => refused,
                Ok(body) => objects::answer(self, Call { kind, method: verb, id, sub_path, body, query }).await,
            },
        }
    }
}

fn unsupported(name: &str) -> Answer {
    Answer::error(StatusCode::NOT_FOUND, format!("Unsupported resource type: {name}"))
}

fn verb(method: &Method) -> Option<Verb> {
    match *method {
        Method::GET => Some(Verb::Get),
        Method::PUT => Some(Verb::Put),
        Method::POST => Some(Verb::Post),
        Method::PATCH => Some(Verb::Patch),
        Method::DELETE => Some(Verb::Delete),
        _ => None,
    }
}

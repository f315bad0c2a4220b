//! The Admin API's kinds of objects: their names, methods and ids (APISIX-COMPAT §5.2, §5.4). Nothing here looks into a body further
//! than its `id`.

use serde_json::Value;

/// The longest id in bytes (APISIX-COMPAT §5.4).
pub const ID_BYTES: usize = 64;

/// A kind of object that the gateway is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `routes`
    Route,
    /// `services`
    Service,
    /// `upstreams`
    Upstream,
    /// `global_rules`
    GlobalRule,
    /// `plugin_configs`
    PluginConfig,
    /// `plugin_metadata`; the id is a plugin's name
    PluginMetadata,
}

/// What is asked of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read one or all.
    Get,
    /// Create or replace under an id.
    Put,
    /// Create under an id that the store makes.
    Post,
    /// Merge into what is there.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// As on the wire, upper case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl Kind {
    /// Every kind, in the order in which the Admin API documents them.
    pub const ALL: [Self; 6] =
        [Self::Route, Self::Service, Self::Upstream, Self::GlobalRule, Self::PluginConfig, Self::PluginMetadata];

    /// The URL segment, which is also the key in the store and in `apisix.yaml`: `routes`.
    pub fn segment(self) -> &'static str {
        match self {
            Self::Route => "routes",
            Self::Service => "services",
            Self::Upstream => "upstreams",
            Self::GlobalRule => "global_rules",
            Self::PluginConfig => "plugin_configs",
            Self::PluginMetadata => "plugin_metadata",
        }
    }

    /// The kind of a URL segment; `None` is APISIX's `Unsupported resource type`.
    pub fn from_segment(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.segment() == segment)
    }

    /// The name inside messages: `global rule`.
    pub fn message_name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Service => "service",
            Self::Upstream => "upstream",
            Self::GlobalRule => "global rule",
            Self::PluginConfig => "plugin config",
            Self::PluginMetadata => "plugin_metadata",
        }
    }

    /// The name behind `/schema/`: `global_rule`.
    pub fn schema_name(self) -> &'static str {
        match self {
            Self::GlobalRule => "global_rule",
            Self::PluginConfig => "plugin_config",
            other => other.message_name(),
        }
    }

    /// The kind of a name behind `/schema/`.
    pub fn from_schema_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.schema_name() == name)
    }

    /// The matrix of APISIX-COMPAT §5.2: false is a 405 with [`Kind::not_supported`].
    pub fn allows(self, method: Method) -> bool {
        match method {
            Method::Get | Method::Put | Method::Delete => true,
            Method::Post => matches!(self, Self::Route | Self::Service | Self::Upstream),
            Method::Patch => self != Self::PluginMetadata,
        }
    }

    /// The 405's `error_msg`.
    pub fn not_supported(self, method: Method) -> String {
        format!("not supported `{}` method for {}", method.as_str(), self.message_name())
    }

    /// The key of an object in answers and in the store, with APISIX's default prefix: `/apisix/routes/r1`.
    pub fn key(self, id: &str) -> String {
        format!("/apisix/{}/{id}", self.segment())
    }
}

/// The id that a call names, from its path and from its body, in the order of APISIX-COMPAT §5.4.
///
/// - `Get` does not need an id: it is never called for it.
/// - `Post` answers `Ok(None)`: the store makes the id.
/// - all others answer `Ok(Some(id))`; the caller writes it into `value.id` (path ids as a string, body ids stay as they are).
///
/// # Errors
/// The 400's `error_msg`: `missing route id`, `wrong route id`, `wrong route id, do not need it`, `invalid plugin name`,
/// `missing plugin name`. Whether the id is well-formed is the schema's question ([`crate::config::validate::check`]).
pub fn check_id(
    kind: Kind,
    method: Method,
    path_id: Option<&str>,
    body: Option<&Value>,
) -> Result<Option<String>, String> {
    let body_id = body.and_then(|body| body.get("id")).and_then(id_text);
    if kind == Kind::PluginMetadata {
        let name = path_id.map(str::to_owned).or(body_id).ok_or("missing plugin name")?;
        return if crate::config::schema::is_plugin(&name) {
            Ok(Some(name))
        } else {
            Err("invalid plugin name".into())
        };
    }
    let name = kind.message_name();
    if method == Method::Post {
        return if path_id.is_some() || body_id.is_some() {
            Err(format!("wrong {name} id, do not need it"))
        } else {
            Ok(None)
        };
    }
    match (path_id, body_id) {
        (None, None) => Err(format!("missing {name} id")),
        (Some(path), Some(body)) if method == Method::Put && path != body => Err(format!("wrong {name} id")),
        (Some(path), _) => Ok(Some(path.to_owned())),
        // Only PUT may carry its id in the body alone; DELETE and PATCH name it in the path.
        (None, Some(body)) if method == Method::Put => Ok(Some(body)),
        (None, Some(_)) => Err(format!("missing {name} id")),
    }
}

/// An id as text: strings as they are, integers in digits, anything else as JSON (the schema refuses it later).
pub fn id_text(id: &Value) -> Option<String> {
    match id {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn segments_and_schema_names_lead_back_to_their_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_segment(kind.segment()), Some(kind));
            assert_eq!(Kind::from_schema_name(kind.schema_name()), Some(kind));
        }
        assert_eq!(Kind::from_segment("routs"), None);
    }

    #[test]
    fn post_on_a_global_rule_is_not_supported() {
        assert!(!Kind::GlobalRule.allows(Method::Post));
        assert_eq!(Kind::GlobalRule.not_supported(Method::Post), "not supported `POST` method for global rule");
    }

    #[test]
    fn ids_come_from_the_path_or_the_body_and_must_agree() {
        let put = |path, body: Value| check_id(Kind::Route, Method::Put, path, Some(&body));
        assert_eq!(put(Some("1"), json!({"id": 1})), Ok(Some("1".into())));
        assert_eq!(put(None, json!({"id": 7})), Ok(Some("7".into())));
        assert_eq!(put(Some("1"), json!({"id": "2"})), Err("wrong route id".into()));
        assert_eq!(put(None, json!({})), Err("missing route id".into()));
        let delete = check_id(Kind::PluginConfig, Method::Delete, None, None);
        assert_eq!(delete, Err("missing plugin config id".into()));
    }

    #[test]
    fn post_refuses_an_id_wherever_it_stands() {
        let post = |path, body: Value| check_id(Kind::Service, Method::Post, path, Some(&body));
        assert_eq!(post(None, json!({})), Ok(None));
        assert_eq!(post(Some("1"), json!({})), Err("wrong service id, do not need it".into()));
        assert_eq!(post(None, json!({"id": "x"})), Err("wrong service id, do not need it".into()));
    }

    #[test]
    fn metadata_ids_are_names_of_plugins() {
        let put = |path| check_id(Kind::PluginMetadata, Method::Put, path, Some(&json!({})));
        assert_eq!(put(Some("kafka-logger")), Ok(Some("kafka-logger".into())));
        assert_eq!(put(Some("kafka-loger")), Err("invalid plugin name".into()));
        assert_eq!(put(None), Err("missing plugin name".into()));
    }
}

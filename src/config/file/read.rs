//! The file's mappings, one function each.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;

use log::LevelFilter;
use serde_json::Value;

use super::tree::{Findings, Section, shown};
use super::{
    AdminConfig, AdminKey, ApiVersion, FileConfig, LOOPBACK, PrometheusConfig, Provider, Role, TrustSource, Workers,
    substitute,
};
use crate::config::Problem;
use crate::route::{Cidr, RouterMode};

/// Most worker threads that a file may ask for.
const WORKERS_MOST: u64 = 1024;
/// The keys that every APISIX before 3.10 shipped with and every tutorial prints: they work if the file names them.
const WELL_KNOWN_KEYS: [&str; 2] = ["edd1c9f034335f136f87ad84b625c8f1", "4054f7cf07e344346cd3f287985e76a2"];

pub fn read(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<(FileConfig, Vec<String>), Vec<Problem>> {
    let tree: Value =
        serde_saphyr::from_str(text).map_err(|error| vec![Problem::new(".", format!("not YAML: {error}"))])?;
    let findings = Findings::default();
    let tree = substitute::substitute(tree, env, &mut findings.problems.borrow_mut());
    let config = root(&findings, &tree);
    let problems = findings.problems.into_inner();
    if problems.is_empty() { Ok((config, findings.warnings.into_inner())) } else { Err(problems) }
}

fn root(findings: &Findings, tree: &Value) -> FileConfig {
    let file = Section::new(findings, "", Some(tree));
    let (apisix, nginx, deployment) =
        (file.section("apisix"), file.section("nginx_config"), file.section("deployment"));
    let (traditional, provider) = provider(&deployment, &apisix);
    // A data plane has no Admin API (APISIX-COMPAT §8.1).
    let admin = admin(&deployment.section("admin"), &apisix, traditional);
    plugins(&file);
    FileConfig {
        listen: listen(&apisix),
        workers: workers(&nginx),
        router: router(&apisix),
        provider,
        admin,
        control: control(&apisix),
        status: status(&apisix),
        prometheus: prometheus(&file.section("plugin_attr").section("prometheus")),
        http: super::http::http(&nginx.section("http"), &apisix),
        log_level: log_level(&nginx),
        trusted: trusted(&apisix.section("ssl")),
        tollgate: super::tollgate::tollgate(&file.section("tollgate"), &nginx),
    }
}

fn listen(apisix: &Section<'_>) -> Vec<SocketAddr> {
    let ipv6 = apisix.flag("enable_ipv6", true);
    let everywhere = |port: u16| {
        let v6 = ipv6.then_some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
        std::iter::once(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).chain(v6)
    };
    if !matches!(apisix.value("node_listen"), Some(Value::Array(_))) {
        return everywhere(apisix.number("node_listen", 1..=65535, 9080)).collect();
    }
    let mut found = Vec::new();
    for (path, item) in apisix.list("node_listen").unwrap_or_default() {
        if item.is_object() {
            let item = Section::new(apisix.findings(), &path, Some(item));
            let port = item.number("port", 1..=65535, 9080);
            if item.is_written("ip") {
                found.push(SocketAddr::from((item.address("ip", Ipv4Addr::UNSPECIFIED.into()), port)));
            } else {
                found.extend(everywhere(port));
            }
            continue;
        }
        match item.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
            Some(port) => found.extend(everywhere(port)),
            None => apisix.wrong_at(&path, format!("expected a port, found {}", shown(item))),
        }
    }
    if found.is_empty() {
        apisix.wrong("node_listen", "an empty list: nothing would be served");
    }
    found
}

/// `system` and paths, with commas between them, as in APISIX.
fn trusted(ssl: &Section<'_>) -> Vec<TrustSource> {
    let written = ssl.text("ssl_trusted_certificate").unwrap_or_else(|| "system".to_owned());
    let parts = written.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| if part == "system" { TrustSource::System } else { TrustSource::File(part.to_owned()) }).collect()
}

fn workers(nginx: &Section<'_>) -> Workers {
    if nginx.value("worker_processes").and_then(Value::as_str) == Some("auto") {
        return Workers::Auto;
    }
    let count: usize = nginx.number("worker_processes", 1..=WORKERS_MOST, 0);
    NonZeroUsize::new(count).map_or(Workers::Auto, Workers::Count)
}

fn router(apisix: &Section<'_>) -> RouterMode {
    let modes = [
        ("radixtree_host_uri", RouterMode::HostUri),
        ("radixtree_uri", RouterMode::Uri),
        ("radixtree_uri_with_parameter", RouterMode::UriWithParameter),
    ];
    apisix.section("router").word("http", &modes, RouterMode::HostUri)
}

/// Whether this is a whole gateway (not a data plane alone), and where its routes come from.
fn provider(deployment: &Section<'_>, apisix: &Section<'_>) -> (bool, Provider) {
    let role = deployment.word("role", &[("traditional", "traditional"), ("data_plane", "data_plane")], "traditional");
    let (key, default) = if role == "traditional" {
        ("role_traditional", Provider::Embedded)
    } else {
        ("role_data_plane", Provider::Yaml)
    };
    let section = deployment.section(key);
    let (place, name) = if section.is_written("config_provider") {
        (&section, "config_provider")
    } else if apisix.is_written("config_center") {
        // Where 2.x has it (APISIX-COMPAT §5.9).
        (apisix, "config_center")
    } else {
        return (role == "traditional", default);
    };
    if place.value(name).and_then(Value::as_str) == Some("etcd") {
        place.wrong(name, "etcd is not supported by this version of Tollgate yet: take embedded or yaml");
        return (role == "traditional", default);
    }
    let words = [("embedded", 0), ("yaml", 1), ("json", 2)];
    let provider = match place.word(name, &words, 0) {
        1 => Provider::Yaml,
        2 => Provider::Json,
        _ => Provider::Embedded,
    };
    (role == "traditional", provider)
}

fn admin(admin: &Section<'_>, apisix: &Section<'_>, traditional: bool) -> AdminConfig {
    if admin.flag("https_admin", false) {
        admin.wrong("https_admin", "TLS on the Admin API is not supported by this version of Tollgate yet");
    }
    let listen = admin.section("admin_listen");
    let ip = listen.address("ip", LOOPBACK);
    // 2.x has the port alone, under `apisix` (APISIX-COMPAT §5.9).
    let old_port = apisix.number("port_admin", 1..=65535, 9180);
    let port = listen.number("port", 1..=65535, old_port);
    let old_allow = apisix.ranges("allow_admin");
    let allow = admin.ranges("allow_admin").or(old_allow);
    let place = if admin.is_written("admin_key") { admin } else { apisix };
    let config = AdminConfig {
        enabled: apisix.flag("enable_admin", true) && traditional,
        listen: SocketAddr::from((ip, port)),
        allow: allow.unwrap_or_else(default_allow),
        keys: keys(place),
        key_required: admin.flag("admin_key_required", true),
        api_version: if admin.text("admin_api_version").is_none_or(|version| version == "v3") {
            ApiVersion::V3
        } else {
            ApiVersion::V2
        },
        cors: admin.flag("enable_admin_cors", true),
    };
    if config.enabled {
        open_doors(admin, place, &config);
    }
    config
}

/// Warns about an Admin API that is open to more people than its owner may think. `place` holds the keys.
fn open_doors(admin: &Section<'_>, place: &Section<'_>, config: &AdminConfig) {
    if !config.key_required {
        admin.warn("admin_key_required", "false: whoever reaches the Admin API may change everything");
        return;
    }
    for known in config.keys.iter().filter(|own| WELL_KNOWN_KEYS.contains(&own.key.as_str())) {
        let name = &known.name;
        let text = format!(
            "the key of `{name}` is printed in every APISIX tutorial, whoever reaches the Admin API knows it: \
             choose another, or write none and one is made at random"
        );
        place.warn("admin_key", &text);
    }
}

fn default_allow() -> Vec<Cidr> {
    ["127.0.0.0/24", "::1"].into_iter().filter_map(|range| Cidr::parse(range).ok()).collect()
}

fn keys(place: &Section<'_>) -> Vec<AdminKey> {
    let mut keys = Vec::new();
    for (path, item) in place.list("admin_key").unwrap_or_default() {
        let item = Section::new(place.findings(), &path, Some(item));
        let name = item.text("name").unwrap_or_default();
        let role = item.word("role", &[("admin", Role::Admin), ("viewer", Role::Viewer)], Role::Admin);
        // An empty key asks for a random one, as the file that APISIX ships does.
        let Some(key) = item.text("key").filter(|key| !key.is_empty()) else { continue };
        keys.push(AdminKey { name, key, role });
    }
    keys
}

fn control(apisix: &Section<'_>) -> Option<SocketAddr> {
    let enabled = apisix.flag("enable_control", true);
    let control = apisix.section("control");
    let listen = SocketAddr::from((control.address("ip", LOOPBACK), control.number("port", 1..=65535, 9090)));
    enabled.then_some(listen)
}

fn status(apisix: &Section<'_>) -> Option<SocketAddr> {
    let written = apisix.is_written("status");
    let status = apisix.section("status");
    let listen = SocketAddr::from((status.address("ip", LOOPBACK), status.number("port", 1..=65535, 7085)));
    written.then_some(listen)
}

fn prometheus(prometheus: &Section<'_>) -> Option<PrometheusConfig> {
    let address = prometheus.section("export_addr");
    let config = PrometheusConfig {
        listen: SocketAddr::from((address.address("ip", LOOPBACK), address.number("port", 1..=65535, 9091))),
        uri: prometheus.text("export_uri").unwrap_or_else(|| "/apisix/prometheus/metrics".into()),
        prefix: metric_prefix(prometheus),
    };
    prometheus.flag("enable_export_server", true).then_some(config)
}

fn metric_prefix(prometheus: &Section<'_>) -> String {
    let prefix = prometheus.text("metric_prefix").unwrap_or_else(|| "apisix_".into());
    let may_begin = |letter: char| letter.is_ascii_alphabetic() || matches!(letter, '_' | ':');
    let may_follow = |letter: char| may_begin(letter) || letter.is_ascii_digit();
    if prefix.starts_with(|letter| !may_begin(letter)) || !prefix.chars().all(may_follow) {
        let text = format!("no metric may be called {prefix}…: letters, digits (not first), _ and : are allowed");
        prometheus.wrong("metric_prefix", text);
    }
    prefix
}

/// nginx's eight levels on our four.
fn log_level(nginx: &Section<'_>) -> Option<LevelFilter> {
    let levels = [
        ("debug", LevelFilter::Debug),
        ("info", LevelFilter::Info),
        ("notice", LevelFilter::Info),
        ("warn", LevelFilter::Warn),
        ("error", LevelFilter::Error),
        ("crit", LevelFilter::Error),
        ("alert", LevelFilter::Error),
        ("emerg", LevelFilter::Error),
    ];
    nginx.word("error_log_level", &levels.map(|(word, level)| (word, Some(level))), None)
}

/// The list replaces APISIX's: here it can only name what runs anyway.
fn plugins(file: &Section<'_>) {
    let Some(items) = file.list("plugins") else { return };
    let names: Vec<&str> = items.iter().filter_map(|(_, item)| item.as_str()).collect();
    let unknown: Vec<&str> = names.iter().copied().filter(|name| !crate::config::schema::is_plugin(name)).collect();
    if !unknown.is_empty() {
        file.warn("plugins", &format!("this version of Tollgate has no plugin {}", unknown.join(", ")));
    }
    if !names.contains(&crate::config::schema::KAFKA_LOGGER) {
        file.warn("plugins", "kafka-logger is not in the list; it runs all the same");
    }
}

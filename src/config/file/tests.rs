//! Files as people write them.

use super::*;

fn no_env(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> (FileConfig, Vec<String>) {
    FileConfig::parse(text, &no_env).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn problems(text: &str) -> Vec<String> {
    let problems = FileConfig::parse(text, &no_env).map(|_| ()).expect_err("must be refused");
    problems.iter().map(ToString::to_string).collect()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn an_empty_file_has_apisix_defaults_but_keeps_the_admin_api_at_home() {
    for text in ["", "# nothing\n", "{}"] {
        let (config, warnings) = parse(text);
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(config.listen, [at("0.0.0.0:9080"), at("[::]:9080")]);
        assert_eq!(config.workers, Workers::Auto);
        assert_eq!(config.router, RouterMode::HostUri);
        assert_eq!(config.provider, Provider::Embedded);
        assert!(config.admin.enabled && config.admin.key_required && config.admin.cors);
        assert_eq!(config.admin.listen, at("127.0.0.1:9180"));
        assert_eq!(config.admin.allow.len(), 2);
        assert_eq!(config.admin.keys, []);
        assert_eq!(config.admin.api_version, ApiVersion::V3);
        assert_eq!(config.control, Some(at("127.0.0.1:9090")));
        assert_eq!(config.status, None);
        assert_eq!(config.prometheus.unwrap().listen, at("127.0.0.1:9091"));
        assert_eq!(config.http.client_header_timeout_ms, 60_000);
        assert_eq!(config.http.send_timeout_ms, 10_000);
        assert_eq!(config.http.client_max_body_bytes, None);
        assert_eq!(config.tollgate.data_dir, "./tollgate-data");
        assert_eq!(config.tollgate.shutdown_timeout_ms, 30_000);
        assert_eq!(config.tollgate.ring_bytes, crate::base::limits::RING_BYTES);
        assert!(config.tollgate.kafka.trace.is_some());
    }
}

#[test]
fn a_full_file_is_read() {
    let (config, warnings) = parse(
        "apisix:\n  node_listen: 9081\n  enable_ipv6: false\n  router:\n    http: radixtree_uri\n  status:\n    port: 7086\n\
         nginx_config:\n  worker_processes: 2\n  http:\n    client_header_timeout: 5s\n    keepalive_timeout: 75\n    \
         client_max_body_size: 1m\n    real_ip_recursive: off\n    upstream:\n      keepalive: 16\n\
         deployment:\n  role: traditional\n  role_traditional:\n    config_provider: yaml\n  admin:\n    allow_admin: [10.0.0.0/8]\n    \
         admin_key:\n      - {name: admin, key: secret, role: admin}\n      - {name: v, key: 42, role: viewer}\n    \
         admin_listen:\n      ip: 0.0.0.0\n      port: 9280\n    admin_api_version: v2\n\
         tollgate:\n  data_dir: /var/lib/tollgate\n  admin_on_proxy_port: true\n  hosts:\n    HTTPBIN.org:80: 127.0.0.1:8088\n  \
         ring: {bytes: 8m, slot_bytes: 1m}\n  driver: epoll\n  kafka: {linger_ms: 20, batch_bytes: 64k, record_headers: false}\n",
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.listen, [at("0.0.0.0:9081")]);
    assert_eq!(config.workers, Workers::Count(NonZeroUsize::new(2).unwrap()));
    assert_eq!((config.router, config.provider), (RouterMode::Uri, Provider::Yaml));
    assert_eq!(config.status, Some(at("127.0.0.1:7086")));
    assert_eq!((config.http.client_header_timeout_ms, config.http.keepalive_timeout_ms), (5_000, 75_000));
    assert_eq!(config.http.client_max_body_bytes, Some(1_048_576));
    assert_eq!(config.http.upstream_keepalive.size, 16);
    assert_eq!(config.admin.listen, at("0.0.0.0:9280"));
    assert_eq!(config.admin.api_version, ApiVersion::V2);
    let keys: Vec<_> = config.admin.keys.iter().map(|key| (key.key.as_str(), key.role)).collect();
    assert_eq!(keys, [("secret", Role::Admin), ("42", Role::Viewer)]);
    assert_eq!(config.tollgate.hosts["httpbin.org:80"], "127.0.0.1:8088");
    assert_eq!((config.tollgate.ring_bytes, config.tollgate.driver), (8 << 20, Driver::Epoll));
    assert_eq!((config.tollgate.kafka.linger_ms, config.tollgate.kafka.batch_bytes), (20, 65_536));
    assert_eq!(config.tollgate.kafka.trace, None);
}

#[test]
fn listeners_are_a_port_a_list_of_ports_or_of_addresses() {
    let (config, _) = parse("apisix:\n  enable_ipv6: false\n  node_listen: [9080, 9081]\n");
    assert_eq!(config.listen, [at("0.0.0.0:9080"), at("0.0.0.0:9081")]);
    let (config, warnings) =
        parse("apisix:\n  node_listen:\n    - {ip: 127.0.0.2, port: 9082, enable_http2: true}\n    - {ip: '::1'}\n");
    assert_eq!(config.listen, [at("127.0.0.2:9082"), at("[::1]:9080")]);
    assert!(warnings[0].starts_with("apisix.node_listen[1].enable_http2: "), "{warnings:?}");
}

#[test]
fn positions_of_version_2_are_taken() {
    let (config, warnings) = parse(
        "apisix:\n  port_admin: 9190\n  allow_admin: [127.0.0.1]\n  config_center: yaml\n  \
         admin_key: [{name: admin, key: k, role: admin}]\n",
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((config.admin.listen, config.provider), (at("127.0.0.1:9190"), Provider::Yaml));
    assert_eq!((config.admin.allow.len(), config.admin.keys.len()), (1, 1));
}

#[test]
fn a_data_plane_reads_a_file_and_has_no_admin_api() {
    let (config, _) = parse("deployment: {role: data_plane, role_data_plane: {config_provider: json}}");
    assert_eq!((config.admin.enabled, config.provider), (false, Provider::Json));
    let (config, _) = parse("deployment: {role: data_plane}");
    assert_eq!(config.provider, Provider::Yaml);
}

#[test]
fn an_empty_list_allows_everybody_and_an_empty_key_asks_for_a_random_one() {
    for text in ["deployment: {admin: {allow_admin: []}}", "deployment:\n  admin:\n    allow_admin:\n"] {
        assert_eq!(parse(text).0.admin.allow, [], "{text}");
    }
    assert_eq!(parse("deployment: {admin: {admin_key: [{name: admin, key: '', role: admin}]}}").0.admin.keys, []);
}

#[test]
fn keys_that_mean_nothing_here_are_warnings_that_name_them() {
    let (_, warnings) = parse("apisix:\n  ssl: {enable: false}\nplugin_attr:\n  skywalking: {}\netcd: {}\n");
    let names: Vec<&str> = warnings.iter().filter_map(|text| text.split(": ").next()).collect();
    for name in ["apisix.ssl.enable", "plugin_attr.skywalking", "etcd"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn the_tutorials_key_works_with_one_warning_that_does_not_repeat_it() {
    const KEY: &str = "edd1c9f034335f136f87ad84b625c8f1";
    let keys = format!("admin_key: [{{name: ops, key: '{KEY}', role: admin}}, {{name: own, key: mine, role: viewer}}]");
    for (text, path) in [
        (format!("deployment: {{admin: {{{keys}}}}}"), "deployment.admin.admin_key: the key of `ops` "),
        (format!("apisix: {{{keys}}}"), "apisix.admin_key: the key of `ops` "),
    ] {
        let (config, warnings) = parse(&text);
        assert_eq!(config.admin.keys[0].key, KEY);
        assert!(warnings.len() == 1 && warnings[0].starts_with(path) && !warnings[0].contains(KEY), "{warnings:?}");
    }
    assert_eq!(parse(&format!("apisix: {{enable_admin: false, {keys}}}")).1, Vec::<String>::new());
    let (_, open) = parse(&format!("deployment: {{admin: {{admin_key_required: false, {keys}}}}}"));
    assert!(open.len() == 1 && open[0].starts_with("deployment.admin.admin_key_required: "), "{open:?}");
}

#[test]
fn wrong_values_are_reported_together_with_their_paths() {
    let found = problems(
        "apisix:\n  node_listen: 70000\nnginx_config:\n  worker_processes: many\ntollgate:\n  driver: kqueue\n  \
         hosts: {a: b}\n  ring: {bytes: 1m}\ndeployment:\n  admin:\n    allow_admin: [x]\n  role_traditional:\n    \
         config_provider: etcd\n",
    );
    for path in [
        "apisix.node_listen: expected a number from 1 to 65535, found 70000",
        "nginx_config.worker_processes: expected a number from 1 to 1024, found \"many\"",
        "tollgate.driver: expected one of auto, io_uring, epoll, found \"kqueue\"",
        "tollgate.hosts.a: expected host:port, found \"b\"",
        "tollgate.ring.bytes: ",
        "deployment.admin.allow_admin[1]: ",
        "deployment.role_traditional.config_provider: etcd is not supported",
    ] {
        assert!(found.iter().any(|text| text.starts_with(path)), "{path} is not in {found:#?}");
    }
    assert_eq!(found.len(), 7, "{found:#?}");
}

#[test]
fn what_is_no_yaml_or_no_mapping_is_refused() {
    assert!(problems("a: [")[0].starts_with(".: not YAML: "));
    assert_eq!(problems("just text"), [".: expected a mapping, found \"just text\""]);
    assert_eq!(problems("apisix: 7"), ["apisix: expected a mapping, found 7"]);
}

#[test]
fn what_has_no_effect_when_it_is_on_is_said_when_it_is_on() {
    let text = |on: &str, flag: &str| {
        format!("nginx_config: {{http: {{real_ip_recursive: {on}}}}}\napisix: {{match_uri_encoded_slash: {flag}}}\n")
    };
    for off in ["off", "\"off\"", "false"] {
        assert_eq!(parse(&text(off, "false")).1, Vec::<String>::new());
    }
    for on in ["on", "\"on\"", "true"] {
        let warnings = parse(&text(on, "true")).1;
        for (key, warning) in
            ["nginx_config.http.real_ip_recursive: ", "apisix.match_uri_encoded_slash: "].iter().zip(&warnings)
        {
            assert!(warning.starts_with(key) && warning.contains("no effect"), "{warnings:?}");
        }
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }
}

#[test]
fn a_prefix_that_no_metric_may_have_is_refused() {
    let prefix = |prefix: &str| format!("plugin_attr: {{prometheus: {{metric_prefix: '{prefix}'}}}}");
    for good in ["apisix_", "edge:", "_"] {
        assert_eq!(parse(&prefix(good)).0.prometheus.unwrap().prefix, good);
    }
    for bad in ["7x", "my-", "a b", "é"] {
        assert!(problems(&prefix(bad))[0].starts_with("plugin_attr.prometheus.metric_prefix: "), "{bad}");
    }
}

#[test]
fn nginx_levels_become_ours_and_none_is_made_up() {
    use ::log::LevelFilter;
    assert_eq!(parse("").0.log_level, None);
    for (word, level) in [("notice", LevelFilter::Info), ("warn", LevelFilter::Warn), ("emerg", LevelFilter::Error)] {
        assert_eq!(parse(&format!("nginx_config: {{error_log_level: {word}}}")).0.log_level, Some(level));
    }
    assert!(problems("nginx_config: {error_log_level: loud}")[0].starts_with("nginx_config.error_log_level: "));
}

#[test]
fn the_environment_fills_in() {
    let env = |name: &str| (name == "PORT").then(|| "9099".to_owned());
    let text = "apisix:\n  enable_ipv6: false\n  node_listen: ${{PORT}}\ntollgate:\n  data_dir: ${{DIR:=/data}}\n";
    let (config, _) = FileConfig::parse(text, &env).unwrap();
    assert_eq!((config.listen, config.tollgate.data_dir.as_str()), (vec![at("0.0.0.0:9099")], "/data"));
    assert_eq!(
        problems("tollgate: {data_dir: '${{DIR}}'}"),
        ["tollgate.data_dir: can't find environment variable DIR"]
    );
}

#[test]
fn trust_is_the_systems_unless_files_are_named_and_a_certificate_needs_its_key() {
    assert_eq!(parse("").0.trusted, [TrustSource::System]);
    let (config, warnings) = parse("apisix: {ssl: {ssl_trusted_certificate: 'system, /etc/own.pem'}}");
    assert_eq!(config.trusted, [TrustSource::System, TrustSource::File("/etc/own.pem".to_owned())]);
    assert_eq!(warnings, Vec::<String>::new());
    let (config, _) = parse("tollgate: {kafka: {tls_client_cert_file: c.pem, tls_client_key_file: k.pem}}");
    let files = CertificateFiles { certificate: "c.pem".to_owned(), key: "k.pem".to_owned() };
    assert_eq!(config.tollgate.client_certificate, Some(files));
    let half = problems("tollgate: {kafka: {tls_client_cert_file: c.pem}}");
    assert!(half[0].starts_with("tollgate.kafka.tls_client_key_file: "), "{half:?}");
}

#[test]
fn heads_have_limits_with_bounds_and_a_target_must_fit_its_head() {
    let limits = |text: &str| {
        let own = parse(&format!("tollgate: {{{text}}}")).0.tollgate;
        (own.request_limits, own.response_limits)
    };
    let default = crate::http::limits::HeadLimits::default();
    assert_eq!(limits(""), (default, default));
    let (request, response) = limits("request_head_bytes: 8k, request_header_count: 20, response_head_bytes: 1m");
    assert_eq!((request.head_bytes, request.header_count, request.target_bytes), (8192, 20, 8192 - 256));
    assert_eq!((response.head_bytes, response.header_count), (1 << 20, 100));
    for (text, found) in [
        (
            "request_head_bytes: 1023",
            "request_head_bytes: expected a size such as 65536, 64k or 1m, 1024 to 1048576 bytes",
        ),
        ("response_head_bytes: 2m", "response_head_bytes: expected a size"),
        ("request_header_count: 7", "request_header_count: expected a number from 8 to 10000, found 7"),
        ("response_header_count: many", "response_header_count: expected a number"),
        ("request_target_bytes: 63", "request_target_bytes: expected a size"),
        (
            "request_head_bytes: 8k, request_target_bytes: 8k",
            "request_target_bytes: a target of 8192 bytes does not fit a head of 8192 bytes (request_head_bytes): at most 7936",
        ),
    ] {
        let all = problems(&format!("tollgate: {{{text}}}"));
        assert!(all.len() == 1 && all[0].starts_with(&format!("tollgate.{found}")), "{all:?}");
    }
}

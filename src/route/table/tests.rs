//! Routing by example; each query names what must answer.

use serde_json::json;

use super::*;

fn entry(index: u32, uris: &[&str]) -> RouteEntry<String> {
    RouteEntry {
        uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
        hosts: Vec::new(),
        methods: MethodSet::default(),
        remote_addrs: Vec::new(),
        vars: None,
        priority: 0,
        index: RouteIndex(index),
    }
}

fn hosted(index: u32, hosts: &[&str], uris: &[&str]) -> RouteEntry<String> {
    RouteEntry { hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), ..entry(index, uris) }
}

fn get<'a>(host: &'a str, path: &'a str) -> RouteQuery<'a> {
    RouteQuery { host: host.as_bytes(), path: path.as_bytes(), method: b"GET", remote_addr: "127.0.0.1".parse().ok() }
}

fn found(table: &RouteTable<String>, query: &RouteQuery<'_>) -> Option<u32> {
    let lookup = |name| Operand::Text(String::as_bytes(name).into());
    table.find(query, &lookup).map(|index| index.0)
}

const MODES: [RouterMode; 3] = [RouterMode::HostUri, RouterMode::Uri, RouterMode::UriWithParameter];

#[test]
fn exact_beats_prefix_and_the_longer_prefix_the_shorter() {
    for mode in MODES {
        let table = RouteTable::build(
            vec![
                entry(0, &["/*"]),
                entry(1, &["/foo/*"]),
                entry(2, &["/foo/bar"]),
                entry(3, &["/foo*"]),
                entry(4, &["/a", "/b"]),
            ],
            mode,
        );
        let at = |path: &str| found(&table, &get("h", path));
        assert_eq!(at("/foo/bar"), Some(2));
        assert_eq!(at("/foo/bar/"), Some(1));
        assert_eq!(at("/foo/"), Some(1));
        assert_eq!(at("/foo"), Some(3));
        assert_eq!(at("/foobar"), Some(3));
        assert_eq!(at("/Foo"), Some(0));
        assert_eq!((at("/a"), at("/b"), at("/a/")), (Some(4), Some(4), Some(0)));
        assert_eq!(at("*"), None);
    }
}

#[test]
fn if_the_best_paths_conditions_fail_the_next_shorter_is_tried() {
    for mode in MODES {
        let mut exact = entry(0, &["/foo/bar"]);
        assert!(exact.methods.insert("POST"));
        let mut longer = entry(1, &["/foo/*"]);
        longer.remote_addrs.push(Cidr::parse("10.0.0.0/8").unwrap());
        let table = RouteTable::build(vec![exact, longer, entry(2, &["/*"])], mode);
        assert_eq!(found(&table, &get("h", "/foo/bar")), Some(2));
        assert_eq!(found(&table, &RouteQuery { method: b"POST", ..get("h", "/foo/bar") }), Some(0));
        let inside = RouteQuery { remote_addr: "10.1.1.1".parse().ok(), ..get("h", "/foo/bar") };
        assert_eq!(found(&table, &inside), Some(1));
        assert_eq!(found(&table, &RouteQuery { remote_addr: None, ..inside }), Some(2));
    }
}

#[test]
fn priority_orders_routes_of_one_path_and_no_others() {
    for mode in MODES {
        let with = |index, uri, priority| RouteEntry { priority, ..entry(index, &[uri]) };
        let table = RouteTable::build(
            vec![
                with(0, "/a", 0),
                with(1, "/a", 5),
                with(2, "/a", 5),
                with(3, "/*", 100),
                with(4, "/p*", -1),
                with(5, "/p*", 0),
            ],
            mode,
        );
        assert_eq!(found(&table, &get("h", "/a")), Some(1), "equal priority keeps the order given");
        assert_eq!(found(&table, &get("h", "/pq")), Some(5));
        assert_eq!(found(&table, &get("h", "/x")), Some(3));
    }
}

#[test]
fn in_host_mode_a_hosts_prefix_beats_an_exact_path_without_host() {
    let entries = || vec![entry(0, &["/foo/bar"]), hosted(1, &["Foo.com"], &["/*"])];
    let table = RouteTable::build(entries(), RouterMode::HostUri);
    assert_eq!(found(&table, &get("foo.com", "/foo/bar")), Some(1));
    assert_eq!(found(&table, &get("bar.com", "/foo/bar")), Some(0));
    let table = RouteTable::build(entries(), RouterMode::Uri);
    assert_eq!(found(&table, &get("foo.com", "/foo/bar")), Some(0));
    assert_eq!(found(&table, &get("foo.com", "/x")), Some(1));
    assert_eq!(found(&table, &get("bar.com", "/x")), None);
}

#[test]
fn wildcard_hosts_match_deeper_names_and_lose_to_exact_and_longer_ones() {
    let entries = || {
        vec![
            hosted(0, &["*.foo.com"], &["/*"]),
            hosted(1, &["a.foo.com"], &["/only"]),
            hosted(2, &["*.b.foo.com"], &["/*"]),
            hosted(3, &["*"], &["/any"]),
        ]
    };
    let table = RouteTable::build(entries(), RouterMode::HostUri);
    let at = |host: &str, path: &str| found(&table, &get(host, path));
    assert_eq!(at("x.foo.com", "/"), Some(0));
    assert_eq!(at(".foo.com", "/"), Some(0));
    assert_eq!(at("x.y.foo.com", "/"), Some(0));
    assert_eq!(at("foo.com", "/"), None);
    assert_eq!(at("a.foo.com", "/only"), Some(1));
    assert_eq!(at("a.foo.com", "/other"), Some(0), "an exact host without the path falls back to the wildcard");
    assert_eq!(at("x.b.foo.com", "/"), Some(2));
    assert_eq!(at("foo.com", "/any"), Some(3));
    let table = RouteTable::build(entries(), RouterMode::Uri);
    assert_eq!(found(&table, &get("a.foo.com", "/only")), Some(1));
    assert_eq!(found(&table, &get("foo.com", "/any")), Some(3));
    assert_eq!(found(&table, &get("foo.com", "/x")), None);
}

#[test]
fn methods_are_exact_and_unknown_ones_pass_only_without_a_list() {
    let mut set = MethodSet::default();
    assert!(set.allows(b"WHATEVER"));
    assert!(set.insert("GET") && set.insert("PURGE") && !set.insert("FROB"));
    assert!(set.allows(b"GET") && set.allows(b"PURGE"));
    assert!(!set.allows(b"get") && !set.allows(b"FROB") && !set.allows(b"POST") && !set.allows(b""));
}

#[test]
fn vars_decide_between_routes_of_one_path() {
    let expr = |value: &str| Expr::compile(&json!([["x", "==", value]]), &mut |name: &str| name.to_owned()).unwrap();
    let no = RouteEntry { vars: Some(expr("y")), priority: 9, ..entry(0, &["/a"]) };
    let yes = RouteEntry { vars: Some(expr("x")), priority: 8, ..entry(1, &["/a"]) };
    let table = RouteTable::build(vec![entry(2, &["/a"]), yes, no], RouterMode::HostUri);
    assert_eq!(found(&table, &get("h", "/a")), Some(1));
}

#[test]
fn parameter_routes_give_their_values_and_nothing_is_left_of_failed_ones() {
    let mut post = RouteEntry { priority: 1, ..entry(0, &["/blog/:post"]) };
    assert!(post.methods.insert("POST"));
    let entries = vec![post, entry(1, &["/blog/:name"]), entry(2, &["/blog/:name/*rest"]), entry(3, &["/*"])];
    let table = RouteTable::build(entries, RouterMode::UriWithParameter);
    let mut params = UriParams::new();
    let mut at = |path: &str| {
        let index = table.find_with_params(&get("h", path), &|_| Operand::Nil, &mut params).unwrap().0;
        let text = |span: Span| String::from_utf8(span.of(path.as_bytes()).to_vec()).unwrap();
        (index, params.iter().map(|(name, span)| format!("{name}={}", text(*span))).collect::<Vec<_>>())
    };
    assert_eq!(at("/blog/dog"), (1, vec!["name=dog".into()]));
    assert_eq!(at("/blog/dog/a/b"), (2, vec!["name=dog".into(), "rest=a/b".into()]));
    assert_eq!(at("/blog/"), (3, vec![]));
}

#[test]
fn colons_are_text_outside_parameter_mode() {
    for mode in [RouterMode::HostUri, RouterMode::Uri] {
        let table = RouteTable::build(vec![entry(0, &["/do:list"]), entry(1, &["/blog/:name"])], mode);
        assert_eq!(found(&table, &get("h", "/do:list")), Some(0));
        assert_eq!(found(&table, &get("h", "/blog/:name")), Some(1));
        assert_eq!(found(&table, &get("h", "/blog/dog")), None);
    }
}

#[test]
fn a_hundred_thousand_routes_are_all_found() {
    let entries = (0..100_000)
        .map(|index| match index % 4 {
            0 => hosted(index, &[&format!("h{index}.com")], &["/*"]),
            1 => hosted(index, &[&format!("*.w{index}.com")], &["/x"]),
            2 => entry(index, &[&format!("/exact/{index}")]),
            _ => entry(index, &[&format!("/prefix/{index}/*")]),
        })
        .collect();
    let table = RouteTable::build(entries, RouterMode::HostUri);
    assert_eq!(table.len(), 100_000);
    for index in (0..100_000).step_by(7) {
        let (host, path) = match index % 4 {
            0 => (format!("h{index}.com"), "/any".to_owned()),
            1 => (format!("a.w{index}.com"), "/x".to_owned()),
            2 => ("none".to_owned(), format!("/exact/{index}")),
            _ => ("none".to_owned(), format!("/prefix/{index}/more")),
        };
        assert_eq!(found(&table, &get(&host, &path)), Some(index));
    }
    assert_eq!(found(&table, &get("none", "/prefix/3")), None);
}

#[test]
fn an_empty_table_finds_nothing() {
    assert_eq!(found(&RouteTable::default(), &get("h", "/")), None);
    assert!(RouteTable::<String>::default().is_empty());
}

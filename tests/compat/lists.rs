//! §5.7: filters and pages.

use serde_json::{Value, json};

use super::gateway::{Gateway, started};

fn ids(gateway: &Gateway, query: &str) -> (Vec<String>, Value) {
    let reply = gateway.ask("GET", &format!("/routes{query}"), None);
    assert_eq!(reply.status, 200, "{query}: {}", reply.body);
    let body = reply.json();
    let id = |item: &Value| item["value"]["id"].as_str().unwrap().to_owned();
    (body["list"].as_array().unwrap().iter().map(id).collect(), body["total"].clone())
}

#[test]
fn pages_are_in_order_of_creation_and_lists_in_order_of_keys() {
    let (gateway, _dir) = started();
    for number in (1..=25).rev() {
        let body =
            json!({ "uri": "/a", "upstream": { "type": "roundrobin", "nodes": { "127.0.0.1:1": 1 } } }).to_string();
        assert_eq!(gateway.ask("PUT", &format!("/routes/{number:02}"), Some(&body)).status, 201);
    }
    let (all, total) = ids(&gateway, "");
    assert_eq!((all.len(), total), (25, json!(25)));
    assert!(all.is_sorted());
    let names = |numbers: std::ops::RangeInclusive<i32>| numbers.rev().map(|n| format!("{n:02}")).collect::<Vec<_>>();
    for (query, wanted) in [
        ("?page=1&page_size=10", names(16..=25)),
        ("?page=3&page_size=10", names(1..=5)),
        ("?page=0&page_size=10", names(16..=25)),
        ("?page=-7&page_size=10", names(16..=25)),
        ("?page=4&page_size=10", vec![]),
        ("?page=1e300&page_size=500", vec![]),
    ] {
        assert_eq!(ids(&gateway, query), (wanted, json!(25)), "{query}");
    }
    for query in ["?page=1", "?page_size=10", "?page=x&page_size=10", "?page=1&page_size=x"] {
        assert_eq!(ids(&gateway, query).0, all, "{query} is not paged");
    }
    for size in ["9", "501", "0", "-1"] {
        let reply = gateway.ask("GET", &format!("/routes?page=1&page_size={size}"), None);
        assert_eq!((reply.status, reply.body.as_str()), (400, "page_size must be between 10 and 500"), "{size}");
    }
}

#[test]
fn filters_are_all_applied() {
    let (gateway, _dir) = started();
    let up = json!({ "type": "roundrobin", "nodes": { "127.0.0.1:1": 1 } });
    assert_eq!(gateway.ask("PUT", "/services/1", Some("{}")).status, 201);
    assert_eq!(gateway.ask("PUT", "/upstreams/1", Some(&up.to_string())).status, 201);
    for (id, route) in [
        ("a", json!({ "uri": "/hello", "name": "one", "labels": { "env": "test" }, "upstream": up })),
        ("b", json!({ "uris": ["/world", "/hello/x"], "name": "two", "upstream": up })),
        (
            "c",
            json!({ "uri": "/c", "name": "three", "labels": { "zone": "env" }, "service_id": "1", "upstream_id": "1" }),
        ),
        ("d", json!({ "uri": "/d", "service_id": 1, "upstream": up })),
    ] {
        let reply = gateway.ask("PUT", &format!("/routes/{id}"), Some(&route.to_string()));
        assert_eq!(reply.status, 201, "{id}: {}", reply.body);
    }
    for (query, wanted) in [
        ("?name=o", vec!["a", "b"]),
        ("?name=%5Et", vec!["b", "c"]),
        ("?name=%5B", vec![]),
        ("?uri=hello", vec!["a", "b"]),
        ("?uri=%5E/hello$", vec!["a"]),
        ("?label=env", vec!["a"]),
        ("?label=nv", vec![]),
        ("?name=o&uri=hello&label=env", vec!["a"]),
        ("?filter=service_id%3D1", vec!["c"]),
        ("?filter=service_id%3D1%26upstream_id%3D1", vec!["c"]),
        ("?filter=service_id%3D2", vec![]),
        ("?filter=name%3Dnone", vec!["a", "b", "c", "d"]),
    ] {
        let (found, total) = ids(&gateway, query);
        assert_eq!(found, wanted, "{query}");
        assert_eq!(total, json!(wanted.len()), "{query}");
    }
    assert_eq!(ids(&gateway, "?uri=hello&page=2&page_size=10"), (vec![], json!(2)), "total counts before paging");
}

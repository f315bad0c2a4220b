//! `config_provider: yaml`: the routes in `apisix.yaml`, looked at while the gateway runs (APISIX-COMPAT §8.1).

use std::time::Duration;

use serde_json::json;

use crate::support::{Gateway, Setup, Upstream, wait_until};

/// How long a change may take to be served: the file is looked at every second.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(2);
/// More looks than one: what is said at each of them would be said twice.
const SEVERAL_LOOKS: Duration = Duration::from_millis(2_500);

/// Everything to one upstream, by one route whose upstream has an object of its own.
fn file(upstream: &Upstream) -> String {
    format!(
        "routes:\n  - id: all\n    uri: /*\n    upstream_id: 1\nupstreams:\n  - id: 1\n    type: roundrobin\n    nodes:\n      \
         \"{}\": 1\n#END\n",
        upstream.node()
    )
}

fn started(text: String) -> Gateway {
    let config = json!({"deployment": {"role_traditional": {"config_provider": "yaml"}}});
    Gateway::start_with(&Setup { standalone: Some(text), ..Setup::with(config) })
}

fn follows(gateway: &Gateway, body: &str) -> bool {
    wait_until(FOLLOWED_WITHIN, || (gateway.get("/").text() == body).then_some(())).is_some()
}

#[test]
fn a_changed_file_is_served_within_two_seconds_and_no_request_fails_meanwhile() {
    let (one, two) = (Upstream::saying("one"), Upstream::saying("two"));
    let gateway = started(file(&one));
    assert_eq!(gateway.get("/").text(), "one");
    gateway.put_standalone(&file(&two));
    let other = wait_until(FOLLOWED_WITHIN, || Some(gateway.get("/").text()).filter(|text| text != "one"));
    assert_eq!(other.as_deref(), Some("two"), "{}", gateway.log());
    gateway.put_standalone("routes: []\n#END\n");
    assert!(wait_until(FOLLOWED_WITHIN, || (gateway.get("/").status == 404).then_some(())).is_some());
}

#[test]
fn a_broken_file_changes_nothing_is_told_once_and_the_next_good_one_is_taken() {
    let (one, two) = (Upstream::saying("one"), Upstream::saying("two"));
    let gateway = started(file(&one));
    let whole = file(&two);
    for (broken, complaint) in [
        (whole.replace("#END", ""), "missing valid end flag in file"),
        (whole.replace("  - id: all", "  - id: [all"), "failed to parse"),
    ] {
        gateway.put_standalone(&broken);
        let other = wait_until(SEVERAL_LOOKS, || Some(gateway.get("/").text()).filter(|text| text != "one"));
        assert_eq!(other, None);
        assert_eq!(gateway.log().matches(complaint).count(), 1, "{}", gateway.log());
    }
    gateway.put_standalone(&whole);
    assert!(follows(&gateway, "two"), "{}", gateway.log());
}

#[test]
fn an_object_that_is_wrong_is_left_out_by_name_and_the_others_are_served() {
    let one = Upstream::saying("one");
    let wrong = "  - {id: odd, uri: /odd, plugins: {kafka-loger: {}}}\n";
    let gateway = started(file(&one).replace("upstreams:", &format!("{wrong}upstreams:")));
    assert_eq!(gateway.get("/odd").text(), "one", "the route for everything takes it");
    let log = gateway.log();
    assert!(log.contains("routes/odd") && log.contains("unknown plugin [kafka-loger]"), "{log}");
}

#[test]
fn the_admin_api_shows_the_file_and_refuses_changes() {
    let one = Upstream::saying("one");
    let gateway = started(file(&one));
    let (status, shown) = gateway.admin().call("GET", "routes/all", None);
    assert_eq!((status, &shown["value"]["uri"]), (200, &json!("/*")));
    let (status, answer) = gateway.admin().call("DELETE", "routes/all", None);
    assert_eq!(status, 405, "{answer}");
    assert_eq!(gateway.get("/").text(), "one");
}

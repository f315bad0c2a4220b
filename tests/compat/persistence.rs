//! What was answered is there after a restart, also after kill -9.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tollgate::config::publish::Stage;

use super::client::send;
use super::gateway::{ADMIN_KEY, Dir, Gateway, config, started};

const ROUTE: &str = r#"{"uri":"/a","upstream":{"type":"roundrobin","nodes":{"127.0.0.1:1980":1}}}"#;
/// Set for the child process of the tests below: where it keeps its files.
const CHILD: &str = "TOLLGATE_COMPAT_CHILD_DIR";

#[test]
fn a_restart_finds_objects_indexes_and_revision() {
    let (gateway, dir) = started();
    assert_eq!(gateway.ask("PUT", "/routes/1", Some(ROUTE)).status, 201);
    assert_eq!(gateway.ask("PUT", "/routes/1", Some(ROUTE)).status, 200);
    assert_eq!(gateway.ask("PUT", "/routes/2?ttl=1", Some(ROUTE)).status, 201);
    assert_eq!(gateway.ask("PUT", "/routes/3", Some(ROUTE)).status, 201);
    assert_eq!(gateway.ask("DELETE", "/routes/3", None).status, 200);
    let before = gateway.ask("GET", "/routes/1", None).json();
    gateway.stop().unwrap();
    std::thread::sleep(Duration::from_millis(1_100));
    let again = Gateway::start(config(dir.path()), &dir.path().join("config.yaml"));
    assert_eq!(again.ask("GET", "/routes/1", None).json(), before);
    assert_eq!(again.ask("GET", "/routes/2", None).status, 404, "expired while nobody was there");
    let reply = again.ask("POST", "/routes", Some(ROUTE)).json();
    let id: u64 = reply["value"]["id"].as_str().unwrap().parse().unwrap();
    assert!(id >= 6, "the revision goes on: {id}");
}

/// Not a test: the process that the next two tests start and kill. It writes down how far it is on its way out, and leaves when it
/// is told to for the second time.
#[test]
#[ignore = "run by the tests below as a child process"]
fn child_process() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let dir = Path::new(&dir);
    let write = |name: &str, text: &str| {
        std::fs::write(dir.join("new"), text).unwrap();
        std::fs::rename(dir.join("new"), dir.join(name)).unwrap();
    };
    let gateway = Gateway::start_slowly(config(dir), &dir.join("config.yaml"), 0, || {
        if dir.join("wait").exists() {
            write("bound", "");
            appears(&dir.join("go"));
        }
    });
    write("address", &gateway.admin.to_string());
    for (stage, name) in [(Stage::Drain, "drains"), (Stage::Exit, "leaves")] {
        let started = Instant::now();
        while gateway.board.stage() < stage {
            assert!(started.elapsed() < Duration::from_secs(60), "nobody needs this process any more");
            std::thread::sleep(Duration::from_millis(5));
        }
        write(name, "");
    }
    gateway.stop().unwrap();
}

fn child(dir: &Path) -> (Child, SocketAddr) {
    (spawned(dir), appears(&dir.join("address")).parse().unwrap())
}

fn spawned(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "persistence::child_process", "--ignored"])
        .env(CHILD, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn terminate(child: &Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
}

fn appears(path: &Path) -> String {
    let started = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(path) {
            return text;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{} appears", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn after_kill_9_every_answered_change_is_there() {
    let dir = Dir::new();
    let (mut child, address) = child(dir.path());
    for number in 0..50 {
        let target = format!("/apisix/admin/routes/{number}");
        assert_eq!(send(address, "PUT", &target, &[("X-API-KEY", ADMIN_KEY)], Some(ROUTE)).status, 201);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let again = Gateway::start(config(dir.path()), &dir.path().join("config.yaml"));
    let all = again.ask("GET", "/routes", None).json();
    assert_eq!(all["total"], json!(50));
    assert!(all["list"].as_array().unwrap().iter().all(|item| item["value"]["uri"] == "/a"));
    assert_eq!(again.board.current().1.revision, 50, "what the cores get is what was stored");
}

#[test]
fn the_first_sigterm_drains_and_the_second_leaves() {
    let dir = Dir::new();
    let (mut child, address) = child(dir.path());
    terminate(&child);
    appears(&dir.path().join("drains"));
    let headers = [("X-API-KEY", ADMIN_KEY)];
    assert_eq!(
        send(address, "GET", "/apisix/admin/routes", &headers, None).status,
        200,
        "still there while cores drain"
    );
    assert!(!dir.path().join("leaves").exists());
    terminate(&child);
    appears(&dir.path().join("leaves"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_sigterm_that_comes_before_anybody_serves_drains() {
    let dir = Dir::new();
    std::fs::write(dir.path().join("wait"), "").unwrap();
    let mut child = spawned(dir.path());
    appears(&dir.path().join("bound"));
    terminate(&child);
    std::fs::write(dir.path().join("go"), "").unwrap();
    appears(&dir.path().join("drains"));
    terminate(&child);
    appears(&dir.path().join("leaves"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn two_gateways_do_not_share_a_data_dir() {
    let (_gateway, dir) = started();
    let errors = tollgate::control::prepare(config(dir.path()), &dir.path().join("config.yaml")).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("another gateway has it open") && errors[0].contains("tollgate.data_dir"), "{errors:?}");
}

#[test]
fn a_taken_port_is_one_line_that_names_it_and_its_key() {
    let (gateway, _dir) = started();
    let dir = Dir::new();
    let mut config = config(dir.path());
    config.admin.listen = gateway.admin;
    config.status = Some(gateway.status);
    let mut control = tollgate::control::prepare(config, &dir.path().join("config.yaml")).unwrap();
    let errors = control.bind().unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains(&gateway.admin.to_string()) && errors[0].contains("deployment.admin.admin_listen"));
    assert!(errors[1].contains(&gateway.status.to_string()) && errors[1].contains("apisix.status"));
}

//! How connections are divided among cores.

use serde_json::{Value, json};

use crate::support::client::get;
use crate::support::{Client, Gateway, Setup, wait_for};

/// Connections at once.
const CLIENTS: usize = 64;
/// Times that they are opened and closed.
const RUNS: usize = 50;

#[test]
fn keep_alive_connections_spread_within_a_quarter_of_even_in_50_of_50_runs() {
    spread(RUNS, json!({}));
}

#[test]
fn with_epoll_they_spread_as_well() {
    spread(3, json!({"tollgate": {"driver": "epoll"}}));
}

fn spread(runs: usize, config: Value) {
    let gateway = Gateway::start_with(&Setup { workers: 4, metrics: true, config, ..Setup::default() });
    for run in 0..runs {
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.connect()).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.exchange(get("/")).status, 404));
        let open = wait_for("every connection is counted", || {
            let open = open_per_core(&gateway);
            (open.iter().sum::<usize>() == CLIENTS).then_some(open)
        });
        assert!(open.len() == 4 && open.iter().all(|open| (12..=20).contains(open)), "run {run}: {open:?}");
        drop(clients);
        wait_for("every connection has ended", || (open_per_core(&gateway).iter().sum::<usize>() == 0).then_some(()));
    }
    assert!(gateway.metric("tollgate_connections_handed_over_total") > 0, "the kernel alone does not do it");
}

#[test]
fn connections_one_after_the_other_do_not_change_the_core() {
    let gateway = Gateway::start_with(&Setup { workers: 4, metrics: true, ..Setup::default() });
    for _ in 0..100 {
        assert_eq!(gateway.get("/").status, 404);
    }
    assert_eq!(gateway.metric("tollgate_connections_handed_over_total"), 0);
}

/// `tollgate_connections_open` of each core.
fn open_per_core(gateway: &Gateway) -> Vec<usize> {
    let text = gateway.scrape();
    let lines = text.lines().filter(|line| line.starts_with("tollgate_connections_open{"));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect()
}

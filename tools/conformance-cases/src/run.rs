//! Runs cases one after another through a proxy that leads to the upstream.

use std::net::SocketAddr;
use std::time::Duration;

use crate::case::Case;
use crate::judge::{Seen, judge};
use crate::{Upstream, client};

/// Milliseconds that the upstream gets to write down what reached it.
const SETTLE_MS: u64 = 8;

/// How a case went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub id: String,
    /// What was seen instead of what must be.
    pub verdict: Result<(), String>,
}

/// Runs `cases`, in order. `upstream` is used by nobody else meanwhile.
pub fn run_all(cases: &[Case], proxy: SocketAddr, upstream: &Upstream) -> Vec<Outcome> {
    cases.iter().map(|case| Outcome { id: case.id.clone(), verdict: run(case, proxy, upstream) }).collect()
}

fn run(case: &Case, proxy: SocketAddr, upstream: &Upstream) -> Result<(), String> {
    upstream.begin(&case.answers);
    let mut at_upstream = Default::default();
    let view = client::run(case, proxy, || {
        std::thread::sleep(Duration::from_millis(SETTLE_MS));
        at_upstream = upstream.seen();
        // What the probe meets is a usual answer.
        upstream.begin(&[]);
    });
    let view = view.map_err(|error| format!("no connection: {error}"))?;
    let (requests, broken_up) = at_upstream;
    let client::View { interims, finals, broken, ended } = view;
    judge(case, &Seen { interims, finals, requests, broken_down: broken, broken_up, ended })
}

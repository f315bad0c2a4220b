//! The conformance table (`tools/conformance-cases`) against the gateway: what RFC 9110 and RFC 9112 ask of a proxy, case by case.

use conformance_cases::{Case, Outcome, Upstream, cases, run_all};

use crate::support::Gateway;

/// Cases run at once, each share before a gateway and an upstream of its own.
const LANES: usize = 4;

fn lane(cases: &[Case]) -> Vec<Outcome> {
    let upstream = Upstream::start().expect("a free port");
    let gateway = Gateway::start();
    gateway.admin().route("all", "/*", &[(&upstream.address().to_string(), 1)]);
    gateway.admin().route("asterisk", "*", &[(&upstream.address().to_string(), 1)]);
    run_all(cases, gateway.address(), &upstream)
}

#[test]
fn every_case_of_the_table_holds() {
    let all = cases::all();
    let shares: Vec<&[Case]> = all.chunks(all.len().div_ceil(LANES)).collect();
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let lanes: Vec<_> = shares.iter().map(|share| scope.spawn(|| lane(share))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane ends")).collect()
    });
    assert_eq!(outcomes.len(), all.len());
    let failed: Vec<String> =
        outcomes.iter().filter_map(|one| Some(format!("{}: {}", one.id, one.verdict.as_ref().err()?))).collect();
    assert!(failed.is_empty(), "{} of {} cases fail:\n{}", failed.len(), all.len(), failed.join("\n"));
}

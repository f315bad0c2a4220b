//! What we forward is read the same way by the servers that people run behind a gateway: nginx, Node and gunicorn, as Debian has
//! them. No connection of a client, however it is made up, has one of them see a request that the client did not send.
//!
//! `TOLLGATE_TEST_SERVERS=all` asks for them; without it nothing is started, and each test says so.

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod servers;

use std::time::Duration;

use cases::{Case, Expected, Sent};
use servers::{Kind, Seen, Server};
use support::client::End;
use support::{Client, Gateway, wait_for};

/// How long a connection must be silent until we take it that nothing more comes.
const QUIET: Duration = Duration::from_millis(150);

#[test]
fn nginx_sees_what_clients_sent_and_nothing_else() {
    behind_the_gateway(Kind::Nginx);
}

#[test]
fn node_sees_what_clients_sent_and_nothing_else() {
    behind_the_gateway(Kind::Node);
}

#[test]
fn a_lenient_node_sees_what_clients_sent_and_nothing_else() {
    behind_the_gateway(Kind::LenientNode);
}

#[test]
fn gunicorn_sees_what_clients_sent_and_nothing_else() {
    behind_the_gateway(Kind::Gunicorn);
}

/// The same cases and the same judge, without the gateway: were there nothing to see, the tests above would show nothing.
#[test]
fn without_the_gateway_some_of_them_do_see_more() {
    if !asked_for() {
        return;
    }
    for kind in [Kind::LenientNode, Kind::Gunicorn] {
        let server = Server::start(kind);
        let mut cases = cases::all();
        cases.retain(|case| matches!(case.expected, Expected::AtMost(_)));
        for (number, case) in cases.iter().enumerate() {
            let mut client = Client::connect(server.address());
            client.send(with_number(&case.bytes, number));
            drain(&mut client);
        }
        let wrong = judge(&cases, &server.seen().0).len();
        println!("{kind:?} alone sees too much in {wrong} of {} cases", cases.len());
        assert!(wrong > 0, "{kind:?}");
    }
}

fn asked_for() -> bool {
    let asked = std::env::var_os("TOLLGATE_TEST_SERVERS").is_some();
    if !asked {
        println!("skipped: TOLLGATE_TEST_SERVERS does not ask for nginx, Node and gunicorn");
    }
    asked
}

fn behind_the_gateway(kind: Kind) {
    if !asked_for() {
        return;
    }
    let server = Server::start(kind);
    let gateway = Gateway::start();
    gateway.admin().route("all", "/*", &[(&server.node(), 1)]);
    let cases = cases::all();
    for (number, case) in cases.iter().enumerate() {
        send(gateway.connect(), number, case);
        // A plain request after each case: it goes over the connection to the server that the case may have left out of step.
        let answer = gateway.connect().exchange(format!("GET /{number:03}/after HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!((answer.status, answer.body.len()), (200, 2), "after {}", shown(case, number));
    }
    let last = format!("/{:03}/after", cases.len() - 1);
    wait_for("the last request is written down", || {
        server.seen().0.iter().any(|seen| seen.target == last).then_some(())
    });
    let (seen, refused) = server.seen();
    let wrong = judge(&cases, &seen);
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(seen.iter().filter(|seen| seen.target.ends_with("/after")).count(), cases.len());
    assert_eq!(refused, 0, "what we forward is never garbage to {kind:?}");
    println!("{kind:?}: {} cases, {} requests seen", cases.len(), seen.len());
}

/// Sends a case and reads what comes back, until that is the end or nothing more comes.
fn send(mut client: Client, number: usize, case: &Case) {
    client.send(with_number(&case.bytes, number));
    if let Expected::Exactly(sent) = &case.expected {
        for _ in sent {
            if client.try_response().is_err() {
                return;
            }
        }
    }
    drain(&mut client);
}

/// Reads until the end, or until nothing more comes.
fn drain(client: &mut Client) {
    while let End::Bytes(bytes) = client.end_within(QUIET) {
        let _ = client.read_some(bytes.len());
    }
}

fn with_number(bytes: &[u8], number: usize) -> Vec<u8> {
    let parts: Vec<&[u8]> = bytes.split(|&byte| byte == b'^').collect();
    parts.join(format!("{number:03}").as_bytes())
}

fn shown(case: &Case, number: usize) -> String {
    format!("case {number}: {}", with_number(&case.bytes, number).escape_ascii())
}

/// What was seen that should not have been, or not seen that should have been; a line for each case.
fn judge(cases: &[Case], seen: &[Seen]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut accounted = 0;
    for (number, case) in cases.iter().enumerate() {
        let place = |text: &str| text.replace('^', &format!("{number:03}"));
        let of_case = |seen: &&Seen| {
            seen.target.contains(&format!("/{number:03}/")) && seen.target != format!("/{number:03}/after")
        };
        let found: Vec<Sent> = seen
            .iter()
            .filter(of_case)
            .map(|seen| (seen.method.clone(), seen.target.clone(), seen.body.clone()))
            .collect();
        accounted += found.len();
        let (Expected::Exactly(sent) | Expected::AtMost(sent)) = &case.expected;
        let sent: Vec<Sent> =
            sent.iter().map(|(method, target, body)| (method.clone(), place(target), place(body))).collect();
        let fits = match case.expected {
            Expected::Exactly(_) => found == sent,
            Expected::AtMost(_) => sent.starts_with(&found),
        };
        if !fits {
            wrong.push(format!("{}\n  sent {sent:?}\n  seen {found:?}", shown(case, number)));
        }
    }
    let after = seen.iter().filter(|seen| seen.target.ends_with("/after")).count();
    if accounted + after != seen.len() {
        wrong.push(format!("{} requests belong to no case: {seen:?}", seen.len() - accounted - after));
    }
    wrong
}

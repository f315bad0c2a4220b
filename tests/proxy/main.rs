//! The gateway between awkward peers, from outside: the binary, real sockets, exact bytes.

#[path = "../support/mod.rs"]
mod support;

mod balancing;
mod balancing_ways;
mod bodies;
mod command_line;
mod conformance;
mod connections;
mod crowds;
mod dns;
mod errors;
mod headers;
mod health;
mod https_upstreams;
mod keepalive_pool;
mod lifecycle;
mod limits;
mod many;
mod refused_requests;
mod refused_responses;
mod retries;
mod slow_peers;
mod spread;
mod standalone;
mod takeover;
mod tunnels;
mod unix_upstreams;

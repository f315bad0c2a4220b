//! What `tools/faults` does to a cluster of its own: nodes by number, killed, held, stopped, started again.

use std::time::Duration;

use super::OwnCluster;
use super::cluster::Cluster;
use super::layout::Place;
use super::properties::{Security, Shape};
use super::version::Version;
use crate::Outcome;
use crate::process::{Signal, State};

/// How long a node may take to stop by itself. With all three stopping, the last one waits for controllers that are gone.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long a killed process may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);

impl OwnCluster {
    /// Starts three nodes. A cluster of this name that was left behind is ended first.
    pub fn up_three(name: &str, base: u16) -> Outcome<Self> {
        let place = Place::new(super::ROOT.as_ref(), name);
        if let Some(mut old) = Cluster::load(&place)? {
            old.down(&place)?;
        }
        let shape = Shape { version: Version::V4_1, nodes: 3, base, security: Security::default() };
        let cluster = Cluster::up(&place, shape)?;
        Ok(Self { place, cluster })
    }

    /// Every node's number.
    pub fn nodes(&self) -> Vec<u16> {
        (1..=self.cluster.shape().nodes).collect()
    }

    /// Every node's address, also of those that are down.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes().into_iter().map(|node| self.cluster.address(node)).collect()
    }

    /// The address of a node that runs.
    pub fn any_address(&self) -> Outcome<String> {
        let running = self.cluster.running().into_iter().next();
        running.map(|(_, address)| address).ok_or_else(|| "no node is running".to_owned())
    }

    /// kill -9.
    pub fn kill(&self, node: u16) -> Outcome {
        self.cluster.signal(&node.to_string(), Signal::Kill)
    }

    /// SIGSTOP.
    pub fn hold(&self, node: u16) -> Outcome {
        self.cluster.signal(&node.to_string(), Signal::Stop)
    }

    /// SIGCONT.
    pub fn release(&self, node: u16) -> Outcome {
        self.cluster.signal(&node.to_string(), Signal::Continue)
    }

    /// Stops nodes with SIGTERM, all at once, and waits. Gives those that had to be killed in the end.
    pub fn stop(&self, nodes: &[u16]) -> Outcome<Vec<u16>> {
        for node in nodes {
            self.cluster.signal(&node.to_string(), Signal::Term)?;
        }
        let mut killed = Vec::new();
        let end = std::time::Instant::now() + STOP_LIMIT;
        for (name, identity, _) in self.cluster.states() {
            let Some(node) = name.parse().ok().filter(|node| nodes.contains(node)) else { continue };
            if !identity.wait_gone(end.saturating_duration_since(std::time::Instant::now())) {
                identity.signal(Signal::Kill);
                identity.wait_gone(KILL_LIMIT);
                killed.push(node);
            }
        }
        Ok(killed)
    }

    /// Starts every node that is gone, lets every held one go on, and waits until they list each other.
    pub fn make_whole(&mut self) -> Outcome {
        let states = self.cluster.states();
        for (_, identity, _) in states.iter().filter(|(.., state)| *state == State::Paused) {
            identity.signal(Signal::Continue);
        }
        let gone = states.into_iter().filter(|(.., state)| *state == State::Gone).map(|(name, ..)| name);
        self.cluster.start(&self.place, &gone.collect::<Vec<_>>())
    }
}

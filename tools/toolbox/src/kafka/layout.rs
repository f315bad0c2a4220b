//! Where a cluster's ports and files lie, as values: nothing is opened here.

use std::path::{Path, PathBuf};

/// The port of the first broker unless somebody says otherwise: the tutorial's.
pub const DEFAULT_BASE: u16 = 9092;
/// From a broker's plain port to its SASL_PLAINTEXT one.
const SASL_STEP: u16 = 10;
/// From a broker's plain port to its SSL one.
const TLS_STEP: u16 = 20;
/// From a broker's plain port to its SSL one that asks for a client certificate.
const MUTUAL_TLS_STEP: u16 = 25;
/// From a broker's plain port to its SASL_SSL one.
const SASL_TLS_STEP: u16 = 30;
/// From a broker's plain port to its SSL one with a certificate that has expired.
const EXPIRED_TLS_STEP: u16 = 35;
/// From a broker's plain port to its controller's.
const CONTROLLER_STEP: u16 = 40;
/// From the first broker's plain port to ZooKeeper's, when the base was moved.
const ZOOKEEPER_STEP: u16 = 50;
/// ZooKeeper's port in the tutorial.
const ZOOKEEPER_DEFAULT: u16 = 2181;

/// The ports of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// PLAINTEXT: clients and the other brokers.
    pub plain: u16,
    /// SASL_PLAINTEXT.
    pub sasl: u16,
    /// SSL.
    pub tls: u16,
    /// SSL with a client certificate.
    pub mutual_tls: u16,
    /// SASL_SSL.
    pub sasl_tls: u16,
    /// SSL with a certificate that has expired.
    pub expired_tls: u16,
    /// The KRaft controller.
    pub controller: u16,
}

/// The ports of node 1, 2 or 3.
pub const fn node_ports(base: u16, node: u16) -> NodePorts {
    let plain = base + node - 1;
    NodePorts {
        plain,
        sasl: plain + SASL_STEP,
        tls: plain + TLS_STEP,
        mutual_tls: plain + MUTUAL_TLS_STEP,
        sasl_tls: plain + SASL_TLS_STEP,
        expired_tls: plain + EXPIRED_TLS_STEP,
        controller: plain + CONTROLLER_STEP,
    }
}

/// ZooKeeper's port beside brokers that start at `base`.
pub const fn zookeeper_port(base: u16) -> u16 {
    if base == DEFAULT_BASE { ZOOKEEPER_DEFAULT } else { base + ZOOKEEPER_STEP }
}

/// A fresh sibling of `path` to build it in before it is renamed: a run that was cut off leaves nothing that looks whole.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    path.with_file_name(name)
}

/// Where a cluster of one name keeps its things.
#[derive(Clone, Debug)]
pub struct Place {
    root: PathBuf,
    name: String,
}

impl Place {
    /// The place under `root`, the tools' own directory for Kafka.
    ///
    /// Paths are made absolute: Maven and Kafka run with working directories of their own.
    pub fn new(root: &Path, name: &str) -> Self {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        Self { root, name: name.to_owned() }
    }

    /// Everything of this cluster.
    pub fn dir(&self) -> PathBuf {
        self.root.join("run").join(&self.name)
    }

    /// What was started, as JSON.
    pub fn state(&self) -> PathBuf {
        self.dir().join("cluster.json")
    }

    /// A node's properties.
    pub fn properties(&self, node: &str) -> PathBuf {
        self.dir().join(format!("{node}.properties"))
    }

    /// A node's log.
    pub fn log(&self, node: &str) -> PathBuf {
        self.dir().join(format!("{node}.log"))
    }

    /// A node's data.
    pub fn data(&self, node: &str) -> PathBuf {
        self.dir().join(format!("{node}-data"))
    }

    /// Keys and certificates.
    pub fn certificates(&self) -> PathBuf {
        self.dir().join("certs")
    }

    /// The jars of a version, shared by all clusters.
    pub fn jars(&self, version: &str) -> PathBuf {
        self.root.join("jars").join(version)
    }

    /// Formatted empty storage of one node, shared by all clusters.
    pub fn template(&self, version: &str, node: u16, sasl: bool) -> PathBuf {
        self.root.join("formatted").join(format!("{version}-{node}{}", if sasl { "-sasl" } else { "" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_listeners_of_three_nodes_share_a_port() {
        let mut ports = vec![zookeeper_port(DEFAULT_BASE), zookeeper_port(20_000) - 20_000 + DEFAULT_BASE];
        for node in 1..=3 {
            let node = node_ports(DEFAULT_BASE, node);
            ports.extend([
                node.plain,
                node.sasl,
                node.tls,
                node.mutual_tls,
                node.sasl_tls,
                node.expired_tls,
                node.controller,
            ]);
        }
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), count);
    }

    #[test]
    fn the_tutorials_ports_are_the_default() {
        assert_eq!((1..=3).map(|node| node_ports(DEFAULT_BASE, node).plain).collect::<Vec<_>>(), [9092, 9093, 9094]);
        assert_eq!(zookeeper_port(DEFAULT_BASE), 2181);
    }
}

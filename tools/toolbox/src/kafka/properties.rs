//! The files that a node is started with, as text. Small and quick to fail over: these brokers serve tests.

use std::path::Path;

use super::layout::{NodePorts, node_ports};
use super::version::Version;

/// The user of SASL PLAIN, and its password.
pub const PLAIN_USER: (&str, &str) = ("bob", "bob-secret");
/// The user of SASL SCRAM, and its password.
pub const SCRAM_USER: (&str, &str) = ("alice", "alice-secret");
/// The password of the PKCS12 stores.
pub const STORE_PASSWORD: &str = "changeit";

/// What a cluster offers besides PLAINTEXT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// SASL listeners.
    pub sasl: bool,
    /// TLS listeners.
    pub tls: bool,
    /// How long a SASL session is good, in milliseconds (`connections.max.reauth.ms`); 0: for ever.
    pub reauth_ms: u32,
}

/// A cluster's shape.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Which Kafka.
    pub version: Version,
    /// How many brokers: 1 or 3.
    pub nodes: u16,
    /// The first broker's port.
    pub base: u16,
    /// Other listeners.
    pub security: Security,
}

impl Shape {
    /// Ports that a node listens on, each with what it is for.
    pub fn ports(&self, node: u16) -> Vec<(u16, &'static str)> {
        let ports = node_ports(self.base, node);
        let mut all: Vec<(u16, &str)> = self.listeners(ports).iter().map(|(name, port, _)| (*port, *name)).collect();
        if !self.version.with_zookeeper() {
            all.push((ports.controller, "CONTROLLER"));
        }
        all
    }

    /// Name, port and security protocol of each listener for clients.
    fn listeners(&self, ports: NodePorts) -> Vec<(&'static str, u16, &'static str)> {
        let Security { sasl, tls, .. } = self.security;
        let mut all = vec![("PLAINTEXT", ports.plain, "PLAINTEXT")];
        if sasl {
            all.push(("SASLP", ports.sasl, "SASL_PLAINTEXT"));
        }
        if tls {
            all.push(("TLS", ports.tls, "SSL"));
            all.push(("MTLS", ports.mutual_tls, "SSL"));
            all.push(("EXPIRED", ports.expired_tls, "SSL"));
        }
        if sasl && tls {
            all.push(("SASLS", ports.sasl_tls, "SASL_SSL"));
        }
        all
    }
}

/// A broker's `server.properties`.
pub fn broker(shape: &Shape, node: u16, data: &Path, certificates: &Path, zookeeper: u16) -> String {
    let ports = node_ports(shape.base, node);
    let listeners = shape.listeners(ports);
    let addresses = listeners.iter().map(|(name, port, _)| format!("{name}://127.0.0.1:{port}")).collect::<Vec<_>>();
    let protocols = listeners.iter().map(|(name, _, protocol)| format!("{name}:{protocol}")).collect::<Vec<_>>();
    let (addresses, protocols) = (addresses.join(","), protocols.join(","));
    let mut text = format!(
        "advertised.listeners={addresses}\ninter.broker.listener.name=PLAINTEXT\nlog.dirs={}\n",
        data.display()
    );
    if shape.version.with_zookeeper() {
        text += &format!(
            "broker.id={node}\nzookeeper.connect=127.0.0.1:{zookeeper}\nzookeeper.session.timeout.ms=3000\n\
             listeners={addresses}\nlistener.security.protocol.map={protocols}\n"
        );
    } else {
        let voters = (1..=shape.nodes).map(|id| format!("{id}@127.0.0.1:{}", node_ports(shape.base, id).controller));
        text += &format!(
            "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={}\n\
             controller.listener.names=CONTROLLER\nlisteners={addresses},CONTROLLER://127.0.0.1:{}\n\
             listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT\n",
            voters.collect::<Vec<_>>().join(","),
            ports.controller
        );
    }
    text += SMALL;
    text += &replication(shape);
    if shape.security.sasl {
        text += &sasl(shape.security.tls);
        if shape.security.reauth_ms > 0 {
            text += &format!("connections.max.reauth.ms={}\n", shape.security.reauth_ms);
        }
    }
    if shape.security.tls {
        text += &tls(certificates, shape.version);
    }
    text
}

/// Few threads and small buffers: the log cleaner's default buffer alone would fill the heap.
const SMALL: &str = "\
auto.create.topics.enable=true
num.network.threads=2
num.io.threads=2
num.replica.fetchers=1
num.recovery.threads.per.data.dir=1
background.threads=2
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.io.buffer.size=65536
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
";

/// Copies, and on three nodes: notice a dead broker or a stale replica in seconds (defaults: 9 and 30).
fn replication(shape: &Shape) -> String {
    let copies = shape.nodes;
    let in_sync = copies.div_ceil(2);
    // More than one, so that whoever forgets about partitions finds out.
    let partitions = copies.max(2);
    let mut text = format!(
        "num.partitions={partitions}\ndefault.replication.factor={copies}\nmin.insync.replicas={in_sync}\n\
         offsets.topic.replication.factor={copies}\ntransaction.state.log.replication.factor={copies}\n\
         transaction.state.log.min.isr={in_sync}\n"
    );
    if shape.version == Version::V4_1 {
        text += &format!(
            "share.coordinator.state.topic.replication.factor={copies}\n\
             share.coordinator.state.topic.min.isr={in_sync}\nshare.coordinator.state.topic.num.partitions=1\n"
        );
    }
    if copies == 1 {
        text += "controlled.shutdown.enable=false\n";
        return text;
    }
    text += "replica.lag.time.max.ms=3000\ncontrolled.shutdown.enable=true\n";
    if !shape.version.with_zookeeper() {
        text += "broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n\
                 controller.quorum.election.timeout.ms=500\ncontroller.quorum.fetch.timeout.ms=1000\n\
                 controller.quorum.election.backoff.max.ms=500\n";
    }
    text
}

fn sasl(with_tls: bool) -> String {
    let mut text = "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n".to_owned();
    let (user, password) = PLAIN_USER;
    for listener in if with_tls { &["saslp", "sasls"][..] } else { &["saslp"][..] } {
        text += &format!(
            "listener.name.{listener}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
             required user_{user}=\"{password}\";\n"
        );
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            text += &format!(
                "listener.name.{listener}.{mechanism}.sasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
            );
        }
    }
    text
}

fn tls(certificates: &Path, version: Version) -> String {
    let dir = certificates.display();
    // Kafka 2.8 takes no PEM key without a password.
    let keys = |prefix: &str, name: &str| match version {
        Version::V2_8 => format!(
            "{prefix}ssl.keystore.type=PKCS12\n{prefix}ssl.keystore.location={dir}/{name}.p12\n\
             {prefix}ssl.keystore.password={STORE_PASSWORD}\n{prefix}ssl.key.password={STORE_PASSWORD}\n"
        ),
        Version::V3_9 | Version::V4_1 => {
            format!("{prefix}ssl.keystore.type=PEM\n{prefix}ssl.keystore.location={dir}/{name}.keystore.pem\n")
        }
    };
    let (keys, expired) = (keys("", "broker"), keys("listener.name.expired.", "expired"));
    format!(
        "{keys}{expired}ssl.truststore.type=PEM\nssl.truststore.location={dir}/ca.pem\nssl.client.auth=none\n\
         listener.name.mtls.ssl.client.auth=required\n"
    )
}

/// ZooKeeper's configuration. Short ticks, so that a killed broker's session ends soon.
pub fn zookeeper(port: u16, data: &Path) -> String {
    format!(
        "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\ntickTime=500\n\
         admin.enableServer=false\n",
        data.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(version: Version, nodes: u16, security: Security) -> Shape {
        Shape { version, nodes, base: 9092, security }
    }

    fn text(shape: &Shape) -> String {
        broker(shape, 1, Path::new("d"), Path::new("c"), 2181)
    }

    #[test]
    fn kraft_names_all_voters_and_zookeeper_none() {
        let kraft = text(&shape(Version::V4_1, 3, Security::default()));
        assert!(kraft.contains("controller.quorum.voters=1@127.0.0.1:9132,2@127.0.0.1:9133,3@127.0.0.1:9134\n"));
        let old = text(&shape(Version::V2_8, 3, Security::default()));
        assert!(old.contains("zookeeper.connect=127.0.0.1:2181\n") && !old.contains("quorum"));
    }

    #[test]
    fn every_listener_has_a_protocol_and_an_address() {
        let all = text(&shape(Version::V3_9, 1, Security { sasl: true, tls: true, reauth_ms: 0 }));
        for (name, protocol) in [("SASLP", "SASL_PLAINTEXT"), ("TLS", "SSL"), ("MTLS", "SSL"), ("SASLS", "SASL_SSL")] {
            assert!(all.contains(&format!("{name}://127.0.0.1:")), "{name}");
            assert!(all.contains(&format!("{name}:{protocol}")), "{name}");
        }
    }

    #[test]
    fn no_key_is_set_twice() {
        for version in [Version::V4_1, Version::V3_9, Version::V2_8] {
            for nodes in [1, 3] {
                let all = text(&shape(version, nodes, Security { sasl: true, tls: true, reauth_ms: 4_000 }));
                let mut keys: Vec<&str> = all.lines().map(|line| line.split_once('=').expect("key=value").0).collect();
                let count = keys.len();
                keys.sort_unstable();
                keys.dedup();
                assert_eq!(keys.len(), count, "{version:?} {nodes}");
            }
        }
    }

    #[test]
    fn two_of_three_copies_must_be_in_sync() {
        assert!(text(&shape(Version::V2_8, 3, Security::default())).contains("\nmin.insync.replicas=2\n"));
        assert!(text(&shape(Version::V2_8, 1, Security::default())).contains("\nmin.insync.replicas=1\n"));
    }
}

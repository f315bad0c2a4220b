//! What a sink knows of its cluster: brokers and how to reach them, topics and who leads their partitions.

use super::codec::answers::{Node, TopicMetadata};
use super::event::ConnId;
use super::retry::{Backoff, Rng};
use crate::base::Mono;

/// A broker, or an address of the bootstrap list.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Its key in the sink, never used twice.
    pub key: u32,
    /// Node id; None for an address of the bootstrap list.
    pub node: Option<i32>,
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The one connection to it.
    pub conn: Option<ConnId>,
    /// Connections that failed in a row.
    pub failures: u32,
    /// Not connected to before this.
    pub retry_at: Mono,
}

/// Every broker of a sink.
#[derive(Clone, Debug, Default)]
pub struct Brokers {
    list: Vec<Broker>,
    next_key: u32,
    /// Where the walk through the list goes on.
    cursor: usize,
}

impl Brokers {
    /// The bootstrap list.
    pub fn new(bootstrap: &[(String, u16)]) -> Self {
        let mut brokers = Self::default();
        for (host, port) in bootstrap {
            brokers.add(None, host, *port);
        }
        brokers
    }

    fn add(&mut self, node: Option<i32>, host: &str, port: u16) -> &mut Broker {
        let key = self.next_key;
        self.next_key += 1;
        let at = self.list.len();
        let host = host.to_owned();
        self.list.push(Broker { key, node, host, port, conn: None, failures: 0, retry_at: Mono::default() });
        &mut self.list[at]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Broker> {
        self.list.iter()
    }

    /// The broker with this key.
    pub fn by_key(&mut self, key: u32) -> Option<&mut Broker> {
        self.list.iter_mut().find(|broker| broker.key == key)
    }

    /// The broker with this node id.
    pub fn by_node(&self, node: i32) -> Option<&Broker> {
        self.list.iter().find(|broker| broker.node == Some(node))
    }

    /// The next broker without a connection that may be tried now, walking through the list.
    pub fn next_to_try(&mut self, now: Mono) -> Option<&Broker> {
        let count = self.list.len();
        let at = (0..count).map(|step| (self.cursor + step) % count).find(|at| {
            let broker = &self.list[*at];
            broker.conn.is_none() && broker.retry_at <= now
        })?;
        self.cursor = at + 1;
        self.list.get(at)
    }

    /// What kept from trying them is over.
    pub fn try_all_now(&mut self) {
        self.list.iter_mut().for_each(|broker| broker.retry_at = Mono::default());
    }

    /// When the next broker without a connection may be tried.
    pub fn next_try_at(&self) -> Option<Mono> {
        self.list.iter().filter(|broker| broker.conn.is_none()).map(|broker| broker.retry_at).min()
    }

    /// Takes over the cluster's list. Connections of the bootstrap list that lead to a node become the node's. Returns the
    /// connections that lead nowhere any more, and (connection, new key) for those that were handed over.
    pub fn adopt(&mut self, nodes: &[Node]) -> (Vec<ConnId>, Vec<(ConnId, u32)>) {
        let (mut stale, mut moved) = (Vec::new(), Vec::new());
        if nodes.is_empty() {
            return (stale, moved);
        }
        self.list.retain_mut(|broker| match broker.node {
            Some(id) if !nodes.iter().any(|node| node.id == id) => {
                stale.extend(broker.conn.take());
                false
            }
            _ => true,
        });
        for node in nodes {
            stale.extend(self.adopt_node(node, &mut moved));
        }
        (stale, moved)
    }

    /// Takes over one node (also from a leader hint); returns a connection that leads to its old address.
    pub fn adopt_node(&mut self, node: &Node, moved: &mut Vec<(ConnId, u32)>) -> Option<ConnId> {
        if let Some(broker) = self.list.iter_mut().find(|broker| broker.node == Some(node.id)) {
            if broker.host == node.host && broker.port == node.port {
                return None;
            }
            (broker.host, broker.port) = (node.host.clone(), node.port);
            (broker.failures, broker.retry_at) = (0, Mono::default());
            return broker.conn.take();
        }
        let same = |broker: &&mut Broker| broker.node.is_none() && broker.host == node.host && broker.port == node.port;
        let conn = self.list.iter_mut().find(same).and_then(|broker| broker.conn.take());
        let broker = self.add(Some(node.id), &node.host, node.port);
        broker.conn = conn;
        moved.extend(conn.map(|conn| (conn, broker.key)));
        None
    }
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Node id; -1: nobody.
    pub node: i32,
    /// Grows with every election; -1: not told.
    pub epoch: i32,
}

/// A topic that lanes write to.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Lanes that write to it.
    pub lanes: u32,
    /// All zero: not told.
    pub id: [u8; 16],
    /// Counts how often the topic was seen to be created again.
    pub incarnation: u32,
    /// By partition number; empty: the topic is not known.
    pub leaders: Vec<Leader>,
    /// True once something that is wrong with it was said, until it is well again.
    pub reported: bool,
    /// Bytes that one batch may have, as far as it was learnt; header included.
    pub batch_bytes: usize,
}

impl Topic {
    /// A topic that nothing is known of.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            lanes: 0,
            id: [0; 16],
            incarnation: 0,
            leaders: Vec::new(),
            reported: false,
            batch_bytes: usize::MAX,
        }
    }

    /// True if it is known and every partition has a leader.
    pub fn is_whole(&self) -> bool {
        !self.leaders.is_empty() && self.leaders.iter().all(|leader| leader.node >= 0)
    }

    /// Who leads the partition; None if nobody does.
    pub fn leader(&self, partition: i32) -> Option<i32> {
        let leader = self.leaders.get(usize::try_from(partition).ok()?)?;
        (leader.node >= 0).then_some(leader.node)
    }

    /// A partition that has a leader, at random, another than `but` if there is one; without any leader, any partition.
    pub fn any_partition(&self, but: Option<i32>, rng: &mut Rng) -> Option<i32> {
        let led = |but: Option<i32>| {
            (0..self.leaders.len() as i32).filter(move |at| self.leader(*at).is_some() && Some(*at) != but)
        };
        for but in [but, None] {
            let count = led(but).count() as u64;
            if count > 0 {
                return led(but).nth(rng.below(count) as usize);
            }
        }
        (!self.leaders.is_empty()).then(|| rng.below(self.leaders.len() as u64) as i32)
    }

    /// Takes over what Metadata says. News of an older election than the one known are passed over.
    pub fn learn(&mut self, news: &TopicMetadata) {
        if news.partitions.is_empty() {
            return;
        }
        // Without ids it shows only by a count that fell: partitions are never taken from a topic.
        let are_told = self.id != [0; 16] && news.id != [0; 16];
        if are_told && self.id == news.id && news.partitions.len() < self.leaders.len() {
            // A broker that has not heard of the newest partitions yet.
            return;
        }
        let again = if are_told { self.id != news.id } else { news.partitions.len() < self.leaders.len() };
        if again {
            self.incarnation += 1;
            self.leaders.clear();
        }
        if news.id != [0; 16] {
            self.id = news.id;
        }
        // A topic has at most as many partitions as entries came, so that a wild index reserves nothing.
        self.leaders.resize(news.partitions.len(), Leader { node: -1, epoch: -1 });
        for partition in &news.partitions {
            let leader = Leader { node: partition.leader, epoch: partition.leader_epoch };
            self.learn_leader(partition.index, leader);
        }
    }

    /// Takes over a leader, unless its election is older than the one known. True if that changed who leads.
    pub fn learn_leader(&mut self, partition: i32, news: Leader) -> bool {
        let Some(known) = usize::try_from(partition).ok().and_then(|at| self.leaders.get_mut(at)) else { return false };
        if news.epoch >= 0 && news.epoch < known.epoch {
            return false;
        }
        // Of one election two brokers can say two things: only a newer one is followed without a pause.
        let changed = known.node != news.node && news.epoch > known.epoch;
        *known = news;
        changed
    }
}

/// When Metadata is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Schedule {
    /// Something is not known or stale.
    pub wanted: bool,
    /// Asked on this connection, not answered.
    pub asked: Option<ConnId>,
    /// Not before this.
    pub retry_at: Mono,
    /// Asked in a row without learning what was wanted.
    pub failures: u32,
    /// Asked again at this time though nothing is wrong.
    pub refresh_at: Mono,
}

impl Schedule {
    /// Notes that nothing new was learnt: the next try comes after a pause.
    pub fn failed(&mut self, now: Mono, backoff: Backoff, rng: &mut Rng) {
        self.asked = None;
        self.wanted = true;
        self.failures += 1;
        self.retry_at = backoff.until(now, self.failures, rng);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::codec::answers::PartitionMetadata;

    fn node(id: i32, port: u16) -> Node {
        Node { id, host: "h".to_owned(), port }
    }

    #[test]
    fn a_bootstrap_connection_becomes_its_nodes() {
        let mut brokers = Brokers::new(&[("h".to_owned(), 1), ("h".to_owned(), 2)]);
        brokers.by_key(1).expect("second").conn = Some(ConnId(9));
        let (stale, moved) = brokers.adopt(&[node(7, 2), node(8, 3)]);
        assert_eq!(stale, []);
        let broker = brokers.by_node(7).expect("node 7");
        assert_eq!((broker.conn, moved), (Some(ConnId(9)), vec![(ConnId(9), broker.key)]));
        assert_eq!(brokers.by_key(1).expect("still there").conn, None);
    }

    #[test]
    fn a_node_that_moved_or_went_loses_its_connection() {
        let mut brokers = Brokers::new(&[]);
        brokers.adopt(&[node(1, 1), node(2, 2)]);
        for key in 0..2 {
            brokers.by_key(key).expect("node").conn = Some(ConnId(u64::from(key)));
        }
        let (stale, _) = brokers.adopt(&[node(1, 5)]);
        assert_eq!(stale, [ConnId(1), ConnId(0)]);
        assert!(brokers.by_node(2).is_none());
    }

    #[test]
    fn news_of_an_older_election_are_passed_over() {
        let mut topic = Topic::new("t");
        let news = |leader, leader_epoch| TopicMetadata {
            partitions: vec![PartitionMetadata { error: 0, index: 0, leader, leader_epoch }],
            ..TopicMetadata::default()
        };
        topic.learn(&news(1, 5));
        topic.learn(&news(2, 4));
        assert_eq!(topic.leader(0), Some(1));
        topic.learn(&news(2, 6));
        assert_eq!(topic.leader(0), Some(2));
    }
}

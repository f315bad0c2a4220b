//! `chash`: a ring of points, ketama's way. A key belongs to the first point behind its hash, and to the next one while that
//! point's node is passed over: nobody else's keys move.

use super::node::Address;
use crate::base::hash::{fnv1a, mix};
use crate::base::limits::CHASH_POINTS;

/// Points per unit of weight, once the weights are divided by what all of them share: APISIX's.
const POINTS_PER_WEIGHT: u64 = 160;

/// One group of nodes.
#[derive(Debug)]
pub struct Ring {
    /// Place on the ring and node, by place.
    points: Vec<(u64, u32)>,
}

impl Ring {
    /// The ring of nodes with their weights; weight 0 has no point. Where a node's points lie depends on its address alone, so
    /// that they stay when others come and go.
    pub fn new<'a>(nodes: impl Iterator<Item = (&'a Address, u32)> + Clone) -> Self {
        let unit = u64::from(nodes.clone().fold(0, |unit, (_, weight)| greatest_divisor(unit, weight)).max(1));
        let wanted: u64 = nodes.clone().map(|(_, weight)| u64::from(weight) / unit * POINTS_PER_WEIGHT).sum();
        let mut points = Vec::new();
        for ((address, weight), index) in nodes.zip(0..) {
            let own = fnv1a(address.to_string().as_bytes());
            let count = u64::from(weight) / unit * POINTS_PER_WEIGHT;
            points.extend((0..shrunk(count, wanted)).map(|point| (mix(own ^ mix(point)), index)));
        }
        points.sort_unstable();
        Self { points }
    }

    /// The node of `key`, or the next along the ring that `allowed` lets through.
    pub fn pick(&self, key: &[u8], allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
        let place = mix(fnv1a(key));
        let first = self.points.partition_point(|(point, _)| *point < place);
        let (before, after) = self.points.split_at(first);
        after.iter().chain(before).map(|(_, node)| *node as usize).find(|node| allowed(*node))
    }
}

/// As many of `count` points as a ring of [`CHASH_POINTS`] has room for; at least one of any.
fn shrunk(count: u64, wanted: u64) -> u64 {
    let most = CHASH_POINTS as u64;
    if wanted <= most || count == 0 {
        count
    } else {
        (u128::from(count) * u128::from(most) / u128::from(wanted)).max(1) as u64
    }
}

fn greatest_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(weights: &[u32]) -> Ring {
        let address = |index: usize| Address::Tcp(([10, 0, 0, index as u8], 80).into());
        let addresses: Vec<Address> = (0..weights.len()).map(address).collect();
        Ring::new(addresses.iter().zip(weights.iter().copied()))
    }

    fn key(number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }

    fn owners(ring: &Ring, allowed: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..10_000).map(|number| ring.pick(&key(number), &allowed).unwrap()).collect()
    }

    #[test]
    fn a_key_stays_with_its_node_and_others_share_only_a_lost_nodes_keys() {
        let ring = ring(&[1, 1, 1, 1]);
        let (all, without) = (owners(&ring, |_| true), owners(&ring, |node| node != 2));
        assert_eq!(all, owners(&ring, |_| true));
        for (before, after) in all.iter().zip(&without) {
            assert!(after == before || (*before == 2 && *after != 2));
        }
        let heirs = |node| all.iter().zip(&without).filter(|(before, after)| **before == 2 && **after == node).count();
        assert!([0, 1, 3].into_iter().all(|node| heirs(node) > 0), "a lost node's keys go to all others");
    }

    #[test]
    fn a_node_that_leaves_the_configuration_moves_no_key_of_the_others() {
        let (four, three) = (ring(&[1, 1, 1, 1]), ring(&[1, 1, 1]));
        let pairs = owners(&four, |_| true).into_iter().zip(owners(&three, |_| true));
        assert!(pairs.into_iter().all(|(before, after)| before == after || before == 3));
    }

    #[test]
    fn keys_are_shared_by_weight_as_evenly_as_160_points_can() {
        let ring = ring(&[2, 4, 0, 6]);
        assert_eq!(ring.points.len(), 960, "the weights are divided by 2");
        let owners = owners(&ring, |_| true);
        let share = |node| owners.iter().filter(|owner| **owner == node).count();
        for (node, fair) in [(0, 1_667), (1, 3_333), (3, 5_000)] {
            assert!(share(node).abs_diff(fair) < fair * 15 / 100, "node {node}: {} of {fair}", share(node));
        }
        assert_eq!(share(2), 0, "weight 0 has no key");
    }

    #[test]
    fn a_ring_has_a_bound_and_every_node_with_a_weight_stays_on_it() {
        let ring = ring(&[1_000_003, 1_000_000, 1]);
        assert!(ring.points.len() <= CHASH_POINTS + 3, "{}", ring.points.len());
        assert!((0..3).all(|node| ring.points.iter().any(|(_, owner)| *owner == node)));
    }

    #[test]
    fn nobody_is_nobody() {
        assert_eq!(ring(&[0, 0]).pick(b"x", &|_| true), None);
        assert_eq!(ring(&[1, 1]).pick(b"x", &|_| false), None);
    }
}

//! Faults of every kind in a random order from a seed, over real sockets, while requests come: every entry once, in order. The longer
//! campaigns are the simulation's; this one has the kernel, the ring's real memory and a broker that runs beside it.

use std::time::{Duration, Instant};

use devbroker::{Api, Fault, ProducerState};
use serde_json::json;

use crate::rig::{Plan, Rig, in_parallel, let_pass};

const NODES: i32 = 3;
const PARTITIONS: i32 = 3;
const STEPS: u64 = 40;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// What one request may meet. None of them is a lie about what was appended.
fn fault(random: &mut Random) -> Fault {
    match random.below(11) {
        0 => Fault::Cut,
        1 => Fault::CutAnswer(random.below(90) as usize),
        2 => Fault::CutRequest(random.below(300) as usize),
        3 => Fault::Error(random.of(&[2, 3, 5, 6, 9, 19, 74, 100])),
        4 => Fault::ErrorAfter(random.of(&[-1, 7, 13, 20, 56, 72])),
        5 => Fault::Delay(Duration::from_millis(random.below(60))),
        6 => Fault::Twice,
        7 => Fault::WrongCorrelation,
        8 => Fault::Throttle(Duration::from_millis(random.below(40))),
        9 => Fault::Trickle(9, Duration::from_millis(3)),
        _ => Fault::Pass,
    }
}

/// One thing that happens to the cluster, and is over when this returns.
fn happening(rig: &Rig, random: &mut Random) {
    let node = 1 + random.below(NODES as u64) as i32;
    let begin = Instant::now();
    match random.below(10) {
        0..=4 => (0..=random.below(4)).for_each(|_| rig.produce_faults(&[fault(random)])),
        5 => {
            let api = random.of(&[Api::Metadata, Api::ApiVersions, Api::InitProducerId]);
            rig.broker.script().push(api, Fault::CutAnswer(random.below(120) as usize));
        }
        6 => drop(rig.broker.move_leader(&rig.topic, random.below(PARTITIONS as u64) as i32, node)),
        7 => rig.broker.restart(random.of(&[ProducerState::All, ProducerState::LastBatch])).expect("its ports"),
        8 => {
            rig.broker.set_frozen(node, true);
            rig.send(5);
            let_pass(begin, Duration::from_millis(random.below(80)));
            rig.broker.set_frozen(node, false);
        }
        _ => {
            rig.broker.set_down(node);
            rig.send(5);
            let_pass(begin, Duration::from_millis(random.below(80)));
            rig.broker.set_up(node).expect("its port");
        }
    }
}

#[test]
fn faults_in_any_order_neither_lose_nor_double_nor_turn_a_record() {
    let cases =
        [(1, "async", json!("k")), (2, "async", json!(null)), (3, "sync", json!(null)), (4, "async", json!("k"))];
    in_parallel(&cases, |(seed, producer_type, key)| {
        let mut plugin = json!({"producer_type": producer_type});
        if key.is_null() {
            plugin["key"] = json!("");
        }
        let kafka = json!({"sticky_bytes": 2000, "linger_ms": seed % 2});
        let rig = Rig::new(&Plan { partitions: PARTITIONS, plugin, kafka, ..Plan::nodes(NODES as u16) });
        let mut random = Random(*seed);
        for _ in 0..STEPS {
            happening(&rig, &mut random);
            rig.send(random.below(12));
        }
        rig.broker.script().clear();
        rig.wait_delivered(rig.sent());
        let counts = rig.wait_settled();
        assert_eq!((counts.lost, counts.in_doubt), (0, 0), "seed {seed}");
        let logged = rig.logged();
        let mut sorted = logged.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..rig.sent()).collect::<Vec<_>>(), "seed {seed}");
        // Partitions come one behind another: each is in order, so that the numbers fall once per partition at most.
        let falls = logged.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!(falls < PARTITIONS as usize, "seed {seed}: {logged:?}");
    });
}

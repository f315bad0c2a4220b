//! What is said and what is counted while a cluster comes and goes: never a flood, and nothing missing.

use super::tests::{CALM, lane_of, sim, spec};
use super::*;
use crate::kafka::SinkFigures;
use crate::kafka::sim::Sim;

fn lines(sim: &Sim, text: &str) -> usize {
    sim.reports.iter().filter(|(_, line)| line.contains(text)).count()
}

fn figures(sim: &Sim) -> Vec<SinkFigures> {
    let mut figures = Vec::new();
    sim.shipper.figures(&mut figures);
    figures
}

#[test]
fn a_sink_that_comes_and_goes_is_said_every_ten_seconds_and_each_end_once() {
    let mut sim = sim(8, 3, CALM);
    sim.create("t", 1, 0);
    let lane = lane_of(&mut sim, &spec(), "t");
    let mut was_down = 0;
    for _ in 0..30 {
        sim.down = vec![1, 2, 3];
        (1..=3).for_each(|broker| sim.restart(broker));
        sim.append(lane, 100);
        sim.run(600);
        was_down += usize::from(figures(&sim)[0].in_trouble);
        sim.down = Vec::new();
        sim.run(1_400);
    }
    // A minute, thirty outages.
    let (bad, well) = (lines(&sim, "all brokers failed"), lines(&sim, "answer again"));
    assert!(was_down > 20, "{was_down} outages were seen in the figures");
    assert!((2..=6).contains(&bad), "{bad}: {:?}", sim.reports);
    assert_eq!(well, bad, "{:?}", sim.reports);
    sim.drain(60_000);
    assert!(!figures(&sim)[0].in_trouble);
    sim.assert_exactly_once("t", lane);
}

#[test]
fn many_partitions_that_take_nothing_are_one_line_and_one_when_all_of_them_take_again() {
    let mut sim = sim(32, 5, CALM);
    sim.create("t", 8, 0);
    let sink = sim.shipper.sink(&spec());
    let lane = sim.shipper.lane(&LaneSpec::new(sink, "t"));
    sim.forced_error = Some(19);
    for _ in 0..400 {
        sim.append(lane, 300);
        sim.run(20);
    }
    sim.run(10_000);
    let stalled = sim.shipper.lanes[0].queues.iter().filter(|queue| queue.reported).count();
    assert!(stalled > 1, "{stalled} partitions took nothing");
    assert_eq!(lines(&sim, "failed to send data"), 1, "{:?}", sim.reports);
    sim.forced_error = None;
    sim.drain(60_000);
    assert_eq!(lines(&sim, "takes records again"), 1, "{:?}", sim.reports);
}

#[test]
fn what_a_lane_did_stays_with_its_sink_when_the_lane_is_gone_and_each_batch_has_a_latency() {
    let mut sim = sim(8, 7, CALM);
    sim.create("t", 1, 0);
    let lane = lane_of(&mut sim, &spec(), "t");
    for _ in 0..50 {
        assert_eq!(sim.append(lane, 300), Appended::Accepted);
        sim.run(20);
    }
    sim.drain(60_000);
    let before = figures(&sim);
    sim.shipper.retire(lane);
    sim.run(100);
    assert!(!sim.shipper.lanes[lane.index as usize].live, "it is forgotten");
    let after = figures(&sim);
    assert_eq!((after[0].accepted, after[0].stats.delivered, after[0].held), (50, 50, 0));
    assert_eq!(before[0].accepted, 50);
    let (latencies, stats) = (&after[0].stats.latencies, sim.shipper.stats());
    assert_eq!(latencies.count(), stats.batches_sent - stats.batches_retried);
    let mean_ms = latencies.sum_ns / latencies.count() / 1_000_000;
    assert!((1..=200).contains(&mean_ms), "{mean_ms} ms");
}

#[test]
fn a_lane_of_a_sink_beyond_those_that_are_shown_counts_with_the_others() {
    let mut sim = sim(8, 9, CALM);
    for port in 1..70 {
        sim.shipper.sink(&SinkSpec::new(vec![("elsewhere".to_owned(), port)]));
    }
    let lane = lane_of(&mut sim, &spec(), "t");
    sim.down = vec![1, 2, 3];
    assert_eq!(sim.append(lane, 100), Appended::Accepted);
    let figures = figures(&sim);
    let (shown, other) = figures.split_at(crate::kafka::figures::SINKS_SHOWN);
    assert!(shown.iter().all(|one| one.accepted == 0 && one.label.starts_with("elsewhere:")));
    assert_eq!((other.len(), &*other[0].label, other[0].accepted, other[0].held), (1, "other", 1, 1));
}

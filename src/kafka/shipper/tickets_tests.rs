//! Who waits for an entry hears of it once, the truth, and soon: against the simulated cluster.

use super::tests::{CALM, STORM};
use super::*;
use crate::kafka::options::{Batching, Mode};
use crate::kafka::producer::Outcome;
use crate::kafka::sim::{Sim, Weather};

const SLOT: usize = 16 * 1024;
const ARRAYS: Batching = Batching::Array { max_entries: 1_000, inactive_ms: 5_000, duration_ms: 60_000 };

fn sim(slots: usize, seed: u64, weather: Weather) -> Sim {
    let options = ShipperOptions { seed, batch_bytes: 4 * 1024, ..ShipperOptions::default() };
    Sim::new(seed, Shipper::new(vec![vec![0u8; SLOT]; slots], options), weather)
}

fn lane(sim: &mut Sim, mode: Mode, topic: &str, batching: Batching) -> LaneId {
    let sink = sim.shipper.sink(&SinkSpec { mode, ..SinkSpec::new(vec![("broker-1".to_owned(), 9092)]) });
    sim.shipper.lane(&LaneSpec { batching, ..LaneSpec::new(sink, topic) })
}

fn held(sim: &mut Sim, topic: &str, batching: Batching) -> LaneId {
    sim.create(topic, 1, 0);
    lane(sim, Mode::Held, topic, batching)
}

/// What the tickets were told, in order.
fn told(sim: &Sim) -> Vec<(u64, Outcome)> {
    sim.settled.iter().map(|(ticket, outcome)| (ticket.0, *outcome)).collect()
}

fn delivered(tickets: std::ops::Range<u64>) -> Vec<(u64, Outcome)> {
    tickets.map(|ticket| (ticket, Outcome::Delivered)).collect()
}

/// True if the lane's `n`th entry is in the topic.
fn is_there(sim: &Sim, topic: &str, n: u64) -> bool {
    let needle = format!("\"n\":{n},");
    let logs = sim.topics[topic].partitions.iter().flat_map(|partition| &partition.log);
    logs.into_iter().any(|value| String::from_utf8_lossy(value).contains(&needle))
}

/// One run through bad weather: no ticket is told of a delivery before the entry is in Kafka, and each is told once.
fn campaign(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut sim = sim(4 + rng.below(6) as usize, seed, STORM);
    let batching = if rng.below(2) == 0 { Batching::Each } else { ARRAYS };
    let lane = held(&mut sim, "t", batching);
    if batching == Batching::Each && rng.below(3) == 0 {
        sim.topics.get_mut("t").expect("made").batch_bytes_max = 1_300 + rng.below(2_000) as usize;
    }
    let (mut next, mut checked) = (0, 0);
    for _ in 0..40 {
        for _ in 0..rng.below(12) {
            let accepted = sim.append_with(Some(Ticket(next)), lane, rng.below(400) as usize) == Appended::Accepted;
            next += u64::from(accepted);
        }
        sim.run(rng.below(60));
        for (ticket, outcome) in told(&sim).into_iter().skip(checked) {
            assert!(outcome == Outcome::Delivered && is_there(&sim, "t", ticket), "seed {seed}: {ticket} {outcome:?}");
        }
        checked = sim.settled.len();
    }
    sim.weather = CALM;
    sim.drain(120_000);
    assert_eq!(told(&sim), delivered(0..next), "seed {seed}");
    sim.assert_exactly_once("t", lane);
}

#[test]
fn through_any_weather_each_ticket_hears_once_and_not_before_its_entry_is_in_kafka() {
    for seed in 0..120 {
        if let Err(panic) = std::panic::catch_unwind(|| campaign(seed)) {
            eprintln!("seed {seed} fails");
            std::panic::resume_unwind(panic);
        }
    }
}

/// A held lane whose producer the broker knows.
fn proven(seed: u64, batching: Batching) -> (Sim, LaneId) {
    let mut sim = sim(8, seed, CALM);
    let lane = held(&mut sim, "t", batching);
    sim.append_with(Some(Ticket(0)), lane, 20);
    sim.run(1_000);
    assert_eq!(told(&sim), delivered(0..1));
    (sim, lane)
}

#[test]
fn those_who_come_while_a_batch_is_in_flight_share_the_next_one() {
    for batching in [Batching::Each, ARRAYS] {
        let (mut sim, lane) = proven(3, batching);
        let before = sim.shipper.stats().batches_sent;
        for ticket in 1..40 {
            sim.append_with(Some(Ticket(ticket)), lane, 20);
        }
        sim.run(100);
        assert_eq!(told(&sim), delivered(0..40), "{batching:?}");
        assert_eq!(sim.shipper.stats().batches_sent - before, 2, "{batching:?}");
    }
}

#[test]
fn a_refused_entry_has_no_outcome() {
    let mut sim = sim(4, 5, CALM);
    let lane = held(&mut sim, "t", Batching::Each);
    sim.down = vec![1, 2, 3];
    let mut accepted = Vec::new();
    for ticket in 0..400 {
        if sim.append_with(Some(Ticket(ticket)), lane, 300) == Appended::Accepted {
            accepted.push((ticket, Outcome::Delivered));
        }
    }
    let oversized = sim.append_with(Some(Ticket(400)), lane, 2 * SLOT);
    assert!(oversized != Appended::Accepted);
    assert!(accepted.len() < 400, "the ring was full");
    sim.down.clear();
    // Nobody waits for this one: the ticket of the one that was refused must not be taken for its.
    sim.run(2_000);
    sim.append(lane, 20);
    sim.drain(5_000);
    assert_eq!(told(&sim), accepted);
}

#[test]
fn of_a_batch_that_is_cut_each_part_is_told_for_itself() {
    let (mut sim, lane) = proven(7, Batching::Each);
    sim.topics.get_mut("t").expect("made").batch_bytes_max = 700;
    sim.append_with(Some(Ticket(1)), lane, 20);
    for (ticket, len) in (2..8).zip([100, 100, 2_000, 100, 100, 100]) {
        sim.append_with(Some(Ticket(ticket)), lane, len);
    }
    sim.drain(60_000);
    let mut expected = delivered(0..8);
    expected[4].1 = Outcome::Lost(LostReason::TooLarge);
    assert_eq!(told(&sim), expected);
    assert!(!is_there(&sim, "t", 4));
}

#[test]
fn whoever_still_waits_at_the_end_is_told_what_is_known() {
    let (mut sim, lane) = proven(9, Batching::Each);
    sim.append_with(Some(Ticket(1)), lane, 20);
    sim.append_with(Some(Ticket(2)), lane, 20);
    sim.shipper.give_up(sim.now());
    sim.run(1);
    assert_eq!(told(&sim)[1..], [(1, Outcome::InDoubt), (2, Outcome::Lost(LostReason::Shutdown))]);
}

#[test]
fn a_slot_that_is_taken_again_has_forgotten_its_tickets() {
    let mut tickets = Tickets::default();
    tickets.put(SlotId(1), 1, Ticket(5));
    tickets.begin(SlotId(1));
    tickets.put(SlotId(1), 1, Ticket(6));
    let (slot, outcome) = (SlotId(1), Outcome::Delivered);
    let mut heard = Vec::new();
    tickets.resolve(&Resolved { slot, entries: 1, bytes: 0, outcome, whole: true, first_sent: None }, |ticket| {
        heard.push(ticket)
    });
    assert_eq!(heard, [Ticket(6)]);
}

#[test]
fn other_traffic_leaves_a_slot_to_those_who_wait() {
    // More sinks than slots: no share of the others is left.
    let mut sim = sim(2, 11, CALM);
    sim.down = vec![1, 2, 3];
    let waiting = held(&mut sim, "t", Batching::Each);
    let others = [Mode::Async, Mode::Sync].map(|mode| lane(&mut sim, mode, "other", Batching::Each));
    for _ in 0..200 {
        for lane in &others {
            sim.append(*lane, 300);
        }
        sim.run(1);
    }
    assert_eq!(sim.append_with(Some(Ticket(0)), waiting, 300), Appended::Accepted);
}

#[test]
fn an_entry_whose_rendering_panics_was_never_there_and_takes_nothing_with_it() {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    for batching in [Batching::Each, ARRAYS] {
        let mut sim = sim(4, 1, CALM);
        sim.create("t", 1, 0);
        let held = held(&mut sim, "h", batching);
        let plain = lane(&mut sim, Mode::Async, "t", batching);
        let panics = |sim: &mut Sim, ticket: Option<Ticket>| {
            let now = sim.now();
            let render = &mut |out: &mut Out<'_>| {
                out.push(b"{\"half");
                // Not reported: it is meant.
                resume_unwind(Box::new("planted"));
            };
            let shipper = &mut sim.shipper;
            let appended = catch_unwind(AssertUnwindSafe(|| match ticket {
                Some(ticket) => shipper.append_with(ticket, held, now, render),
                None => shipper.append(plain, now, render),
            }));
            assert!(appended.is_err());
        };
        for round in 0..20 {
            // Into a batch that is not there yet, and, from the second on, into one that is.
            panics(&mut sim, None);
            panics(&mut sim, Some(Ticket(1_000 + round)));
            assert_eq!(sim.append(plain, 50), Appended::Accepted);
            assert_eq!(sim.append_with(Some(Ticket(round)), held, 50), Appended::Accepted);
            if round % 3 == 0 {
                sim.run(10_000);
            }
        }
        sim.drain(60_000);
        let stats = *sim.shipper.stats();
        assert_eq!((stats.accepted, stats.delivered, sim.shipper.held_entries()), (40, 40, 0), "{batching:?}");
        assert_eq!(told(&sim), delivered(0..20), "{batching:?}: a ticket belongs to its own entry");
        sim.assert_exactly_once("t", plain);
        sim.assert_exactly_once("h", held);
        assert_eq!(sim.shipper.stats().slots_used, 0, "{batching:?}: no slot is lost");
    }
}

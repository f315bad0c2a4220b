//! From a sealed batch to its outcome: a partition, a leader, an identity, a request; and what the answer does.

use super::spill::{placed, stored};
use super::{Ending, Shipper};
use crate::base::Mono;
use crate::kafka::codec::answers;
use crate::kafka::codec::requests::{self, Caller};
use crate::kafka::connection::Purpose;
use crate::kafka::event::{Action, SlotId};
use crate::kafka::head::{self, Head, PRODUCE_VERSION_TOPIC_ID};
use crate::kafka::lane::Producer;
use crate::kafka::metadata::Leader;
use crate::kafka::options::{Acks, PRODUCE_GRACE_MS};
use crate::kafka::partition;
use crate::kafka::producer::{Next, Outcome, Patience, Queue, Resolved};
use crate::kafka::retry::{self, Backoff, Verdict};
use crate::kafka::ring::{Attempt, SlotMemory, State};
use crate::kafka::slot;
use crate::kafka::stats::LostReason;

/// Bytes below which a learnt limit of batches does not fall.
const BATCH_BYTES_MIN: usize = 1024;
/// Milliseconds until a producer id that was denied is asked for again.
const DENIED_PAUSE_MS: u64 = 1_000;

impl<M: SlotMemory> Shipper<M> {
    /// Does for one lane what can be done now.
    pub(super) fn drive_lane(&mut self, index: usize, now: Mono) {
        self.seal_if_due(index, now);
        self.drive_tail(index, now);
        if self.ending == Ending::Stowing || self.is_behind(index) {
            return;
        }
        self.assign(index, now);
        for at in 0..self.lanes[index].queues.len() {
            if !self.lanes[index].queues[at].batches.is_empty() {
                self.drive_queue(index, at, now);
            }
        }
    }

    /// Gives batches without a partition one.
    fn assign(&mut self, index: usize, now: Mono) {
        let lane = &mut self.lanes[index];
        let topic = &self.sinks[lane.sink].topics[lane.topic];
        let count = topic.leaders.len();
        if count == 0 {
            return;
        }
        if lane.incarnation != topic.incarnation {
            lane.incarnation = topic.incarnation;
            self.begin_again(index, now);
        }
        let lane = &mut self.lanes[index];
        // Partitions that are gone give their batches back once those are answered.
        for queue in lane.queues.iter_mut().skip(count).filter(|queue| queue.in_flight == 0) {
            for id in queue.dissolve(&mut self.ring).into_iter().rev() {
                lane.waiting.push_front(id);
            }
        }
        while lane.queues.len() < count {
            lane.queues.push(Queue::default());
        }
        while let Some(id) = lane.waiting.pop_front() {
            let bytes = self.ring.slot(id).batch.part_bytes() as u64;
            let partition = match &lane.spec.key {
                Some(key) => partition::of_key(lane.spec.partitioner, key, count as u32) as i32,
                None => {
                    let topic = &self.sinks[lane.sink].topics[lane.topic];
                    let now_at = lane.sticky.filter(|(partition, sent)| {
                        (*partition as usize) < count
                            && *sent < self.options.sticky_bytes
                            && topic.leader(*partition).is_some()
                    });
                    let before = lane.sticky.map(|(partition, _)| partition);
                    let (partition, sent) =
                        now_at.unwrap_or_else(|| (topic.any_partition(before, &mut self.rng).unwrap_or(0), 0));
                    lane.sticky = Some((partition, sent + bytes));
                    partition
                }
            };
            // Also if this process ends before it is sent: otherwise it could follow, in that partition, what came after it.
            let slot = self.ring.slot_mut(id);
            let account = placed(lane.account(slot.batch.number), &slot.batch, partition);
            slot::restate(slot.memory.bytes_mut(), &account);
            if let Some(queue) = lane.queue(partition) {
                queue.batches.push_back(id);
            }
        }
    }

    /// The topic was created again: batches that are not in flight get new identities.
    fn begin_again(&mut self, index: usize, now: Mono) {
        self.lanes[index].sticky = None;
        for at in 0..self.lanes[index].queues.len() {
            self.lanes[index].queues[at].topic_created_again();
            self.with_queue(index, at, now, |queue, ring, _, resolved| queue.settle(ring, resolved));
        }
        // What was resolved by it may have been what the open batch waited for.
        self.wake = Some(Mono::default());
    }

    /// Lets one queue do something, and counts what it resolved.
    pub(super) fn with_queue<R>(
        &mut self,
        index: usize,
        at: usize,
        now: Mono,
        act: impl FnOnce(
            &mut Queue,
            &mut crate::kafka::ring::Ring<M>,
            (Mono, Patience, &mut retry::Rng),
            &mut Vec<Resolved>,
        ) -> R,
    ) -> R {
        let lane = &mut self.lanes[index];
        let spec = &self.sinks[lane.sink].spec;
        let backoff = spec.retry_delay_ms.map_or(Backoff::of_requests(&self.options), |ms| Backoff {
            first_ms: u64::from(ms),
            max_ms: u64::from(ms),
        });
        let patience = Patience { backoff, max_retry: spec.max_retry };
        let mut resolved = std::mem::take(&mut self.resolved);
        let time = (now, patience, &mut self.rng);
        let result = act(&mut lane.queues[at], &mut self.ring, time, &mut resolved);
        for one in resolved.drain(..) {
            self.resolve(index, at, one, now);
        }
        self.resolved = resolved;
        result
    }

    /// Counts an outcome and gives the slot back.
    fn resolve(&mut self, index: usize, at: usize, one: Resolved, now: Mono) {
        self.lanes[index].held -= one.entries;
        self.held -= one.entries;
        let of_sink = &mut self.sinks[self.lanes[index].sink].stats;
        match one.outcome {
            Outcome::Delivered => {
                self.stats.delivered += one.entries;
                self.stats.bytes_delivered += one.bytes as u64;
                of_sink.delivered += one.entries;
                if let Some(sent) = one.first_sent {
                    of_sink.latencies.add(now.ns_since(sent));
                }
            }
            Outcome::InDoubt => {
                self.stats.in_doubt += one.entries;
                of_sink.in_doubt += one.entries;
            }
            Outcome::Lost(reason) => {
                self.stats.lost.add(reason, one.entries);
                of_sink.lost.add(reason, one.entries);
            }
        }
        self.settle_tickets(&one);
        if one.outcome != Outcome::Delivered {
            self.report_lost(index, at, one, now);
        }
        if !one.whole {
            self.part_is_resolved(index, at, one.slot);
        } else if !self.frame_done(one.slot) {
            self.give_back(one.slot);
        }
    }

    /// A part of a batch is resolved: whoever goes on with the rest must know, be it through the spool or after a crash.
    fn part_is_resolved(&mut self, index: usize, at: usize, id: SlotId) {
        let slot = self.ring.slot_mut(id);
        let account = placed(self.lanes[index].account(slot.batch.number), &slot.batch, at as i32);
        slot::restate(slot.memory.bytes_mut(), &account);
    }

    /// Sends what a queue may send.
    fn drive_queue(&mut self, index: usize, at: usize, now: Mono) {
        self.report_stalled(index, at, now);
        self.lanes[index].queues[at].mind_age(&self.ring, now, self.wall_ms);
        if self.lanes[index].queues[at].must_settle(&self.ring) {
            self.with_queue(index, at, now, |queue, ring, _, resolved| queue.settle(ring, resolved));
        }
        loop {
            let lane = &self.lanes[index];
            let sink = &self.sinks[lane.sink];
            let (sink_index, window, idempotent) = (lane.sink, sink.window(), sink.is_idempotent());
            let id = match lane.queues[at].next(&self.ring, window, idempotent, now) {
                Next::Send(id) => id,
                Next::Wait(until) => return self.note_wake(until),
                Next::Nothing => return,
                Next::Ask => return self.ask(index, at, now),
            };
            let Some(leader) = sink.topics[lane.topic].leader(at as i32) else {
                self.sinks[sink_index].metadata.wanted = true;
                return;
            };
            let Some(conn) = self.connection_to(sink_index, leader, now) else { return };
            let queue = &self.lanes[index].queues[at];
            // Order across two connections cannot be told: the old one's answers come first.
            if queue.in_flight > 0 && queue.conn != Some(self.connections[conn].id) {
                return;
            }
            if idempotent && queue.producer.is_none() && !self.find_producer(index, at, conn, now) {
                return;
            }
            if !self.send_batch(index, at, id, conn, now) {
                return;
            }
        }
    }

    /// Gives the queue the lane's producer id; asks for one if there is none. True if the queue may go on.
    fn find_producer(&mut self, index: usize, at: usize, conn: usize, now: Mono) -> bool {
        let lane = &mut self.lanes[index];
        let queue = &mut lane.queues[at];
        match lane.producer {
            Producer::Known(id, _) if queue.spent == Some(id) => {
                lane.producer = Producer::Unknown { retry_at: Mono::default(), failures: 0 };
                self.ask_producer(index, conn, now);
                false
            }
            Producer::Known(id, epoch) => {
                queue.producer = Some((id, epoch));
                true
            }
            Producer::Asked { .. } => false,
            Producer::Unknown { retry_at, .. } if retry_at > now => {
                self.note_wake(retry_at);
                false
            }
            Producer::Unknown { .. } => {
                self.ask_producer(index, conn, now);
                false
            }
        }
    }

    fn ask_producer(&mut self, index: usize, conn: usize, now: Mono) {
        let lane = &mut self.lanes[index];
        let failures = if let Producer::Unknown { failures, .. } = lane.producer { failures } else { 0 };
        let connection = &mut self.connections[conn];
        let Some(version) = connection.versions.init_producer_id else {
            return self.deny_idempotence(index, "the broker has no InitProducerId", now);
        };
        lane.producer = Producer::Asked { failures };
        let deadline = now.plus_ms(self.options.request_timeout_ms);
        let correlation = connection.expect(Purpose::ProducerId(version, index as u32), deadline);
        let caller = Caller { client_id: &self.options.client_id, correlation };
        let bytes = requests::init_producer_id(caller, version);
        self.actions.push_back(Action::Send { conn: connection.id, bytes });
    }

    /// The lane goes on without idempotence, and so does its sink.
    fn deny_idempotence(&mut self, index: usize, why: &str, now: Mono) {
        let lane = &mut self.lanes[index];
        lane.producer = Producer::Unknown { retry_at: now.plus_ms(DENIED_PAUSE_MS), failures: 0 };
        let sink = lane.sink;
        if !std::mem::replace(&mut self.sinks[sink].idempotence_denied, true) {
            self.report_denied(sink, why);
        }
        // The batch at hand goes out with the next pump.
        self.wake = Some(Mono::default());
    }

    /// Hands one batch to the shell. False if it cannot be sent.
    fn send_batch(&mut self, index: usize, at: usize, id: SlotId, conn: usize, now: Mono) -> bool {
        let lane = &mut self.lanes[index];
        let sink = &self.sinks[lane.sink];
        let idempotent = sink.is_idempotent();
        let account = lane.account(self.ring.slot(id).batch.number);
        let queue = &mut lane.queues[at];
        if queue.prepare(&mut self.ring, id, idempotent, &mut self.compressor).is_none() {
            self.with_queue(index, at, now, |queue, ring, _, resolved| queue.drop_unsendable(ring, id, resolved));
            return false;
        }
        let topic = &sink.topics[lane.topic];
        let connection = &mut self.connections[conn];
        let mut version = connection.versions.produce.unwrap_or(head::PRODUCE_VERSION_MIN);
        if topic.id == [0; 16] {
            version = version.min(PRODUCE_VERSION_TOPIC_ID - 1);
        }
        let patience_ms = (u64::from(sink.spec.timeout_ms) + PRODUCE_GRACE_MS).max(self.options.request_timeout_ms);
        let purpose = Purpose::Produce { version, lane: index as u32, partition: at as i32, slot: id };
        let request = Head {
            version,
            correlation: connection.expect(purpose, now.plus_ms(patience_ms)),
            client_id: &self.options.client_id,
            acks: if sink.spec.acks == Acks::All { -1 } else { 1 },
            timeout_ms: i32::try_from(sink.spec.timeout_ms).unwrap_or(i32::MAX),
            topic: &topic.name,
            topic_id: topic.id,
            partition: at as i32,
        };
        let slot = self.ring.slot_mut(id);
        // All of it, and the identity beside it, before the first byte can leave. What an earlier attempt may have done lies where
        // that one may lie.
        let earlier = slot.batch.attempt.filter(|earlier| slot.batch.may_have_come() && earlier.topic_id == topic.id);
        slot.batch.attempt = Some(Attempt {
            partition: at as i32,
            topic_id: topic.id,
            scan_from: earlier.map_or(queue.scan_from(), |earlier| earlier.scan_from),
            cluster: sink.cluster,
        });
        let account = stored(account, &slot.batch);
        slot::restate(slot.memory.bytes_mut(), &account);
        // The topic is known to Kafka and the tailroom is the batch's own, so that there is room; an empty request would be
        // answered by a closed connection.
        let conn = connection.id;
        let action = match &mut slot.batch.wire {
            Some(wire) => {
                let range = head::write_head(&mut wire.memory, &request, wire.sealed.end).unwrap_or(0..0);
                Action::Send { conn, bytes: wire.memory[range].to_vec() }
            }
            None => {
                let end = slot.batch.whole.end;
                let range = head::write_head(slot.memory.bytes_mut(), &request, end).unwrap_or(0..0);
                Action::SendBatch { conn, slot: id, range }
            }
        };
        slot.batch.first_sent = slot.batch.first_sent.or(Some(now));
        let again = queue.sent(&mut self.ring, id, conn);
        self.stats.batches_sent += 1;
        self.stats.batches_retried += u64::from(again);
        self.actions.push_back(action);
        true
    }

    /// Takes the answer to a Produce request. None: it is not one.
    pub(super) fn on_produced(&mut self, conn: usize, body: &[u8], purpose: Purpose, now: Mono) -> Option<()> {
        let Purpose::Produce { version, lane, partition, slot } = purpose else { return None };
        let answer = answers::produced(body, version).filter(|answer| answer.partition == partition);
        let Some(answer) = answer else {
            // The caller closes the connection, but this request is no longer among its unanswered ones.
            self.requeue_unread(lane as usize, partition as usize, now);
            return None;
        };
        self.connections[conn].throttle(now, answer.throttle_ms);
        let (index, at) = (lane as usize, partition as usize);
        if self.ring.slot(slot).state != State::InFlight {
            return Some(());
        }
        let (before, refused_bytes) = (self.stats.delivered, self.ring.slot(slot).batch.part_bytes());
        let verdict = self.with_queue(index, at, now, |queue, ring, time, resolved| {
            queue.answered(ring, slot, (answer.error, answer.base_offset), time, resolved)
        });
        let hinted = self.take_hint(index, at, &answer);
        match verdict {
            Verdict::Delivered if self.stats.delivered > before => self.report_recovered(index, at),
            Verdict::Retry { metadata: retry::Metadata::Stale, .. } => {
                let sink = self.lanes[index].sink;
                self.sinks[sink].metadata.wanted = true;
                if hinted {
                    self.lanes[index].queues[at].follow_hint();
                }
            }
            Verdict::TooLarge => self.learn_batch_bytes(index, refused_bytes / 2),
            _ => {}
        }
        Some(())
    }

    fn requeue_unread(&mut self, index: usize, at: usize, now: Mono) {
        self.with_queue(index, at, now, |queue, ring, time, resolved| queue.connection_lost(ring, time, resolved));
    }

    /// Takes over who leads now (KIP-951). True if that is somebody else than before.
    fn take_hint(&mut self, index: usize, at: usize, answer: &answers::Produced) -> bool {
        let Some((node, epoch)) = answer.leader else { return false };
        let lane = &self.lanes[index];
        let sink_index = lane.sink;
        let sink = &mut self.sinks[sink_index];
        let mut stale = Vec::new();
        let mut moved = Vec::new();
        for other in &answer.nodes {
            stale.extend(sink.brokers.adopt_node(other, &mut moved));
        }
        let changed = sink.topics[lane.topic].learn_leader(at as i32, Leader { node, epoch });
        self.hand_over(&moved);
        // An address that changed: what is in flight there is answered or not; nothing new goes there.
        for conn in stale {
            self.retire_connection(conn);
        }
        changed
    }

    fn learn_batch_bytes(&mut self, index: usize, bytes: usize) {
        let (sink, topic) = (self.lanes[index].sink, self.lanes[index].topic);
        let known = &mut self.sinks[sink].topics[topic].batch_bytes;
        *known = (*known).min(bytes.max(BATCH_BYTES_MIN));
        let learnt = *known;
        for lane in self.lanes.iter_mut().filter(|lane| lane.sink == sink && lane.topic == topic) {
            lane.batch_bytes = learnt;
        }
    }

    /// Takes the answer to InitProducerId. None: it is not one.
    pub(super) fn on_producer_id(&mut self, conn: usize, body: &[u8], purpose: Purpose, now: Mono) -> Option<()> {
        let Purpose::ProducerId(version, index) = purpose else { return None };
        let index = index as usize;
        let answer = answers::producer_id(body, version);
        let Producer::Asked { failures } = self.lanes[index].producer else { return answer.map(drop) };
        let Some(answer) = answer else {
            self.producer_failed(index, failures, now);
            return None;
        };
        self.connections[conn].throttle(now, answer.throttle_ms);
        match answer.error {
            0 => self.lanes[index].producer = Producer::Known(answer.id, answer.epoch),
            retry::CLUSTER_AUTHORIZATION_FAILED | 53 | retry::UNSUPPORTED_VERSION => {
                self.deny_idempotence(index, retry::error_name(answer.error), now);
            }
            _ => self.producer_failed(index, failures, now),
        }
        Some(())
    }

    /// InitProducerId was not answered, or in vain.
    pub(super) fn producer_failed(&mut self, index: usize, failures: u32, now: Mono) {
        let failures = failures + 1;
        let retry_at = Backoff::of_requests(&self.options).until(now, failures, &mut self.rng);
        self.lanes[index].producer = Producer::Unknown { retry_at, failures };
    }

    /// A connection is gone: puts the batches that were in flight on it back into their places.
    pub(super) fn requests_lost(&mut self, unanswered: &[Purpose], now: Mono) {
        for purpose in unanswered {
            match *purpose {
                Purpose::Produce { lane, partition, .. } => {
                    // The first of a queue takes all of its batches along.
                    self.requeue_unread(lane as usize, partition as usize, now);
                }
                Purpose::ProducerId(_, lane) => {
                    if let Producer::Asked { failures } = self.lanes[lane as usize].producer {
                        self.producer_failed(lane as usize, failures, now);
                    }
                }
                Purpose::Inquiry { lane, partition, serial, .. } => {
                    self.ask_again(lane as usize, partition as usize, serial, now);
                }
                Purpose::ApiVersions(_)
                | Purpose::SaslHandshake
                | Purpose::SaslAuthenticate(_)
                | Purpose::Metadata(_) => {}
            }
        }
    }

    /// Everything that a lane holds is given up.
    pub(super) fn abandon_lane(&mut self, index: usize, reason: LostReason, now: Mono) {
        self.seal(index, now);
        let lane = &mut self.lanes[index];
        lane.listed = false;
        if lane.queues.is_empty() {
            lane.queues.push(Queue::default());
        }
        let waiting = std::mem::take(&mut lane.waiting);
        let unspilled = std::mem::take(&mut lane.tail.queue);
        lane.queues[0].batches.extend(waiting.into_iter().chain(unspilled));
        for at in 0..self.lanes[index].queues.len() {
            self.with_queue(index, at, now, |queue, ring, _, resolved| queue.abandon(ring, reason, resolved));
        }
        self.lanes[index].producer = Producer::Unknown { retry_at: Mono::default(), failures: 0 };
    }
}

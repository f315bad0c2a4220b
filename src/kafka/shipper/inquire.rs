//! Sends the questions of a queue's inquiry to whoever leads its partition, and hands the answers back. What is asked, and what
//! follows, is `inquiry`'s and `producer`'s.

use super::Shipper;
use crate::base::Mono;
use crate::kafka::codec::producers;
use crate::kafka::codec::read::{self, FETCH_KIND, FetchBounds, LIST_OFFSETS_KIND};
use crate::kafka::codec::requests::Caller;
use crate::kafka::connection::Purpose;
use crate::kafka::event::Action;
use crate::kafka::inquiry::{Heard, Inquiry, Question, SCAN_FETCH_BYTES};
use crate::kafka::ring::SlotMemory;

/// Milliseconds that a broker may wait for a first byte to answer a Fetch with: what is wanted is there or not.
const FETCH_WAIT_MS: i32 = 0;

impl<M: SlotMemory> Shipper<M> {
    /// Asks a queue's next question, if the leader can be reached.
    pub(super) fn ask(&mut self, index: usize, at: usize, now: Mono) {
        let lane = &self.lanes[index];
        let sink_index = lane.sink;
        let sink = &self.sinks[sink_index];
        let (topic_id, cluster) = (sink.topics[lane.topic].id, sink.cluster);
        let Some(leader) = sink.topics[lane.topic].leader(at as i32) else {
            self.sinks[sink_index].metadata.wanted = true;
            return;
        };
        let Some(conn) = self.connection_to(sink_index, leader, now) else { return };
        let versions = self.connections[conn].versions;
        loop {
            let Some(inquiry) = &mut self.lanes[index].queues[at].inquiry else { return };
            inquiry.begin(topic_id, cluster);
            let Some(question) = inquiry.question() else { break };
            let version = match question {
                Question::Producers => versions.describe_producers,
                Question::Offset(_) => versions.list_offsets,
                Question::Fetch(_) => versions.fetch,
            };
            match version {
                Some(version) => return self.send_question(index, at, conn, (question, version), now),
                None => inquiry.not_served(),
            }
        }
        self.with_queue(index, at, now, |queue, ring, _, resolved| queue.learn(ring, resolved));
        // What may be sent now goes out with the next pump.
        self.wake = Some(Mono::default());
    }

    fn send_question(&mut self, index: usize, at: usize, conn: usize, (question, version): (Question, i16), now: Mono) {
        let serial = self.rng.next();
        let lane = &mut self.lanes[index];
        if let Some(inquiry) = &mut lane.queues[at].inquiry {
            inquiry.asked = Some(serial);
        }
        let partition = at as i32;
        let purpose = Purpose::Inquiry { version, lane: index as u32, partition, serial, question };
        let connection = &mut self.connections[conn];
        let correlation = connection.expect(purpose, now.plus_ms(self.options.request_timeout_ms));
        let caller = Caller { client_id: &self.options.client_id, correlation };
        let topic = lane.spec.topic.as_str();
        let bytes = match question {
            Question::Producers => producers::describe_producers(caller, version, topic, partition),
            Question::Offset(time) => read::list_offsets_request(caller, version, &[(topic, vec![(partition, time)])]),
            Question::Fetch(offset) => {
                let (max_bytes, max_wait_ms) = (SCAN_FETCH_BYTES, FETCH_WAIT_MS);
                let bounds = FetchBounds { max_wait_ms, max_bytes, partition_max_bytes: max_bytes };
                read::fetch_request(caller, version, topic, &[(partition, offset)], bounds)
            }
        };
        self.actions.push_back(Action::Send { conn: connection.id, bytes });
    }

    /// Takes the answer to a question. None: it is not one.
    pub(super) fn on_inquired(&mut self, conn: usize, body: &[u8], purpose: Purpose, now: Mono) -> Option<()> {
        let Purpose::Inquiry { version, lane, partition, serial, question } = purpose else { return None };
        let (index, at) = (lane as usize, partition as usize);
        let throttle_ms = match question {
            // Its first field, behind the header's tagged fields.
            Question::Producers => producers::producers(body, partition, &[]).map_or(0, |answer| answer.throttle_ms),
            Question::Offset(_) => LIST_OFFSETS_KIND.throttle_ms(version, body),
            Question::Fetch(_) => FETCH_KIND.throttle_ms(version, body),
        };
        self.connections[conn].throttle(now, throttle_ms);
        let inquiry = self.lanes.get_mut(index).and_then(|lane| lane.queues.get_mut(at)?.inquiry.as_mut());
        let Some(inquiry) = inquiry.filter(|inquiry| inquiry.asked == Some(serial)) else { return Some(()) };
        let heard = hear(inquiry, question, version, partition, body);
        match heard {
            Some(Heard::GoOn) => inquiry.failures = 0,
            Some(Heard::Again) => {
                let sink = self.lanes[index].sink;
                self.sinks[sink].metadata.wanted = true;
                inquiry_again(self, index, at, now);
            }
            // The caller closes the connection, but this request is no longer among its unanswered ones.
            None => {
                inquiry.lost();
                inquiry_again(self, index, at, now);
            }
        }
        heard.map(drop)
    }

    /// A question will not be answered.
    pub(super) fn ask_again(&mut self, index: usize, at: usize, serial: u64, now: Mono) {
        let inquiry = self.lanes.get_mut(index).and_then(|lane| lane.queues.get_mut(at)?.inquiry.as_mut());
        if let Some(inquiry) = inquiry.filter(|inquiry| inquiry.asked == Some(serial)) {
            inquiry.lost();
            inquiry_again(self, index, at, now);
        }
    }
}

fn inquiry_again<M: SlotMemory>(shipper: &mut Shipper<M>, index: usize, at: usize, now: Mono) {
    shipper.with_queue(index, at, now, |queue, ring, time, resolved| queue.ask_again(ring, time, resolved));
}

/// Reads an answer and hands it over. None: it is not one.
fn hear(inquiry: &mut Inquiry, question: Question, version: i16, partition: i32, body: &[u8]) -> Option<Heard> {
    match question {
        Question::Producers => {
            let answer = producers::producers(body, partition, &inquiry.producer_ids())?;
            Some(inquiry.on_producers(answer.error, answer.states))
        }
        Question::Offset(_) => {
            let answer = read::list_offsets(body, version)?;
            let [one] = &answer[..] else { return None };
            (one.partition == partition).then(|| inquiry.on_offset(one.error, one.offset))
        }
        Question::Fetch(_) => {
            let (error, parts) = read::fetch(body, version)?;
            match &parts[..] {
                _ if error != 0 => Some(Heard::Again),
                [part] if part.partition == partition => Some(inquiry.on_fetched(part)),
                _ => None,
            }
        }
    }
}

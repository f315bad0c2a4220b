//! What an operator must know: one line when something turns bad, one when it is well again, never a flood. Texts begin as
//! APISIX's do where it has one (APISIX-COMPAT §3).

use super::{Ending, Shipper};
use crate::base::Mono;
use crate::kafka::codec::answers;
use crate::kafka::event::{Action, Level};
use crate::kafka::producer::{Outcome, Resolved};
use crate::kafka::retry::{self, error_name};
use crate::kafka::ring::SlotMemory;
use crate::kafka::sink::Trouble;
use crate::kafka::stats::LostReason;

/// Looks at Metadata in vain before an unknown topic is said: one that is created by being asked for is there by then.
const UNKNOWN_TOPIC_LOOKS: u32 = 5;
/// Milliseconds between two lines that say of one sink that it turned bad, or of one lane that it goes to the spool.
const SAY_AGAIN_MS: u64 = 10_000;

impl<M: SlotMemory> Shipper<M> {
    fn say(&mut self, level: Level, text: String) {
        self.actions.push_back(Action::Report { level, text });
    }

    /// A broker is of no use. Said once, when none is left; a sink that comes and goes all the time is said every ten seconds.
    pub(super) fn report_trouble(
        &mut self,
        index: usize,
        trouble: Trouble,
        (broker, node): (&str, Option<u32>),
        reason: &str,
        now: Mono,
    ) {
        let any_open = self
            .connections
            .iter()
            .any(|connection| connection.sink == index && connection.phase == crate::kafka::connection::Phase::Ready);
        let sink = &mut self.sinks[index];
        let all_failed = sink.brokers.iter().all(|broker| broker.failures > 0);
        if sink.trouble.is_some() && sink.trouble_said {
            return;
        }
        if any_open || !all_failed {
            return self.report_refused_by(index, trouble, node, reason);
        }
        sink.trouble = Some(trouble);
        if now < sink.say_trouble_from {
            return;
        }
        (sink.trouble_said, sink.say_trouble_from) = (true, now.plus_ms(SAY_AGAIN_MS));
        let advice = match trouble {
            Trouble::Unreachable => "check that the brokers run and that this host reaches them",
            Trouble::NotKafka => "check the broker list and the listener's protocol",
            Trouble::Tls => "check tls and the broker's certificate",
            Trouble::Denied => "check mechanism, user and password in brokers[].sasl_config",
        };
        let name = sink.name();
        let last = match trouble {
            Trouble::Unreachable | Trouble::NotKafka => format!("{broker}: {reason}"),
            Trouble::Tls | Trouble::Denied => reason.to_owned(),
        };
        self.say(
            Level::Error,
            format!(
                "all brokers failed in fetch topic metadata, brokers: {name}; last: {last}. \
                 Records are held and sent later; {advice}"
            ),
        );
    }

    /// A node of the cluster does not take us though another does: records wait for it. Said once, of the first such node.
    fn report_refused_by(&mut self, index: usize, trouble: Trouble, node: Option<u32>, reason: &str) {
        let sink = &mut self.sinks[index];
        let (Trouble::Tls | Trouble::Denied, Some(key)) = (trouble, node) else { return };
        if sink.refused_by.contains(&key) {
            return;
        }
        sink.refused_by.push(key);
        if sink.refused_by.len() == 1 {
            let name = sink.name();
            let text =
                format!("{reason}; other brokers of {name} answer. Records for its partitions are held meanwhile");
            self.say(Level::Error, text);
        }
    }

    /// A broker takes us.
    pub(super) fn report_taken(&mut self, index: usize, key: u32) {
        let sink = &mut self.sinks[index];
        let before = sink.refused_by.len();
        let brokers = &sink.brokers;
        sink.refused_by.retain(|other| *other != key && brokers.iter().any(|broker| broker.key == *other));
        if before > 0 && sink.refused_by.is_empty() {
            let name = sink.name();
            self.say(Level::Info, format!("all brokers of {name} take this gateway again"));
        }
    }

    /// The cluster answers.
    pub(super) fn report_reachable(&mut self, index: usize) {
        self.sinks[index].trouble = None;
        if std::mem::take(&mut self.sinks[index].trouble_said) {
            let name = self.sinks[index].name();
            self.say(Level::Info, format!("kafka brokers {name} answer again"));
        }
    }

    /// Topics that cannot be written to, and those that can again.
    pub(super) fn report_topics(&mut self, index: usize, answer: &answers::Metadata) {
        let sink = &mut self.sinks[index];
        let looks = sink.metadata.failures;
        let mut lines = Vec::new();
        for topic in sink.topics.iter_mut().filter(|topic| topic.lanes > 0) {
            if !topic.leaders.is_empty() {
                if std::mem::take(&mut topic.reported) {
                    lines.push((Level::Info, topic.name.clone(), "is known and is written to again".to_owned()));
                }
                continue;
            }
            let error = answer.topics.iter().find(|news| news.name == topic.name).map_or(0, |news| news.error);
            let (at_once, advice) = match error {
                retry::INVALID_TOPIC => (true, "Kafka does not take this name; correct kafka_topic"),
                retry::TOPIC_AUTHORIZATION_FAILED => (true, "the user may not write to it; grant Write and Describe"),
                _ => (false, "create it, or let the brokers create topics (auto.create.topics.enable)"),
            };
            if !topic.reported && (at_once || looks >= UNKNOWN_TOPIC_LOOKS) {
                topic.reported = true;
                let text = format!("not found topic ({}); records are held meanwhile; {advice}", error_name(error));
                lines.push((Level::Error, topic.name.clone(), text));
            }
        }
        let brokers = self.sinks[index].name();
        for (level, topic, text) in lines {
            self.say(level, format!("kafka topic {topic} at {brokers}: {text}"));
        }
    }

    /// A partition that takes nothing for a while. Said of the first of a lane's that does.
    pub(super) fn report_stalled(&mut self, index: usize, at: usize, now: Mono) {
        let lane = &mut self.lanes[index];
        let is_said = lane.queues.iter().any(|queue| queue.reported);
        let queue = &mut lane.queues[at];
        let after_ms = self.options.stalled_report_ms;
        let Some(since) = queue.stalled_since.filter(|since| !queue.reported && now.ms_since(*since) >= after_ms)
        else {
            return;
        };
        queue.reported = true;
        if is_said {
            return;
        }
        let why = queue.last_error.map_or("no answer", error_name);
        let advice = match queue.last_error {
            Some(retry::TOPIC_AUTHORIZATION_FAILED) => "; grant the user Write on the topic",
            _ => "; look at the topic and its brokers; other partitions may be concerned",
        };
        let held = lane.held;
        let text = format!(
            "failed to send data to Kafka topic: {}, partition_id: {at}, err: {why}, brokers: {}; for {} ms now. \
             {held} records are held and retried{advice}",
            lane.spec.topic,
            self.sinks[lane.sink].name(),
            now.ms_since(since),
        );
        self.say(Level::Warn, text);
    }

    /// A partition that takes records again. Said when it is the last of its lane's.
    pub(super) fn report_recovered(&mut self, index: usize, at: usize) {
        let lane = &mut self.lanes[index];
        if std::mem::take(&mut lane.queues[at].reported) && !lane.queues.iter().any(|queue| queue.reported) {
            let brokers = self.sinks[lane.sink].name();
            let text = format!("kafka topic {} at {brokers}: partition {at} takes records again", lane.spec.topic);
            self.say(Level::Info, text);
        }
    }

    /// Entries that will not reach Kafka, or may not have.
    pub(super) fn report_lost(&mut self, index: usize, at: usize, one: Resolved, now: Mono) {
        let lane = &mut self.lanes[index];
        let quiet = if one.outcome == Outcome::InDoubt { &mut lane.doubts } else { &mut lane.losses };
        let Some(entries) = quiet.say(now, one.entries) else { return };
        let why = match one.outcome {
            Outcome::Lost(LostReason::TooLarge) => error_name(retry::MESSAGE_TOO_LARGE),
            Outcome::Lost(LostReason::Shutdown) => "the shutdown's deadline",
            Outcome::Lost(LostReason::Spool) => "its frame in the spool cannot be read",
            Outcome::Lost(_) | Outcome::InDoubt => lane.queues[at].last_error.map_or("no answer", error_name),
            Outcome::Delivered => return,
        };
        let fate = match one.outcome {
            Outcome::InDoubt if lane.queues[at].denied => {
                "may be missing from Kafka or be there twice: nobody could be asked; grant Read on the topic, so that \
                 Kafka may be asked"
            }
            Outcome::InDoubt => {
                "may or may not be in Kafka, or be there twice: `tollgate audit` reads the topic and says"
            }
            Outcome::Lost(LostReason::TooLarge) => "are lost: raise the topic's max.message.bytes or log less",
            Outcome::Lost(LostReason::Retries) => {
                "are lost: max_retry_count is used up; without it they are held and retried"
            }
            Outcome::Lost(LostReason::Shutdown) => "are lost: with a spool they would wait for the next start",
            Outcome::Lost(LostReason::Spool) => "are lost: `tollgate spool verify` says which",
            _ => "are lost: Kafka will not take them; look at the topic's configuration and the brokers' logs",
        };
        let text = format!(
            "buffered messages send to kafka err: {why}, retryable: false, topic: {}, partition_id: {at}, length: {}; \
             brokers: {}; {entries} records {fate}",
            lane.spec.topic,
            one.bytes,
            self.sinks[lane.sink].name()
        );
        self.say(Level::Error, text);
    }

    /// Entries that were not taken for want of room.
    pub(super) fn report_refused(&mut self, index: usize, now: Mono) {
        let lane = &mut self.lanes[index];
        let Some(discarded) = lane.refusals.say(now, 1) else { return };
        let processed = lane.pushed - lane.held;
        let brokers = self.sinks[lane.sink].name();
        let text = match lane.spec.max_pending_entries.filter(|most| lane.held >= *most) {
            Some(most) => format!(
                "max pending entries limit exceeded. discarding entry. total_pushed_entries: {} \
                 total_processed_entries: {processed} max_pending_entries: {most} discarded_entries: {discarded} topic: {} \
                 brokers: {brokers}",
                lane.pushed, lane.spec.topic
            ),
            None => format!(
                "buffer overflow, topic: {}, brokers: {brokers}: no ring slot is free, {discarded} records dropped, {} are held; \
                 Kafka takes them too slowly, or the ring is too small",
                lane.spec.topic, lane.held
            ),
        };
        self.say(Level::Error, text);
    }

    /// An entry that fits no message.
    pub(super) fn report_too_large(&mut self, index: usize, bytes: usize, now: Mono) {
        let lane = &mut self.lanes[index];
        let Some(count) = lane.refusals.say(now, 1) else { return };
        let text = format!(
            "log entry too large, topic: {}: {bytes} bytes do not fit one Kafka message; {count} records dropped; \
             log smaller bodies",
            lane.spec.topic
        );
        self.say(Level::Error, text);
    }

    /// A lane's batches go to the spool now.
    pub(super) fn report_spooling(&mut self, index: usize, now: Mono) {
        let lane = &mut self.lanes[index];
        if std::mem::take(&mut lane.tail.reported) {
            let text = format!("topic {}: the spool takes records again", lane.spec.topic);
            self.say(Level::Info, text);
        }
        let lane = &mut self.lanes[index];
        if lane.tail.announced || now < lane.tail.announce_from {
            return;
        }
        (lane.tail.announced, lane.tail.announce_from) = (true, now.plus_ms(SAY_AGAIN_MS));
        let (topic, brokers) = (&lane.spec.topic, self.sinks[lane.sink].name());
        let (level, what) = match self.ending {
            Ending::Stowing => {
                (Level::Info, "what Kafka did not take in time is kept in the spool; the next start delivers it")
            }
            Ending::No | Ending::Draining => (
                Level::Warn,
                "Kafka takes records too slowly for the ring; they go to the spool on disk and are sent from there",
            ),
        };
        let text = format!("topic {topic} at {brokers}: {what}");
        self.say(level, text);
    }

    /// Nothing of a lane is in the spool any more.
    pub(super) fn report_unspooled(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        lane.tail.reported = false;
        if std::mem::take(&mut lane.tail.announced) {
            let brokers = self.sinks[lane.sink].name();
            let text = format!("topic {} at {brokers}: nothing is left in the spool", lane.spec.topic);
            self.say(Level::Info, text);
        }
    }

    /// The spool takes nothing.
    pub(super) fn report_spool_full(&mut self, index: usize, now: Mono) {
        let lane = &mut self.lanes[index];
        if lane.tail.reported || now < lane.tail.report_from {
            return;
        }
        (lane.tail.reported, lane.tail.report_from) = (true, now.plus_ms(SAY_AGAIN_MS));
        let brokers = self.sinks[lane.sink].name();
        let text = format!(
            "topic {} at {brokers}: the spool takes nothing more: {} records are held, and new ones are dropped once the ring is full; \
             raise tollgate.spool.bytes or make room on its disk",
            lane.spec.topic, lane.held
        );
        self.say(Level::Error, text);
    }

    /// A frame of the spool cannot be read.
    pub(super) fn report_frame_lost(&mut self, index: usize, entries: u64) {
        let text = format!(
            "topic {}: a frame of the spool cannot be read: {entries} records are lost; `tollgate spool verify` says which",
            self.lanes[index].spec.topic
        );
        self.say(Level::Error, text);
    }

    /// The cluster gives no producer ids.
    pub(super) fn report_denied(&mut self, index: usize, why: &str) {
        let name = self.sinks[index].name();
        self.say(
            Level::Warn,
            format!(
                "kafka brokers {name} do not allow an idempotent producer ({why}); going on without: a record may be \
                 doubled when an answer is lost. Grant IdempotentWrite on the cluster (from Kafka 2.8 on, Write on a topic does)"
            ),
        );
    }
}

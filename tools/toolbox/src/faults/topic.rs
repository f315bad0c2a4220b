//! A topic of a case: made with three copies, checked to have them, and read back whole. By the Kafka protocol and nothing of the
//! gateway's: what is under test does not vouch for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, DescribeConfigsRequest, FetchRequest};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::RecordBatchDecoder;

use crate::wire::{self, View};
use crate::{Outcome, kafka::OwnCluster};

/// Versions that Kafka 2.8 to 4.1 answer and that need no flexible header.
const FETCH_VERSION: i16 = 11;
const DESCRIBE_CONFIGS_VERSION: i16 = 2;
/// Bytes of records per Fetch.
const FETCH_BYTES: i32 = 8 * 1024 * 1024;
/// Deadline of one question.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a topic may take until all copies of it are in sync.
const SYNC_LIMIT: Duration = Duration::from_secs(60);
/// How long reading it back may fail before it has failed.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const EVERY: Duration = Duration::from_millis(250);
/// Copies, and how many of them must have a record before it is acknowledged.
const COPIES: (usize, &str) = (3, "2");
/// Bytes of a record batch before its length counts: base offset and the length itself.
const BATCH_HEAD: usize = 12;

/// Makes the topic and sees to it that it is what the cases are about: three copies, all in sync, two of them needed.
pub fn make(cluster: &OwnCluster, topic: &str, partitions: i32) -> Outcome {
    let address = cluster.any_address()?;
    wire::create_topic(&address, topic, partitions, COPIES.0 as i16)?;
    wait_in_sync(cluster, topic, partitions as usize)?;
    let needed = config(&address, topic, "min.insync.replicas")?;
    if needed != COPIES.1 {
        return Err(format!("topic {topic} has min.insync.replicas {needed}, not {}", COPIES.1));
    }
    Ok(())
}

/// Waits until every broker knows the topic and all its copies are in sync.
pub fn wait_in_sync(cluster: &OwnCluster, topic: &str, partitions: usize) -> Outcome {
    let is_whole = |view: View| {
        let is_synced = |count: usize| count == COPIES.0;
        view.partitions.len() == partitions
            && view.partitions.iter().all(|one| is_synced(one.in_sync.len()) && one.leader >= 0)
            && view.partitions.iter().all(|one| one.replicas.len() == COPIES.0)
    };
    let ready = crate::stop::poll(SYNC_LIMIT, EVERY, || {
        let addresses = cluster.addresses();
        Ok(addresses.iter().all(|address| wire::view(address, Some(topic), DEADLINE).is_ok_and(is_whole)))
    })?;
    if ready {
        Ok(())
    } else {
        Err(format!("the copies of {topic} were not in sync within {} s", SYNC_LIMIT.as_secs()))
    }
}

fn config(address: &str, topic: &str, key: &'static str) -> Outcome<String> {
    const TOPIC: i8 = 2;
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(topic.to_owned()))
        .with_configuration_keys(Some(vec![StrBytes::from_static_str(key)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer = wire::ask(address, &request, DESCRIBE_CONFIGS_VERSION, DEADLINE)?;
    let found = answer.results.iter().flat_map(|result| &result.configs).find(|config| config.name.as_str() == key);
    let value = found.and_then(|config| config.value.as_ref()).map(|value| value.as_str().to_owned());
    value.ok_or_else(|| format!("Kafka at {address} does not say {key} of {topic}"))
}

/// The end offset of each partition.
pub fn ends(address: &str, topic: &str) -> Outcome<BTreeMap<i32, i64>> {
    let view = wire::view(address, Some(topic), DEADLINE)?;
    let each = view.partitions.iter().map(|one| {
        let leader = leader_of(&view, topic, one.index)?;
        Ok((one.index, wire::offset(leader, topic, one.index, -1)?))
    });
    each.collect()
}

fn leader_of<'a>(view: &'a View, topic: &str, partition: i32) -> Outcome<&'a str> {
    let of = view.partitions.iter().find(|one| one.index == partition).map_or(-1, |one| one.leader);
    let found = view.brokers.iter().find(|(node, _)| *node == of);
    found.map(|(_, address)| address.as_str()).ok_or_else(|| format!("{topic}-{partition} has no leader"))
}

/// The node that leads the partition which grows most just now.
pub fn busiest_leader(cluster: &OwnCluster, topic: &str) -> Outcome<(i32, u16)> {
    let address = cluster.any_address()?;
    let before = ends(&address, topic)?;
    crate::stop::pause(Duration::from_secs(1))?;
    let after = ends(&address, topic)?;
    let grown = |partition: &i32| after[partition] - before.get(partition).copied().unwrap_or(0);
    let busiest = after.keys().copied().max_by_key(grown).ok_or_else(|| format!("there is no topic {topic}"))?;
    let view = wire::view(&address, Some(topic), DEADLINE)?;
    let leader = view.partitions.iter().find(|one| one.index == busiest).map_or(-1, |one| one.leader);
    let leader = u16::try_from(leader).map_err(|_| format!("{topic}-{busiest} has no leader"))?;
    Ok((busiest, leader))
}

/// Every record's value, by partition, in the order of the offsets. Leaders that move cost a pause.
pub fn read_all(cluster: &OwnCluster, topic: &str) -> Outcome<BTreeMap<i32, Vec<Vec<u8>>>> {
    let mut trouble = String::new();
    let mut all = None;
    crate::stop::poll(READ_LIMIT, EVERY, || {
        match cluster.any_address().and_then(|address| try_read_all(&address, topic)) {
            Ok(values) => all = Some(values),
            Err(text) => trouble = text,
        }
        Ok(all.is_some())
    })?;
    all.ok_or_else(|| format!("{topic} could not be read back: {trouble}"))
}

fn try_read_all(address: &str, topic: &str) -> Outcome<BTreeMap<i32, Vec<Vec<u8>>>> {
    let view = wire::view(address, Some(topic), DEADLINE)?;
    let mut all = BTreeMap::new();
    for (partition, end) in ends(address, topic)? {
        let leader = leader_of(&view, topic, partition)?;
        let mut values = Vec::new();
        let mut next = wire::offset(leader, topic, partition, -2)?;
        while next < end {
            let before = next;
            for (offset, value) in fetch(leader, topic, partition, next)? {
                // A batch comes whole, also if only its end was asked for.
                if offset >= next && offset < end {
                    values.push(value);
                    next = offset + 1;
                }
            }
            if next == before {
                return Err(format!("{topic}-{partition} has nothing at offset {next}, and ends at {end}"));
            }
        }
        all.insert(partition, values);
    }
    Ok(all)
}

fn fetch(leader: &str, topic: &str, partition: i32, offset: i64) -> Outcome<Vec<(i64, Vec<u8>)>> {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_log_start_offset(-1)
        .with_partition_max_bytes(FETCH_BYTES);
    let topics = vec![FetchTopic::default().with_topic(wire::name(topic)).with_partitions(vec![wanted])];
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(1000)
        .with_min_bytes(1)
        .with_max_bytes(FETCH_BYTES)
        .with_session_epoch(-1)
        .with_topics(topics);
    let answer = wire::ask(leader, &request, FETCH_VERSION, DEADLINE)?;
    let found = answer.responses.first().and_then(|topic| topic.partitions.first());
    let found = found.ok_or_else(|| format!("{topic}-{partition}: no answer"))?;
    if answer.error_code != 0 || found.error_code != 0 {
        return Err(format!("{topic}-{partition}: error {}", found.error_code.max(answer.error_code)));
    }
    values_of(found.records.clone().unwrap_or_default())
        .map_err(|error| format!("{topic}-{partition} from {offset}: {error}"))
}

/// Offsets and values of whole batches; the last one may have been cut by the broker and is left out. Control records are Kafka's own.
fn values_of(mut bytes: Bytes) -> Outcome<Vec<(i64, Vec<u8>)>> {
    let mut values = Vec::new();
    while bytes.len() >= BATCH_HEAD {
        let length = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let whole = BATCH_HEAD + usize::try_from(length).map_err(|_| "a batch of negative length".to_owned())?;
        if bytes.len() < whole {
            break;
        }
        let mut batch = bytes.slice(..whole);
        bytes.advance(whole);
        let set = RecordBatchDecoder::decode(&mut batch).map_err(|error| error.to_string())?;
        let kept = set.records.into_iter().filter(|record| !record.control);
        values.extend(kept.map(|record| (record.offset, record.value.unwrap_or_default().to_vec())));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::indexmap::IndexMap;
    use kafka_protocol::records::{
        Compression, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };

    use super::*;

    fn batch(first: i64, values: &[&str]) -> Bytes {
        let record = |(index, value): (usize, &&str)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            timestamp_type: TimestampType::Creation,
            offset: first + index as i64,
            sequence: index as i32,
            timestamp: 0,
            key: None,
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: IndexMap::new(),
        };
        let records: Vec<Record> = values.iter().enumerate().map(record).collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("a batch");
        bytes.freeze()
    }

    #[test]
    fn whole_batches_are_read_and_a_cut_one_is_left_for_the_next_fetch() {
        let (first, second) = (batch(5, &["a", "b"]), batch(7, &["c"]));
        let both = [&first[..], &second[..]].concat();
        let all = vec![(5, b"a".to_vec()), (6, b"b".to_vec()), (7, b"c".to_vec())];
        assert_eq!(values_of(Bytes::from(both.clone())), Ok(all.clone()));
        assert_eq!(values_of(Bytes::from(both[..both.len() - 1].to_vec())), Ok(all[..2].to_vec()));
    }
}

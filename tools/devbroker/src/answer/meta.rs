//! ApiVersions, Metadata, CreateTopics, DescribeLogDirs.

use super::{Context, Request, code_of, frame, place, text, topic_name};
use crate::state::{Log, State, Topic};
use crate::versions::Versions;
use crate::{Api, api, code};
use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, CreateTopicsRequest, CreateTopicsResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse, MetadataRequest, MetadataResponse,
};

const CLUSTER_ID: &str = "tollgate-devbroker-0000";

pub fn api_versions(request: &Request, context: &Context<'_>) -> Result<Bytes, ()> {
    let code = context.code(code::NONE);
    if code == code::UNSUPPORTED_VERSION {
        return Ok(unsupported_version(request.correlation, &context.state.versions));
    }
    let api_keys = api::ALL.into_iter().filter_map(|api| versions_of(api, &context.state.versions)).collect();
    let mut response = ApiVersionsResponse::default().with_api_keys(api_keys).with_error_code(code);
    if request.version >= 1 {
        response.throttle_time_ms = context.throttle_ms;
    }
    request.encode(&response)
}

fn versions_of(api: Api, versions: &Versions) -> Option<ApiVersion> {
    let (min, max) = versions.advertised(api)?;
    Some(ApiVersion::default().with_api_key(api as i16).with_min_version(min).with_max_version(max))
}

/// The answer to an ApiVersions newer than ours: version 0, with the versions of ApiVersions itself (KIP-511).
pub fn unsupported_version(correlation: i32, versions: &Versions) -> Bytes {
    let response = ApiVersionsResponse::default()
        .with_error_code(code::UNSUPPORTED_VERSION)
        .with_api_keys(versions_of(Api::ApiVersions, versions).into_iter().collect());
    frame(correlation, false, &response, 0).unwrap_or_default()
}

pub fn metadata(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: MetadataRequest = request.decode()?;
    let brokers = context.state.nodes.iter().filter(|node| node.up).map(|node| {
        let (id, host, port) = place(node);
        MetadataResponseBroker::default().with_node_id(id).with_host(host).with_port(port)
    });
    let mut response = MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(text(CLUSTER_ID)))
        .with_controller_id(BrokerId(context.node));
    if request.version >= 3 {
        response.throttle_time_ms = context.throttle_ms;
    }
    // Version 0 has no null: an empty list asks for all.
    let named = asked.topics.filter(|topics| request.version > 0 || !topics.is_empty());
    let create = context.auto_create && (request.version < 4 || asked.allow_auto_topic_creation);
    response.topics = match named {
        Some(topics) => topics.iter().map(|t| named_topic(context, t, create)).collect(),
        None => {
            let names: Vec<String> = context.state.topics.keys().cloned().collect();
            names.iter().map(|name| known(context, name)).collect()
        }
    };
    request.encode(&response)
}

fn named_topic(context: &mut Context<'_>, asked: &MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    let name = match &asked.name {
        Some(name) => name.0.to_string(),
        None => match context.state.name_of(asked.topic_id.as_u128()) {
            Some(name) => name.to_owned(),
            None => {
                return MetadataResponseTopic::default().with_error_code(code::UNKNOWN_TOPIC_ID).with_name(None);
            }
        },
    };
    let missing = !context.state.topics.contains_key(&name);
    if create
        && missing
        && context.refusal().is_none()
        && let Err(code) = context.state.create_topic(&name, -1)
    {
        return nothing(&name, code);
    }
    known(context, &name)
}

fn nothing(name: &str, code: i16) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(code).with_name(Some(topic_name(name)))
}

fn known(context: &Context<'_>, name: &str) -> MetadataResponseTopic {
    if let Some((code, _)) = context.error {
        return nothing(name, code);
    }
    let Some(topic) = context.state.topics.get(name) else {
        return nothing(name, code::UNKNOWN_TOPIC_OR_PARTITION);
    };
    let partitions = topic.logs.iter().zip(0..).map(|(log, index)| partition(context.state, log, index)).collect();
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(name)))
        .with_topic_id(uuid(topic))
        .with_partitions(partitions)
}

/// A leader that is down is none (Kafka names no leader without an endpoint).
fn partition(state: &State, log: &Log, index: i32) -> MetadataResponsePartition {
    let leader = state.node(log.leader).filter(|node| node.up).map_or(-1, |node| node.id);
    let all: Vec<BrokerId> = state.nodes.iter().map(|node| BrokerId(node.id)).collect();
    let in_sync = state.nodes.iter().filter(|node| node.up).map(|node| BrokerId(node.id)).collect();
    MetadataResponsePartition::default()
        .with_error_code(if leader < 0 { code::LEADER_NOT_AVAILABLE } else { code::NONE })
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader))
        .with_leader_epoch(log.leader_epoch)
        .with_replica_nodes(all)
        .with_isr_nodes(in_sync)
}

fn uuid(topic: &Topic) -> uuid::Uuid {
    uuid::Uuid::from_u128(topic.id)
}

pub fn create_topics(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: CreateTopicsRequest = request.decode()?;
    let topics = asked.topics.iter().map(|t| create(request.version, context, t, asked.validate_only)).collect();
    request.encode(&CreateTopicsResponse::default().with_topics(topics))
}

fn create(
    version: i16,
    context: &mut Context<'_>,
    asked: &CreatableTopic,
    validate_only: bool,
) -> CreatableTopicResult {
    let count = if asked.assignments.is_empty() { asked.num_partitions } else { asked.assignments.len() as i32 };
    let made = context.run(|c| {
        if !matches!(asked.replication_factor, -1 | 1) {
            return Err(code::INVALID_REPLICATION_FACTOR);
        }
        c.state.create_topic(&asked.name.0, count).map(|topic| (uuid(topic), topic.logs.len() as i32))
    });
    if validate_only && made.is_ok() {
        context.state.topics.remove(asked.name.0.as_str());
    }
    let mut result = CreatableTopicResult::default().with_name(asked.name.clone()).with_error_code(code_of(&made));
    result.error_message = None;
    if version >= 5 {
        result.configs = Some(Vec::new());
    }
    if let Ok((id, partitions)) = made {
        if version >= 5 {
            (result.num_partitions, result.replication_factor) = (partitions, 1);
        }
        if version >= 7 {
            result.topic_id = id;
        }
    }
    result
}

pub fn describe_log_dirs(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: DescribeLogDirsRequest = request.decode()?;
    let mut dir =
        DescribeLogDirsResult::default().with_log_dir(text("memory")).with_error_code(context.code(code::NONE));
    let is_asked = |name: &str, index: i32| {
        asked
            .topics
            .as_ref()
            .is_none_or(|topics| topics.iter().any(|t| t.topic.0.as_str() == name && t.partitions.contains(&index)))
    };
    for (name, topic) in &context.state.topics {
        let logs = topic.logs.iter().enumerate().map(|(index, log)| (index as i32, log));
        let partitions: Vec<_> = logs
            .filter(|(index, _)| is_asked(name, *index))
            .map(|(index, log)| {
                DescribeLogDirsPartition::default().with_partition_index(index).with_partition_size(log.bytes() as i64)
            })
            .collect();
        if !partitions.is_empty() {
            dir.topics.push(DescribeLogDirsTopic::default().with_name(topic_name(name)).with_partitions(partitions));
        }
    }
    request.encode(&DescribeLogDirsResponse::default().with_results(vec![dir]))
}

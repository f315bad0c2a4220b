//! The consumer group requests.

use super::{Context, Request, code_of, place, text};
use crate::code;
use crate::groups::{Commit, Join};
use bytes::Bytes;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};

pub fn find_coordinator(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: FindCoordinatorRequest = request.decode()?;
    let code = context.code(code::NONE);
    let own = context.state.node(context.node).filter(|_| code == code::NONE);
    let (node, host, port) = own.map_or((BrokerId(-1), text(""), -1), place);
    let mut response = FindCoordinatorResponse::default();
    if request.version < 4 {
        response = response.with_error_code(code).with_node_id(node).with_host(host).with_port(port);
    } else {
        let one = Coordinator::default().with_node_id(node).with_host(host).with_port(port).with_error_code(code);
        response.coordinators = asked.coordinator_keys.into_iter().map(|key| one.clone().with_key(key)).collect();
    }
    request.encode(&response)
}

pub fn join(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: JoinGroupRequest = request.decode()?;
    let join = Join {
        group: &asked.group_id.0,
        member: &asked.member_id,
        asks_for_id: request.version >= 4 && asked.group_instance_id.is_none(),
        connection: context.connection,
        session_ms: u64::try_from(asked.session_timeout_ms).unwrap_or(0),
        protocol: asked.protocols.first().map(|p| (p.name.as_str(), p.metadata.clone())),
    };
    let joined = match context.refusal() {
        Some(code) => Err((code, asked.member_id.to_string())),
        None => context.state.groups.join(&join, context.now_ms),
    };
    let mut response = JoinGroupResponse::default();
    match joined {
        Ok(joined) => {
            response = response
                .with_error_code(context.code(code::NONE))
                .with_generation_id(joined.generation)
                .with_protocol_name(Some(text(&joined.protocol)))
                .with_leader(text(&joined.member))
                .with_member_id(text(&joined.member))
                .with_members(vec![
                    JoinGroupResponseMember::default()
                        .with_member_id(text(&joined.member))
                        .with_metadata(joined.metadata)
                        .with_group_instance_id(asked.group_instance_id.clone().filter(|_| request.version >= 5)),
                ]);
        }
        Err((code, member)) => {
            response = response
                .with_error_code(code)
                .with_generation_id(-1)
                .with_member_id(text(&member))
                .with_protocol_name((request.version < 7).then(|| text("")));
        }
    }
    if request.version >= 7 {
        response.protocol_type = Some(asked.protocol_type);
    }
    request.encode(&response)
}

pub fn sync(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: SyncGroupRequest = request.decode()?;
    let own = asked.assignments.iter().find(|a| a.member_id == asked.member_id).map(|a| a.assignment.clone());
    let who = (asked.group_id.0.as_str(), asked.member_id.as_str(), asked.generation_id);
    let given = context.run(|c| c.state.groups.sync(who, own, c.now_ms));
    let mut response = SyncGroupResponse::default().with_error_code(code_of(&given));
    if let Ok((assignment, protocol)) = given {
        response.assignment = assignment;
        if request.version >= 5 {
            response.protocol_name = Some(text(&protocol));
            response.protocol_type = asked.protocol_type;
        }
    }
    request.encode(&response)
}

pub fn heartbeat(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: HeartbeatRequest = request.decode()?;
    let lives =
        context.run(|c| c.state.groups.heartbeat(&asked.group_id.0, &asked.member_id, asked.generation_id, c.now_ms));
    request.encode(&HeartbeatResponse::default().with_error_code(code_of(&lives)))
}

pub fn leave(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: LeaveGroupRequest = request.decode()?;
    if request.version < 3 {
        let left = context.run(|c| c.state.groups.leave(&asked.group_id.0, &asked.member_id));
        return request.encode(&LeaveGroupResponse::default().with_error_code(code_of(&left)));
    }
    let members = asked.members.iter().map(|member| {
        let left = context.run(|c| c.state.groups.leave(&asked.group_id.0, &member.member_id));
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(code_of(&left))
    });
    request.encode(&LeaveGroupResponse::default().with_members(members.collect()))
}

pub fn commit(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: OffsetCommitRequest = request.decode()?;
    let who = (asked.group_id.0.as_str(), asked.member_id.as_str(), asked.generation_id_or_member_epoch);
    let mut response = OffsetCommitResponse::default();
    for topic in &asked.topics {
        let mut answered = OffsetCommitResponseTopic::default().with_name(topic.name.clone());
        for part in &topic.partitions {
            let commit = Commit {
                offset: part.committed_offset,
                leader_epoch: part.committed_leader_epoch,
                metadata: part.committed_metadata.as_deref().unwrap_or_default().to_owned(),
            };
            let place = (topic.name.0.as_str(), part.partition_index);
            let kept = context.run(|c| c.state.groups.commit(who, place, commit, c.now_ms));
            answered.partitions.push(
                OffsetCommitResponsePartition::default()
                    .with_partition_index(part.partition_index)
                    .with_error_code(code_of(&kept)),
            );
        }
        response.topics.push(answered);
    }
    request.encode(&response)
}

pub fn committed(request: &Request, context: &mut Context<'_>) -> Result<Bytes, ()> {
    let asked: OffsetFetchRequest = request.decode()?;
    let group = asked.group_id.0.as_str();
    let places: Vec<(String, i32)> = match &asked.topics {
        Some(topics) => {
            topics.iter().flat_map(|t| t.partition_indexes.iter().map(|index| (t.name.0.to_string(), *index))).collect()
        }
        None => context.state.groups.all_committed(group),
    };
    let mut response = OffsetFetchResponse::default();
    for (topic, partition) in places {
        let found = context.state.groups.committed(group, &topic, partition);
        let mut part = OffsetFetchResponsePartition::default()
            .with_partition_index(partition)
            .with_committed_offset(found.map_or(-1, |c| c.offset))
            .with_metadata(Some(text(found.map_or("", |c| &c.metadata))))
            .with_error_code(context.code(code::NONE));
        if request.version >= 5 {
            part.committed_leader_epoch = found.map_or(-1, |c| c.leader_epoch);
        }
        match response.topics.last_mut() {
            Some(last) if last.name.0.as_str() == topic => last.partitions.push(part),
            _ => response.topics.push(
                OffsetFetchResponseTopic::default().with_name(super::topic_name(&topic)).with_partitions(vec![part]),
            ),
        }
    }
    request.encode(&response)
}

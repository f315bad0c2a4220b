//! Consumer groups with one member each, which is what `kcat -G` and a console consumer need. A second member is turned away while the first
//! lives. Pure; time is a value.

use crate::code;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Groups at most; a further one is refused.
const GROUPS: usize = 1_000;
/// Committed offsets in one group at most.
const COMMITS_PER_GROUP: usize = 10_000;

#[derive(Debug)]
struct Member {
    id: String,
    connection: u64,
    session_ms: u64,
    heard_ms: u64,
    protocol: String,
    assignment: Bytes,
}

/// An offset somebody committed, with a text of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The offset.
    pub offset: i64,
    /// Leader epoch, or -1.
    pub leader_epoch: i32,
    /// Their text.
    pub metadata: String,
}

#[derive(Debug, Default)]
struct Group {
    generation: i32,
    member: Option<Member>,
    commits: BTreeMap<(String, i32), Commit>,
}

/// All groups.
#[derive(Debug, Default)]
pub struct Groups {
    groups: BTreeMap<String, Group>,
    next_member: u64,
}

/// Somebody who wants to join.
#[derive(Clone, Debug)]
pub struct Join<'a> {
    /// The group.
    pub group: &'a str,
    /// Their member id; empty the first time.
    pub member: &'a str,
    /// They can be told an id first (JoinGroup ≥ 4, KIP-394).
    pub asks_for_id: bool,
    /// The connection they came on; when it closes they are gone.
    pub connection: u64,
    /// Milliseconds without a heartbeat after which they are gone.
    pub session_ms: u64,
    /// Name and metadata of the protocol they like best.
    pub protocol: Option<(&'a str, Bytes)>,
}

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The member's id.
    pub member: String,
    /// The group's generation.
    pub generation: i32,
    /// The protocol chosen.
    pub protocol: String,
    /// The member's own metadata, back: it leads and assigns.
    pub metadata: Bytes,
}

impl Groups {
    /// Joins, or joins again.
    ///
    /// # Errors
    /// Kafka's code and the member id to tell: 79 come again with this id, 81 somebody is in, 23 no protocol, 24 no group.
    pub fn join(&mut self, join: &Join<'_>, now_ms: u64) -> Result<Joined, (i16, String)> {
        if join.group.is_empty() || (self.groups.len() >= GROUPS && !self.groups.contains_key(join.group)) {
            return Err((code::INVALID_GROUP_ID, join.member.to_owned()));
        }
        let member = if join.member.is_empty() {
            self.next_member += 1;
            format!("member-{}", self.next_member)
        } else {
            join.member.to_owned()
        };
        if join.member.is_empty() && join.asks_for_id {
            return Err((code::MEMBER_ID_REQUIRED, member));
        }
        let Some((protocol, metadata)) = join.protocol.clone() else {
            return Err((code::INCONSISTENT_GROUP_PROTOCOL, member));
        };
        let group = self.groups.entry(join.group.to_owned()).or_default();
        let alive = |m: &Member| m.id != member && now_ms.saturating_sub(m.heard_ms) < m.session_ms;
        if group.member.as_ref().is_some_and(alive) {
            return Err((code::GROUP_MAX_SIZE_REACHED, member));
        }
        group.generation += 1;
        group.member = Some(Member {
            id: member.clone(),
            connection: join.connection,
            session_ms: join.session_ms,
            heard_ms: now_ms,
            protocol: protocol.to_owned(),
            assignment: Bytes::new(),
        });
        Ok(Joined { member, generation: group.generation, protocol: protocol.to_owned(), metadata })
    }

    fn member(&mut self, group: &str, member: &str, generation: i32, now_ms: u64) -> Result<&mut Member, i16> {
        let group = self.groups.get_mut(group).ok_or(code::UNKNOWN_MEMBER_ID)?;
        let found = group.member.as_mut().filter(|m| m.id == member).ok_or(code::UNKNOWN_MEMBER_ID)?;
        if group.generation != generation {
            return Err(code::ILLEGAL_GENERATION);
        }
        found.heard_ms = now_ms;
        Ok(found)
    }

    /// Takes the leader's assignment for the member, if one came, and hands it out. Also names the protocol.
    ///
    /// # Errors
    /// 25 no such member, 22 another generation.
    pub fn sync(
        &mut self,
        who: (&str, &str, i32),
        assignment: Option<Bytes>,
        now_ms: u64,
    ) -> Result<(Bytes, String), i16> {
        let member = self.member(who.0, who.1, who.2, now_ms)?;
        if let Some(assignment) = assignment {
            member.assignment = assignment;
        }
        Ok((member.assignment.clone(), member.protocol.clone()))
    }

    /// Notes that a member lives.
    ///
    /// # Errors
    /// 25 no such member, 22 another generation.
    pub fn heartbeat(&mut self, group: &str, member: &str, generation: i32, now_ms: u64) -> Result<(), i16> {
        self.member(group, member, generation, now_ms).map(|_| ())
    }

    /// A member goes.
    ///
    /// # Errors
    /// 25 no such member.
    pub fn leave(&mut self, group: &str, member: &str) -> Result<(), i16> {
        let group = self.groups.get_mut(group).ok_or(code::UNKNOWN_MEMBER_ID)?;
        group.member.take_if(|m| m.id == member).map(|_| ()).ok_or(code::UNKNOWN_MEMBER_ID)
    }

    /// A connection closed: its members are gone.
    pub fn disconnect(&mut self, connection: u64) {
        for group in self.groups.values_mut() {
            group.member.take_if(|m| m.connection == connection);
        }
    }

    /// Keeps an offset; a generation below 0 commits from outside the group.
    ///
    /// # Errors
    /// 25, 22 as above; 24 too many groups; 44 too many offsets.
    pub fn commit(
        &mut self,
        who: (&str, &str, i32),
        place: (&str, i32),
        commit: Commit,
        now_ms: u64,
    ) -> Result<(), i16> {
        if who.2 >= 0 {
            self.member(who.0, who.1, who.2, now_ms)?;
        }
        if self.groups.len() >= GROUPS && !self.groups.contains_key(who.0) {
            return Err(code::INVALID_GROUP_ID);
        }
        let commits = &mut self.groups.entry(who.0.to_owned()).or_default().commits;
        let key = (place.0.to_owned(), place.1);
        if commits.len() >= COMMITS_PER_GROUP && !commits.contains_key(&key) {
            return Err(code::POLICY_VIOLATION);
        }
        commits.insert(key, commit);
        Ok(())
    }

    /// The offset committed for one partition.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<&Commit> {
        self.groups.get(group)?.commits.get(&(topic.to_owned(), partition))
    }

    /// All places a group committed for.
    pub fn all_committed(&self, group: &str) -> Vec<(String, i32)> {
        self.groups.get(group).map(|g| g.commits.keys().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join<'a>(member: &'a str, connection: u64) -> Join<'a> {
        let protocol = Some(("range", Bytes::from_static(b"m")));
        Join { group: "g", member, asks_for_id: !member.is_empty(), connection, session_ms: 1_000, protocol }
    }

    #[test]
    fn one_member_joins_is_assigned_and_commits() {
        let mut groups = Groups::default();
        let joined = groups.join(&join("", 1), 0).unwrap();
        let who = ("g", joined.member.as_str(), joined.generation);
        let given = groups.sync(who, Some(Bytes::from_static(b"a")), 5).unwrap();
        assert_eq!(given, (Bytes::from_static(b"a"), "range".to_owned()));
        let commit = Commit { offset: 7, leader_epoch: -1, metadata: String::new() };
        groups.commit(who, ("t", 0), commit.clone(), 6).unwrap();
        assert_eq!(groups.committed("g", "t", 0), Some(&commit));
        assert_eq!(groups.heartbeat("g", who.1, who.2 + 1, 7), Err(22));
        assert_eq!(groups.heartbeat("g", "other", who.2, 7), Err(25));
    }

    #[test]
    fn second_member_waits_until_the_first_is_gone() {
        let mut groups = Groups::default();
        groups.join(&join("", 1), 0).unwrap();
        assert_eq!(groups.join(&join("b", 2), 10).unwrap_err().0, 81);
        groups.disconnect(1);
        assert_eq!(groups.join(&join("b", 2), 20).unwrap().generation, 2);
        assert_eq!(groups.join(&join("c", 3), 1_020).unwrap().generation, 3, "b was silent for its session");
    }

    #[test]
    fn new_client_is_told_its_id_first() {
        let mut groups = Groups::default();
        let asking = Join { asks_for_id: true, ..join("", 1) };
        let (code, id) = groups.join(&asking, 0).unwrap_err();
        assert_eq!(code, 79);
        assert_eq!(groups.join(&join(&id, 1), 0).unwrap().member, id);
    }
}

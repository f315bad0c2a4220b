//! The requests that are served: keys, the versions advertised, and each one's layout. Chosen so that kcat, librdkafka and the Java clients work:
//! Produce starts at 0 in the list as Kafka 4.1's does (librdkafka wants it) but 0–2 close the connection, and ends at 12 unless topic ids are
//! asked for; Fetch ends at 12, the last with names.

use crate::shape::Field::{Blob, Fixed, Plain, Structs, Text};
use crate::shape::{Layout, Part};

/// A request's kind; the number is Kafka's API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
#[allow(missing_docs, reason = "Kafka's names")]
pub enum Api {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    ApiVersions = 18,
    CreateTopics = 19,
    InitProducerId = 22,
    DescribeLogDirs = 35,
    DescribeProducers = 61,
}

/// Every request served.
pub const ALL: [Api; 16] = [
    Api::Produce,
    Api::Fetch,
    Api::ListOffsets,
    Api::Metadata,
    Api::OffsetCommit,
    Api::OffsetFetch,
    Api::FindCoordinator,
    Api::JoinGroup,
    Api::Heartbeat,
    Api::LeaveGroup,
    Api::SyncGroup,
    Api::ApiVersions,
    Api::CreateTopics,
    Api::InitProducerId,
    Api::DescribeLogDirs,
    Api::DescribeProducers,
];

const MAX: i16 = i16::MAX;

const fn all(field: crate::shape::Field) -> Part {
    Part(0, MAX, field)
}

const fn since(version: i16, field: crate::shape::Field) -> Part {
    Part(version, MAX, field)
}

impl Api {
    /// The kind with this API key, if it is served.
    pub fn from_key(key: i16) -> Option<Self> {
        ALL.into_iter().find(|api| *api as i16 == key)
    }

    /// Versions that can be answered: lowest, highest. [`Versions`](crate::Versions) lowers them.
    pub const fn versions(self) -> (i16, i16) {
        match self {
            Self::Produce => (0, 13),
            Self::Fetch => (4, 12),
            Self::ListOffsets => (1, 7),
            Self::Metadata => (0, 12),
            Self::OffsetCommit => (2, 8),
            Self::OffsetFetch => (1, 7),
            Self::JoinGroup => (0, 9),
            Self::FindCoordinator | Self::Heartbeat | Self::LeaveGroup | Self::ApiVersions | Self::InitProducerId => {
                (0, 4)
            }
            Self::SyncGroup => (0, 5),
            Self::CreateTopics => (2, 7),
            Self::DescribeLogDirs => (1, 4),
            Self::DescribeProducers => (0, 0),
        }
    }

    /// Lowest version that is answered; below it the connection is closed.
    pub const fn lowest_answered(self) -> i16 {
        match self {
            Self::Produce => 3,
            _ => self.versions().0,
        }
    }

    pub(crate) const fn layout(self) -> &'static Layout {
        match self {
            Self::Produce => &PRODUCE,
            Self::Fetch => &FETCH,
            Self::ListOffsets => &LIST_OFFSETS,
            Self::Metadata => &METADATA,
            Self::OffsetCommit => &OFFSET_COMMIT,
            Self::OffsetFetch => &OFFSET_FETCH,
            Self::FindCoordinator => &FIND_COORDINATOR,
            Self::JoinGroup => &JOIN_GROUP,
            Self::Heartbeat => &HEARTBEAT,
            Self::LeaveGroup => &LEAVE_GROUP,
            Self::SyncGroup => &SYNC_GROUP,
            Self::ApiVersions => &API_VERSIONS,
            Self::CreateTopics => &CREATE_TOPICS,
            Self::InitProducerId => &INIT_PRODUCER_ID,
            Self::DescribeLogDirs => &DESCRIBE_LOG_DIRS,
            Self::DescribeProducers => &DESCRIBE_PRODUCERS,
        }
    }
}

static PRODUCE: Layout = Layout {
    flexible_from: 9,
    parts: &[
        all(Text),
        all(Fixed(6)),
        all(Structs(&[Part(0, 12, Text), since(13, Fixed(16)), all(Structs(&[all(Fixed(4)), all(Blob)]))])),
    ],
};

static FETCH: Layout = Layout {
    flexible_from: 12,
    parts: &[
        all(Fixed(17)),
        since(7, Fixed(8)),
        all(Structs(&[
            all(Text),
            all(Structs(&[
                all(Fixed(4)),
                since(9, Fixed(4)),
                all(Fixed(8)),
                since(12, Fixed(4)),
                since(5, Fixed(8)),
                all(Fixed(4)),
            ])),
        ])),
        since(7, Structs(&[all(Text), all(Plain(&Fixed(4)))])),
        since(11, Text),
    ],
};

static LIST_OFFSETS: Layout = Layout {
    flexible_from: 6,
    parts: &[
        all(Fixed(4)),
        since(2, Fixed(1)),
        all(Structs(&[all(Text), all(Structs(&[all(Fixed(4)), since(4, Fixed(4)), all(Fixed(8))]))])),
    ],
};

static METADATA: Layout = Layout {
    flexible_from: 9,
    parts: &[
        all(Structs(&[since(10, Fixed(16)), all(Text)])),
        since(4, Fixed(1)),
        Part(8, 10, Fixed(1)),
        since(8, Fixed(1)),
    ],
};

static OFFSET_COMMIT: Layout = Layout {
    flexible_from: 8,
    parts: &[
        all(Text),
        all(Fixed(4)),
        all(Text),
        since(7, Text),
        Part(0, 4, Fixed(8)),
        all(Structs(&[all(Text), all(Structs(&[all(Fixed(12)), since(6, Fixed(4)), all(Text)]))])),
    ],
};

static OFFSET_FETCH: Layout = Layout {
    flexible_from: 6,
    parts: &[all(Text), all(Structs(&[all(Text), all(Plain(&Fixed(4)))])), since(7, Fixed(1))],
};

static FIND_COORDINATOR: Layout =
    Layout { flexible_from: 3, parts: &[Part(0, 3, Text), since(1, Fixed(1)), since(4, Plain(&Text))] };

static JOIN_GROUP: Layout = Layout {
    flexible_from: 6,
    parts: &[
        all(Text),
        all(Fixed(4)),
        since(1, Fixed(4)),
        all(Text),
        since(5, Text),
        all(Text),
        all(Structs(&[all(Text), all(Blob)])),
        since(8, Text),
    ],
};

static HEARTBEAT: Layout = Layout { flexible_from: 4, parts: &[all(Text), all(Fixed(4)), all(Text), since(3, Text)] };

static LEAVE_GROUP: Layout = Layout {
    flexible_from: 4,
    parts: &[all(Text), Part(0, 2, Text), since(3, Structs(&[all(Text), all(Text), since(5, Text)]))],
};

static SYNC_GROUP: Layout = Layout {
    flexible_from: 4,
    parts: &[
        all(Text),
        all(Fixed(4)),
        all(Text),
        since(3, Text),
        since(5, Text),
        since(5, Text),
        all(Structs(&[all(Text), all(Blob)])),
    ],
};

static API_VERSIONS: Layout = Layout { flexible_from: 3, parts: &[since(3, Text), since(3, Text)] };

static CREATE_TOPICS: Layout = Layout {
    flexible_from: 5,
    parts: &[
        all(Structs(&[
            all(Text),
            all(Fixed(6)),
            all(Structs(&[all(Fixed(4)), all(Plain(&Fixed(4)))])),
            all(Structs(&[all(Text), all(Text)])),
        ])),
        all(Fixed(5)),
    ],
};

static INIT_PRODUCER_ID: Layout = Layout { flexible_from: 2, parts: &[all(Text), all(Fixed(4)), since(3, Fixed(10))] };

static DESCRIBE_LOG_DIRS: Layout =
    Layout { flexible_from: 2, parts: &[all(Structs(&[all(Text), all(Plain(&Fixed(4)))]))] };

static DESCRIBE_PRODUCERS: Layout =
    Layout { flexible_from: 0, parts: &[all(Structs(&[all(Text), all(Plain(&Fixed(4)))]))] };

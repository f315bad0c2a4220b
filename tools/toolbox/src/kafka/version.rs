//! The versions of Kafka that can be started, and how they differ.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A version, by the two numbers people say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Version {
    /// Today's: KRaft only.
    #[value(name = "4.1")]
    V4_1,
    /// The last that still answers the oldest clients.
    #[value(name = "3.9")]
    V3_9,
    /// The tutorial's, with ZooKeeper.
    #[value(name = "2.8")]
    V2_8,
}

impl Version {
    /// As on the command line.
    pub const fn text(self) -> &'static str {
        match self {
            Self::V4_1 => "4.1",
            Self::V3_9 => "3.9",
            Self::V2_8 => "2.8",
        }
    }

    /// True if its brokers keep their metadata in ZooKeeper.
    pub const fn with_zookeeper(self) -> bool {
        matches!(self, Self::V2_8)
    }

    /// Megabytes of its jars on disk (measured), for saying how much will be installed.
    pub const fn jars_mb(self) -> u32 {
        match self {
            Self::V4_1 => 44,
            Self::V3_9 => 46,
            Self::V2_8 => 35,
        }
    }

    /// The oldest Java that runs it.
    pub const fn java(self) -> u32 {
        match self {
            Self::V4_1 => 17,
            Self::V3_9 | Self::V2_8 => 11,
        }
    }
}

//! What is measured: the cases of `tools/bench`, by name, and who takes part in each.

use crate::Outcome;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Ours without `kafka-logger`.
    Off,
    /// Ours, `producer_type: async`.
    Async,
    /// Ours, `producer_type: sync`.
    Sync,
    /// Ours, `ack_before_response: true`.
    Held,
    /// nginx, no log.
    Nginx,
    /// HAProxy, no log.
    Haproxy,
    /// nginx with a JSON log that rsyslog sends to Kafka.
    NginxRsyslog,
    /// `benches/relay`: neither parses nor records.
    Relay,
    /// `tools/card`: the literal design card.
    Card,
}

impl Who {
    /// All, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Off,
        Self::Async,
        Self::Sync,
        Self::Held,
        Self::Nginx,
        Self::Haproxy,
        Self::NginxRsyslog,
        Self::Relay,
        Self::Card,
    ];

    /// On the command line and in file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Async => "async",
            Self::Sync => "sync",
            Self::Held => "held",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::NginxRsyslog => "nginx-rsyslog",
            Self::Relay => "relay",
            Self::Card => "card",
        }
    }

    /// In the table.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Off => "Tollgate, no record",
            Self::Async => "Tollgate, async",
            Self::Sync => "Tollgate, sync",
            Self::Held => "Tollgate, held",
            Self::Nginx => "nginx, no log",
            Self::Haproxy => "HAProxy, no log",
            Self::NginxRsyslog => "nginx + rsyslog omkafka",
            Self::Relay => "bare io_uring relay",
            Self::Card => "the literal card",
        }
    }

    /// Whether every request of it is to be in Kafka.
    pub const fn records(self) -> bool {
        matches!(self, Self::Async | Self::Sync | Self::Held | Self::NginxRsyslog | Self::Card)
    }

    /// Whether it is our gateway.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Off | Self::Async | Self::Sync | Self::Held)
    }

    /// Reads `--only`.
    pub fn read(text: &str) -> Outcome<Vec<Self>> {
        read_names(text, &Self::ALL.map(|who| (who.name(), who)), "contestant")
    }
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// APISIX's default entry.
    Default,
    /// A `log_format` of four fields.
    FourFields,
    /// The default entry with both bodies in it.
    Bodies,
}

/// One table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// On the command line.
    pub name: &'static str,
    /// Over the table.
    pub title: &'static str,
    /// What is asked for; see `bench.d/upstream.conf`.
    pub path: &'static str,
    /// Bytes of a response's body.
    pub bytes: usize,
    /// Connections of the load.
    pub connections: u32,
    /// Whether each request has a connection of its own.
    pub is_close: bool,
    /// Bytes of a request's body, 0 for a GET.
    pub post_bytes: usize,
    /// Routes of our gateway.
    pub routes: u32,
    /// What the records say.
    pub entry: Entry,
    /// Workers of each contestant.
    pub workers: u32,
    /// Who takes part.
    pub who: &'static [Who],
}

/// The peers have nothing that would differ in these.
const OURS_AND_RULERS: &[Who] = &[Who::Off, Who::Async, Who::Nginx, Who::Relay];
const RECORDERS: &[Who] = &[Who::Off, Who::Async, Who::Nginx, Who::NginxRsyslog, Who::Relay];

const BASE: Case = Case {
    name: "16",
    title: "16 B, 64 connections",
    path: "/x",
    bytes: 16,
    connections: 64,
    is_close: false,
    post_bytes: 0,
    routes: 1,
    entry: Entry::Default,
    workers: 1,
    who: &Who::ALL,
};

/// All of them.
pub const CASES: &[Case] = &[
    BASE,
    Case { name: "8k", title: "8 KiB, 64 connections", path: "/8k", bytes: 8 << 10, ..BASE },
    Case { name: "64k", title: "64 KiB, 64 connections", path: "/64k", bytes: 64 << 10, ..BASE },
    Case { name: "1m", title: "1 MiB, 64 connections", path: "/1m", bytes: 1 << 20, ..BASE },
    Case { name: "close", title: "16 B, 64 connections, Connection: close", is_close: true, ..BASE },
    Case { name: "256", title: "16 B, 256 connections", connections: 256, ..BASE },
    Case { name: "1000", title: "16 B, 1,000 connections", connections: 1000, ..BASE },
    Case { name: "2500", title: "16 B, 2,500 connections", connections: 2500, ..BASE },
    Case { name: "5000", title: "16 B, 5,000 connections", connections: 5000, ..BASE },
    Case { name: "routes10", title: "10 routes, load over all", routes: 10, who: OURS_AND_RULERS, ..BASE },
    Case { name: "routes1000", title: "1,000 routes, load over all", routes: 1000, who: OURS_AND_RULERS, ..BASE },
    Case { name: "routes100k", title: "100,000 routes, load over all", routes: 100_000, who: OURS_AND_RULERS, ..BASE },
    Case { name: "fields4", title: "16 B, records of four fields", entry: Entry::FourFields, who: RECORDERS, ..BASE },
    Case {
        name: "bodies",
        title: "POST of 1 KiB, 1 KiB back, both in the record",
        path: "/post",
        bytes: 1024,
        post_bytes: 1024,
        entry: Entry::Bodies,
        who: OURS_AND_RULERS,
        ..BASE
    },
    Case {
        name: "workers2",
        title: "16 B, two workers",
        workers: 2,
        who: &[Who::Off, Who::Async, Who::Nginx, Who::Haproxy],
        ..BASE
    },
];

impl Case {
    /// Reads `--cases`.
    pub fn read(text: &str) -> Outcome<Vec<Self>> {
        let all: Vec<_> = CASES.iter().map(|case| (case.name, *case)).collect();
        read_names(text, &all, "case")
    }
}

fn read_names<T: Copy>(text: &str, all: &[(&str, T)], what: &str) -> Outcome<Vec<T>> {
    if text == "all" {
        return Ok(all.iter().map(|(_, value)| *value).collect());
    }
    let known = || all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let find = |name: &str| {
        let found = all.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value).ok_or_else(|| format!("there is no {what} {name}; there are: {}", known()))
    };
    text.split(',').map(str::trim).map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_read_in_the_order_given_and_a_wrong_one_is_named_with_all() {
        let names = |text| Case::read(text).map(|cases| cases.iter().map(|case| case.name).collect::<Vec<_>>());
        assert_eq!(names("2500, 16"), Ok(vec!["2500", "16"]));
        assert_eq!(names("all").map(|all| all.len()), Ok(CASES.len()));
        let text = names("16,17").expect_err("there is no 17");
        assert!(text.contains("no case 17") && text.contains("routes100k"), "{text}");
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = CASES.iter().map(|case| case.name).chain(Who::ALL.map(Who::name)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

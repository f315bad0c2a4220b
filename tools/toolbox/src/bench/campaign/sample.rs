//! One measurement, and what it takes to get it.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::case::Case;
use super::contestant::Contestant;
use super::meter::{Cpu, Machine, cpu_of, ended_children, resident_bytes};
use crate::bench::wrk::{self, Load, Work};
use crate::{Outcome, stop, wire};

/// How long the records of a run may take to be in Kafka after its last request.
const SETTLE: Duration = Duration::from_secs(60);
/// No record for so long: no more will come.
const STILL: Duration = Duration::from_secs(6);
/// Between two looks at Kafka.
const EVERY: Duration = Duration::from_millis(100);

/// One measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Whole responses, as the load counts them.
    pub requests: u64,
    /// Responses per second.
    pub requests_per_s: f64,
    /// Latency of the closed loop in microseconds.
    pub p50_us: f64,
    /// See above.
    pub p99_us: f64,
    /// See above.
    pub p999_us: f64,
    /// Failed requests.
    pub errors: u64,
    /// CPU seconds per million requests of all the contestant's processes in user space, until the last record was in Kafka.
    pub user_s_per_million: f64,
    /// The same in the kernel.
    pub system_s_per_million: f64,
    /// Resident memory of all its processes under load, in bytes.
    pub resident_bytes: u64,
    /// Requests by the contestant's own count; the load's count where it has none.
    pub served: u64,
    /// Whether `served` is the contestant's own.
    pub counts_itself: bool,
    /// Records that came into Kafka; nothing if none were to come.
    pub records: Option<u64>,
    /// Seconds from the last response to the last record.
    pub late_s: f64,
    /// CPU seconds of the whole machine per million requests, while the load ran.
    pub machine_s_per_million: f64,
    /// Part of the machine's time that neither contestant, load, upstream nor Kafka used.
    pub foreign_share: f64,
    /// Part of the machine's time that its host gave to others.
    pub stolen_share: f64,
}

/// What became of the records of a row or a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// None were to be made.
    None,
    /// One for each request.
    Whole,
    /// So many are missing.
    Lost(u64),
    /// So many are there too often.
    Twice(u64),
}

impl Sample {
    /// CPU seconds per million requests.
    pub fn cpu_s_per_million(&self) -> f64 {
        self.user_s_per_million + self.system_s_per_million
    }

    /// Records against requests. Who does not count itself may have had up to `connections` more than the load has seen end.
    pub const fn fate(&self, connections: u32) -> Records {
        let Some(records) = self.records else { return Records::None };
        let most = self.served + if self.counts_itself { 0 } else { connections as u64 };
        if records < self.served {
            Records::Lost(self.served - records)
        } else if records > most {
            Records::Twice(records - most)
        } else {
            Records::Whole
        }
    }
}

/// What measuring needs besides the contestant.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The case.
    pub case: &'a Case,
    /// A broker.
    pub kafka: &'a str,
    /// Processes that take part and are nobody's cost: upstream and Kafka.
    pub others: Vec<i32>,
    /// Cores of the load.
    pub cores: &'a str,
}

impl Bench<'_> {
    fn work(&self, contestant: &Contestant, seconds: u32) -> Work {
        let case = self.case;
        let mut script = Vec::new();
        if case.post_bytes > 0 {
            script = vec!["post".to_owned(), case.post_bytes.to_string()];
        } else if case.routes > 1 {
            script = vec!["routes".to_owned(), case.routes.to_string()];
        }
        Work {
            url: format!("http://{}{}", contestant.address, case.path),
            connections: case.connections,
            seconds,
            cores: self.cores.to_owned(),
            headers: if case.is_close { vec!["Connection: close".to_owned()] } else { Vec::new() },
            script,
        }
    }

    /// Loads without measuring, and waits for the records.
    pub fn warm_up(&self, contestant: &Contestant, seconds: u32) -> Outcome {
        let (served_before, records_before) = (contestant.served()?, self.count(contestant)?);
        let load = wrk::run(&self.work(contestant, seconds), || {})?;
        self.settle(contestant, records_before, load.requests)?;
        // Also those that were under way: their records would come while the next load is measured.
        match served_since(contestant, served_before)? {
            Some(served) => self.settle(contestant, records_before, served).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Loads and measures.
    pub fn measure(&self, contestant: &mut Contestant, seconds: u32) -> Outcome<Sample> {
        let pids = contestant.pids();
        let served_before = contestant.served()?;
        let records_before = self.count(contestant)?;
        let (cpu, others) = (cpu_of(&pids), cpu_of(&self.others));
        let (children, machine) = (ended_children(), Machine::now());
        let mut resident = 0;
        let load = wrk::run(&self.work(contestant, seconds), || resident = resident_bytes(&pids))?;
        let machine = Machine::now().since(machine);
        let load_cpu = ended_children().since(children);
        let others = cpu_of(&self.others).since(others);
        let under_load = cpu_of(&pids).since(cpu);
        contestant.still_runs()?;
        self.check(&load)?;
        let (records, late) = self.settle(contestant, records_before, load.requests)?;
        let used = cpu_of(&pids).since(cpu);
        let served = served_since(contestant, served_before)?;
        let records = match served {
            // More than the load saw end: those that were under way.
            Some(served) if records < served => self.settle(contestant, records_before, served)?.0,
            _ => records,
        };
        let known = load_cpu.total_s() + others.total_s() + under_load.total_s();
        let per_million = 1e6 / load.requests.max(1) as f64;
        let Cpu { user_s, system_s } = used;
        Ok(Sample {
            requests: load.requests,
            requests_per_s: load.requests_per_s,
            p50_us: load.p50_us,
            p99_us: load.p99_us,
            p999_us: load.p999_us,
            errors: load.errors,
            user_s_per_million: user_s * per_million,
            system_s_per_million: system_s * per_million,
            resident_bytes: resident,
            served: served.unwrap_or(load.requests),
            counts_itself: served.is_some(),
            records: contestant.who.records().then_some(records),
            late_s: late.as_secs_f64(),
            machine_s_per_million: machine.busy_s * per_million,
            foreign_share: machine.share((machine.busy_s - known).max(0.0)),
            stolen_share: machine.share(machine.stolen_s),
        })
    }

    /// A fast answer that is not the right one is no answer.
    fn check(&self, load: &Load) -> Outcome {
        let least = load.requests * self.case.bytes as u64;
        match load.requests {
            0 => Err("no request was answered".to_owned()),
            _ if load.bytes < least => {
                Err(format!("{} bytes came for {} requests: too few", load.bytes, load.requests))
            }
            _ => Ok(()),
        }
    }

    fn count(&self, contestant: &Contestant) -> Outcome<u64> {
        if contestant.topic.is_empty() { Ok(0) } else { wire::record_count(self.kafka, &contestant.topic) }
    }

    /// Waits for `wanted` records more than `before`; gives up when no more come. Gives those that came, and after how long.
    fn settle(&self, contestant: &Contestant, before: u64, wanted: u64) -> Outcome<(u64, Duration)> {
        let begin = Instant::now();
        if contestant.topic.is_empty() {
            return Ok((0, Duration::ZERO));
        }
        let (mut last, mut moved) = (0, begin);
        loop {
            let came = self.count(contestant)?.saturating_sub(before);
            if came != last {
                (last, moved) = (came, Instant::now());
            }
            let is_over = moved.elapsed() > STILL || begin.elapsed() > SETTLE;
            if came >= wanted || is_over {
                return Ok((came, moved.duration_since(begin)));
            }
            stop::pause(EVERY)?;
        }
    }
}

/// Requests by its own count since it was `before`; nothing if it has none.
fn served_since(contestant: &Contestant, before: Option<u64>) -> Outcome<Option<u64>> {
    Ok(contestant.served()?.zip(before).map(|(now, before)| now - before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_held_against_requests() {
        let sample = |served, records, counts_itself| Sample { served, records, counts_itself, ..Sample::default() };
        assert_eq!(sample(100, None, true).fate(64), Records::None);
        assert_eq!(sample(100, Some(100), true).fate(64), Records::Whole);
        assert_eq!(sample(100, Some(98), true).fate(64), Records::Lost(2));
        assert_eq!(sample(100, Some(103), true).fate(64), Records::Twice(3));
        assert_eq!(sample(100, Some(164), false).fate(64), Records::Whole);
        assert_eq!(sample(100, Some(165), false).fate(64), Records::Twice(1));
        assert_eq!(sample(100, Some(99), false).fate(64), Records::Lost(1));
    }
}

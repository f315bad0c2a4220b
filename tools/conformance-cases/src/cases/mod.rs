//! The cases, by what they are about. Each file is a table.

mod bodies;
mod fields;
mod framing;
mod heads;
mod hops;
mod methods;
mod persistence;
mod responses;
mod upgrades;

use crate::case::{After, Answer, Case, Check};

/// A request that must be refused: id, section, what, bytes, statuses. The connection ends.
type Refusal = (&'static str, &'static str, &'static str, &'static str, &'static [u16]);
/// A request that must be served: id, section, what, bytes, what must be seen.
type Served = (&'static str, &'static str, &'static str, &'static str, &'static [Check]);
/// An answer of the upstream to a plain GET: id, section, what, the answer, what must be seen.
type Answered = (&'static str, &'static str, &'static str, Answer, &'static [Check]);

/// What most answers' cases ask.
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Every case.
pub fn all() -> Vec<Case> {
    [
        heads::cases(),
        fields::cases(),
        framing::cases(),
        bodies::cases(),
        hops::cases(),
        methods::cases(),
        persistence::cases(),
        responses::cases(),
        upgrades::cases(),
    ]
    .concat()
}

fn refused(table: &[Refusal]) -> Vec<Case> {
    let case = |(id, section, what, text, statuses): &Refusal| Case {
        checks: vec![Check::Refused(statuses)],
        after: After::Closed,
        ..Case::new(id, section, what, text)
    };
    table.iter().map(case).collect()
}

/// The connection stays in step.
fn served(table: &[Served]) -> Vec<Case> {
    let case = |(id, section, what, text, checks): &Served| Case {
        checks: checks.to_vec(),
        after: After::Open,
        ..Case::new(id, section, what, text)
    };
    table.iter().map(case).collect()
}

/// The RFC leaves a choice, also about the connection.
fn either(table: &[Served]) -> Vec<Case> {
    served(table).into_iter().map(|case| Case { after: After::Any, ..case }).collect()
}

fn answered(table: &[Answered], after: After) -> Vec<Case> {
    let case = |(id, section, what, answer, checks): &Answered| Case {
        answers: vec![*answer],
        checks: checks.to_vec(),
        after,
        ..Case::new(id, section, what, GET)
    };
    table.iter().map(case).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn there_are_enough_cases_and_each_has_its_own_name_and_asks_something() {
        let all = super::all();
        assert!(all.len() >= 250, "{} cases", all.len());
        let names: BTreeSet<_> = all.iter().map(|case| case.id.as_str()).collect();
        assert_eq!(names.len(), all.len());
        for case in &all {
            assert!(!case.checks.is_empty() && case.section.starts_with("91"), "{}", case.id);
        }
    }
}

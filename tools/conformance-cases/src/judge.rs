//! Decides whether what was seen is what must be seen. Pure.

use crate::case::{After, Case, Check, bytes};
use crate::message::Message;

/// What became of a client's connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// Open, and silent or in step.
    #[default]
    Open,
    /// Closed.
    Closed,
    /// Bytes that nobody asked for.
    WithMore,
    /// A further request got no answer, or another's.
    OutOfStep,
}

/// What both ends of a case saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Interim responses.
    pub interims: Vec<Message>,
    /// Final responses, the last maybe cut.
    pub finals: Vec<Message>,
    /// Requests at the upstream.
    pub requests: Vec<Message>,
    /// What came down that is no response.
    pub broken_down: Option<String>,
    /// What went up that is no request.
    pub broken_up: Vec<String>,
    /// The client's connection.
    pub ended: Ended,
}

/// Judges a case.
///
/// # Errors
/// What was seen instead, in one line.
pub fn judge(case: &Case, seen: &Seen) -> Result<(), String> {
    if let Some(text) = &seen.broken_down {
        return Err(format!("the client got what is no response: {text:?}"));
    }
    if let Some(text) = seen.broken_up.first() {
        return Err(format!("the upstream got what is no request: {text}"));
    }
    case.checks.iter().try_for_each(|check| one(check, seen))?;
    match (case.after, seen.ended) {
        (After::Any, _) | (After::Closed, Ended::Closed) | (After::Open, Ended::Open) => Ok(()),
        (wanted, found) => Err(format!("the connection: wanted {wanted:?}, found {found:?}")),
    }
}

fn one(check: &Check, seen: &Seen) -> Result<(), String> {
    match check {
        Check::Refused(statuses) => refused(statuses, seen),
        Check::Statuses(statuses) => finals(statuses, seen),
        Check::StatusIn(statuses) => status_in(statuses, seen),
        Check::Interims(statuses) => {
            same("interim statuses", *statuses, &seen.interims.iter().map(Message::status).collect::<Vec<_>>()[..])
        }
        Check::Requests(count) => same("requests at the upstream", *count, seen.requests.len()),
        Check::NeverWhole => never_whole(seen),
        Check::NoWholeRequest => no_whole_request(seen),
        Check::OneOf(lists) => one_of(lists, seen),
        Check::UpLine(_)
        | Check::Up(..)
        | Check::UpAll(..)
        | Check::UpHolds(..)
        | Check::UpNo(_)
        | Check::UpNoTrailer(_)
        | Check::UpBody(_) => up(check, seen),
        _ => down(check, seen),
    }
}

fn up(check: &Check, seen: &Seen) -> Result<(), String> {
    let request = seen.requests.last().ok_or("no request reached the upstream")?;
    match check {
        Check::UpLine(line) => same("request line", *line, request.line.as_str()),
        Check::Up(name, value) => values(request, name, &[*value]),
        Check::UpAll(name, list) => values(request, name, list),
        Check::UpHolds(name, text) => holds(request, name, text),
        Check::UpNo(name) => values(request, name, &[]),
        Check::UpBody(text) => body(request, text),
        Check::UpNoTrailer(name) if request.trailers.iter().any(|(found, _)| found == name) => {
            Err(format!("{name} came up as a trailer"))
        }
        _ => Ok(()),
    }
}

fn down(check: &Check, seen: &Seen) -> Result<(), String> {
    let response = seen.finals.last().ok_or("no final response")?;
    match check {
        Check::Down(name, value) => values(response, name, &[*value]),
        Check::DownAll(name, list) => values(response, name, list),
        Check::DownHolds(name, text) => holds(response, name, text),
        Check::DownHas(name) if response.all(name).is_empty() => Err(format!("no {name} came down")),
        Check::DownNo(name) => values(response, name, &[]),
        Check::DownBody(text) => body(response, text),
        Check::DownLine(text) if !response.line.starts_with(text) => Err(format!("status line {:?}", response.line)),
        _ => Ok(()),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, wanted: T, found: T) -> Result<(), String> {
    if wanted == found { Ok(()) } else { Err(format!("{what}: wanted {wanted:?}, found {found:?}")) }
}

fn values(message: &Message, name: &str, wanted: &[&str]) -> Result<(), String> {
    same(name, wanted, &message.all(name)[..])
}

fn holds(message: &Message, name: &str, text: &str) -> Result<(), String> {
    let all = message.all(name);
    let found = all.iter().any(|value| value.contains(text));
    if found { Ok(()) } else { Err(format!("{name}: {text:?} is not in {all:?}")) }
}

fn body(message: &Message, text: &str) -> Result<(), String> {
    let wanted = bytes(text);
    if message.is_whole && message.body == wanted {
        return Ok(());
    }
    let (whole, found) = (message.is_whole, message.body.escape_ascii());
    Err(format!("body: wanted {:?}, found {found} (whole: {whole})", wanted.escape_ascii().to_string()))
}

fn refused(statuses: &[u16], seen: &Seen) -> Result<(), String> {
    if let Some(request) = seen.requests.first() {
        return Err(format!("it went on: {:?}", request.line));
    }
    let found: Vec<u16> = seen.finals.iter().map(Message::status).collect();
    match found[..] {
        [status] if statuses.contains(&status) => Ok(()),
        [] if statuses.contains(&0) && seen.ended == Ended::Closed => Ok(()),
        _ => Err(format!("answers {found:?} instead of one of {statuses:?}")),
    }
}

fn finals(statuses: &[u16], seen: &Seen) -> Result<(), String> {
    same("statuses", statuses, &seen.finals.iter().map(Message::status).collect::<Vec<_>>()[..])?;
    match seen.finals.iter().find(|message| !message.is_whole) {
        Some(message) => Err(format!("{:?} is cut after {} bytes of body", message.line, message.body.len())),
        None => Ok(()),
    }
}

fn status_in(statuses: &[u16], seen: &Seen) -> Result<(), String> {
    match &seen.finals[..] {
        [one] if statuses.contains(&one.status()) => Ok(()),
        found => Err(format!(
            "answers {:?} instead of one of {statuses:?}",
            found.iter().map(Message::status).collect::<Vec<_>>()
        )),
    }
}

fn never_whole(seen: &Seen) -> Result<(), String> {
    let looks_good = |message: &&Message| message.is_whole && !matches!(message.status(), 500 | 502 | 503 | 504);
    match seen.finals.iter().find(looks_good) {
        Some(message) => Err(format!("{:?} looks whole, with {}", message.line, message.body.escape_ascii())),
        None => Ok(()),
    }
}

fn no_whole_request(seen: &Seen) -> Result<(), String> {
    if let Some(request) = seen.requests.iter().find(|request| request.is_whole) {
        return Err(format!("the upstream has a whole request: {:?}, {}", request.line, request.body.escape_ascii()));
    }
    match seen.finals.iter().find(|message| message.status() < 400) {
        Some(message) => Err(format!("answered with {:?}", message.line)),
        None => Ok(()),
    }
}

fn one_of(lists: &[&[Check]], seen: &Seen) -> Result<(), String> {
    let mut said = Vec::new();
    for list in lists {
        match list.iter().try_for_each(|check| one(check, seen)) {
            Ok(()) => return Ok(()),
            Err(text) => said.push(text),
        }
    }
    Err(said.join("; or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str, is_whole: bool) -> Message {
        Message { line: line.to_owned(), is_whole, ..Message::default() }
    }

    fn judged(checks: &[Check], seen: &Seen) -> Result<(), String> {
        judge(&Case { checks: checks.to_vec(), ..Case::new("a", "s", "w", "") }, seen)
    }

    #[test]
    fn a_refusal_is_one_answer_and_nothing_upstream() {
        let mut seen = Seen { finals: vec![message("HTTP/1.1 400 x", true)], ..Seen::default() };
        assert_eq!(judged(&[Check::Refused(&[400])], &seen), Ok(()));
        assert!(judged(&[Check::Refused(&[501])], &seen).is_err());
        seen.requests.push(message("GET / HTTP/1.1", true));
        assert!(judged(&[Check::Refused(&[400])], &seen).is_err());
    }

    #[test]
    fn a_cut_answer_is_never_whole_and_never_good() {
        let cut = Seen { finals: vec![message("HTTP/1.1 200 OK", false)], ..Seen::default() };
        assert_eq!(judged(&[Check::NeverWhole], &cut), Ok(()));
        assert!(judged(&[Check::Statuses(&[200])], &cut).is_err());
        let whole = Seen { finals: vec![message("HTTP/1.1 200 OK", true)], ..Seen::default() };
        assert!(judged(&[Check::NeverWhole], &whole).is_err());
    }

    #[test]
    fn either_list_will_do() {
        let seen = Seen { finals: vec![message("HTTP/1.1 200 OK", true)], ..Seen::default() };
        let either = [Check::OneOf(&[&[Check::Refused(&[400])], &[Check::Statuses(&[200])]])];
        assert_eq!(judged(&either, &seen), Ok(()));
    }
}

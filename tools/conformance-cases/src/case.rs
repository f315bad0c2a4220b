//! One case: what is sent, what is answered, what must be seen.

/// A part of what the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes; each character is one byte (ISO 8859-1), so that any byte can be written.
    Text(&'static str),
    /// This text, so often.
    Repeated(&'static str, usize),
    /// Nothing for so many milliseconds.
    Pause(u64),
    /// Waits for a head (an interim response) before it sends more.
    AwaitHead,
    /// Says that it will send no more.
    Finish,
}

/// What the upstream does with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Sends these bytes once the request is whole.
    Says(&'static str),
    /// The same, then closes.
    SaysAndCloses(&'static str),
    /// The same in two pieces, some milliseconds apart.
    SaysInTwo(&'static str, &'static str),
    /// Sends these bytes as soon as the head is there, and reads on.
    SaysAtHead(&'static str),
}

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It ends.
    Closed,
    /// It takes another request and answers it.
    Open,
    /// Either is right.
    Any,
}

/// Something that must be seen. Field names in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// One answer with one of these statuses, and nothing reached the upstream. 0 stands for an end without an answer.
    Refused(&'static [u16]),
    /// The final statuses, in order; then all of them are whole.
    Statuses(&'static [u16]),
    /// One final status out of these.
    StatusIn(&'static [u16]),
    /// The interim statuses before the first final one.
    Interims(&'static [u16]),
    /// So many requests reached the upstream.
    Requests(usize),
    /// The last request's line.
    UpLine(&'static str),
    /// A field of the last request: the only one of its name, with this value.
    Up(&'static str, &'static str),
    /// All values of a field of the last request, in order.
    UpAll(&'static str, &'static [&'static str]),
    /// A field holds this text somewhere.
    UpHolds(&'static str, &'static str),
    /// No such field went up.
    UpNo(&'static str),
    /// The last request's body.
    UpBody(&'static str),
    /// A field of the last response: the only one of its name, with this value.
    Down(&'static str, &'static str),
    /// All values of a field of the last response, in order.
    DownAll(&'static str, &'static [&'static str]),
    /// A field holds this text somewhere.
    DownHolds(&'static str, &'static str),
    /// A field is there, whatever it says.
    DownHas(&'static str),
    /// No such field came down.
    DownNo(&'static str),
    /// The last response's body.
    DownBody(&'static str),
    /// The last response's status line begins so.
    DownLine(&'static str),
    /// No answer looks whole: a 502 or 504 of the proxy's own, or a cut one.
    NeverWhole,
    /// No request of this case reached the upstream whole, and none was answered with success.
    NoWholeRequest,
    /// No such field came up as a trailer.
    UpNoTrailer(&'static str),
    /// One of these lists holds.
    OneOf(&'static [&'static [Check]]),
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique, for people.
    pub id: String,
    /// Where it is written: `9112 §2.2`.
    pub section: &'static str,
    /// In one line.
    pub what: String,
    /// From the client.
    pub send: Vec<Piece>,
    /// From the upstream, one for each request; then `200` with `ok`.
    pub answers: Vec<Answer>,
    /// What must be seen.
    pub checks: Vec<Check>,
    /// What becomes of the client's connection.
    pub after: After,
    /// Which of the client's requests are HEAD.
    pub heads: &'static [bool],
}

impl Case {
    /// A case in which the client sends `text`.
    pub fn new(id: &str, section: &'static str, what: &str, text: &'static str) -> Self {
        Self {
            id: id.to_owned(),
            section,
            what: what.to_owned(),
            send: vec![Piece::Text(text)],
            answers: Vec::new(),
            checks: Vec::new(),
            after: After::Any,
            heads: &[],
        }
    }

    /// The same with these checks.
    #[must_use]
    pub fn with(self, checks: &[Check]) -> Self {
        Self { checks: checks.to_vec(), ..self }
    }

    /// The same where the connection may end as well.
    #[must_use]
    pub fn or_closed(self) -> Self {
        Self { after: After::Any, ..self }
    }

    /// Final responses that must have come before the connection's end is looked at; `None`: everything up to its end.
    pub fn awaited(&self) -> Option<usize> {
        let of = |check: &Check| match check {
            Check::Statuses(statuses) => Some(statuses.len()),
            Check::Refused(_) | Check::StatusIn(_) => Some(1),
            Check::OneOf([[Check::Statuses(statuses), ..], ..]) => Some(statuses.len()),
            Check::OneOf(_) => Some(1),
            _ => None,
        };
        self.checks.iter().find_map(of)
    }
}

/// Text as bytes: each character is one (ISO 8859-1).
pub fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect()
}

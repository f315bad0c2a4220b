//! Heads that came before. Clients and servers say the same lines again and again: what they mean, how they are passed on and how they are
//! logged is kept with their bytes, and used again for exactly the same bytes. Whoever sends something new each time (a trace id, a cookie)
//! has it read as ever, and pays a search for the blank line.
//!
//! Nothing is decided here: what is kept was made by the same code that makes it for heads that are new, and depends on nothing but
//! the bytes and what is compared beside them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use memchr::memmem::Finder;

use super::fields::Fields;
use crate::base::hash::mix;

/// Heads that are kept, of requests and of responses each, per core: some kilobytes for each, `4 × RECALL_BYTES` and its lines' places at most.
const SLOTS: usize = 512;
/// Bytes of the longest head that is kept, and of the longest text that is kept with it.
pub const RECALL_BYTES: usize = 2 * 1024;
/// Bytes of the longest log text that is kept with a head.
const RENDERED_BYTES: usize = 2 * RECALL_BYTES;
/// Words of a head that decide where it is kept.
const WORDS: usize = 6;
/// After so many heads in a row that were new, only every [`LOOKS_EVERY`]th is looked for.
const MISSES_MOST: u32 = 256;
/// See [`MISSES_MOST`].
const LOOKS_EVERY: u32 = 32;

/// The heads that a core remembers. One of them serves one set of limits and one gateway's settings.
pub struct Recall<H> {
    slots: Vec<Option<Rc<Known<H>>>>,
    /// Of heads that were new: one that is still there when it comes again is kept.
    fingerprints: Vec<u64>,
    blank: Finder<'static>,
    misses: u32,
}

/// A head that came before, and what was made of it.
pub struct Known<H> {
    block: Box<[u8]>,
    pub(super) head: H,
    written: RefCell<Written>,
    rendered: RefCell<(Serial, Vec<u8>)>,
}

/// What was written for a head, distinguished from what was written for it otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serial(u64);

/// A head's lines as they went on the last time.
#[derive(Default)]
struct Written {
    serial: Serial,
    /// All that they depend on beside the head: short texts, and where each ends.
    given: Vec<u8>,
    ends: Vec<usize>,
    bytes: Vec<u8>,
    sent: Fields,
}

/// What a look found.
pub(super) enum Look<H> {
    /// The same bytes.
    Known(Rc<Known<H>>),
    /// A whole head that is not kept.
    Unknown(Unknown),
    /// No whole head, or none that would be kept.
    Nothing,
}

/// Where an unknown head would be kept.
#[derive(Clone, Copy)]
pub(super) struct Unknown {
    slots: [usize; 2],
    len: usize,
}

impl<H> Default for Recall<H> {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| None).collect(),
            fingerprints: vec![0; SLOTS],
            blank: Finder::new(b"\r\n\r\n"),
            misses: 0,
        }
    }
}

impl<H> fmt::Debug for Recall<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recall({} heads)", self.slots.iter().flatten().count())
    }
}

impl<H> fmt::Debug for Known<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Known({} bytes)", self.block.len())
    }
}

impl<H: Clone> Recall<H> {
    /// Looks for the lines at the start of `bytes`, up to the first blank line.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Look<H> {
        if self.misses >= MISSES_MOST && !self.misses.is_multiple_of(LOOKS_EVERY) {
            self.misses = self.misses.wrapping_add(1).max(MISSES_MOST);
            return Look::Nothing;
        }
        let Some(found) = self.blank.find(&bytes[..bytes.len().min(RECALL_BYTES)]) else { return Look::Nothing };
        let block = &bytes[..found + b"\r\n\r\n".len()];
        let slots = places(block);
        for slot in slots {
            if let Some(known) = self.slots[slot].as_ref().filter(|known| *known.block == *block) {
                self.misses = 0;
                return Look::Known(Rc::clone(known));
            }
        }
        self.misses = self.misses.wrapping_add(1);
        Look::Unknown(Unknown { slots, len: block.len() })
    }

    /// Keeps the head at the start of `bytes`, if it is not the first time that it is met.
    pub(super) fn note(&mut self, unknown: Unknown, bytes: &[u8], head: &H) {
        let Some(block) = bytes.get(..unknown.len) else { return };
        let fingerprint = fingerprint(block);
        let Some(met) = unknown.slots.into_iter().find(|slot| self.fingerprints[*slot] == fingerprint) else {
            // Now this one, now that one, so that two which take turns do not push each other out.
            self.fingerprints[unknown.slots[self.misses as usize % 2]] = fingerprint;
            return;
        };
        let empty = unknown.slots.into_iter().find(|slot| self.slots[*slot].is_none());
        self.slots[empty.unwrap_or(met)] = Some(Rc::new(Known {
            block: block.into(),
            head: head.clone(),
            written: RefCell::default(),
            rendered: RefCell::default(),
        }));
    }
}

/// The two slots that it may be in. Two, so that heads which want the same one both find a place; by the length and a word here and there,
/// the first one behind `Host: `, since what decides is the comparison.
fn places(block: &[u8]) -> [usize; 2] {
    let step = block.len() / WORDS;
    let word =
        |at: usize| block.get(at..at + 8).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word));
    let words = (0..WORDS).map(|index| word(b"Host: ".len() + index * step));
    let mixed = words.fold(block.len() as u64, |sum, word| sum.rotate_left(11) ^ word);
    let mixed = mix(mixed);
    [mixed, mixed >> 32].map(|slot| slot as usize % SLOTS)
}

/// All of the bytes, so that heads which differ are not taken for one that comes again; two that are taken for one cost a slot, no more.
fn fingerprint(block: &[u8]) -> u64 {
    let (words, rest) = block.as_chunks();
    let last = rest.iter().fold(block.len() as u64, |word, byte| word << 8 ^ u64::from(*byte));
    let mix = |sum: u64, word: u64| (sum.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    words.iter().map(|word| u64::from_le_bytes(*word)).fold(last, mix)
}

impl<H> Known<H> {
    /// Bytes of the lines that are known, the blank one included.
    pub(super) const fn len(&self) -> usize {
        self.block.len()
    }

    /// Appends what was written for the head the last time to `out`, and its lines' places to `sent`, if `given` is what it was. `None`: it
    /// has to be written, and [`Known::keep`] told.
    pub(super) fn write<const COUNT: usize>(
        &self,
        given: [&[u8]; COUNT],
        out: &mut Vec<u8>,
        sent: Option<&mut Fields>,
    ) -> Option<Serial> {
        let written = self.written.borrow();
        if !written.is_for(given) {
            return None;
        }
        if let Some(sent) = sent {
            sent.copy_from(&written.sent, 0);
        }
        out.extend_from_slice(&written.bytes);
        Some(written.serial)
    }

    /// Keeps what was written for the head, given all that it depends on; `sent` are its lines' places in `bytes`.
    pub(super) fn keep<const COUNT: usize>(
        &self,
        given: [&[u8]; COUNT],
        bytes: &[u8],
        sent: Option<&Fields>,
    ) -> Option<Serial> {
        let mut written = self.written.borrow_mut();
        let written = &mut *written;
        let given_bytes: usize = given.iter().map(|part| part.len()).sum();
        if bytes.len() + given_bytes > RECALL_BYTES {
            return None;
        }
        written.serial.0 += 1;
        written.given.clear();
        written.ends.clear();
        for part in given {
            written.given.extend_from_slice(part);
            written.ends.push(written.given.len());
        }
        written.bytes.clear();
        written.bytes.extend_from_slice(bytes);
        if let Some(sent) = sent {
            written.sent.copy_from(sent, 0);
        }
        Some(written.serial)
    }

    /// What the log made of the head as it was written under `serial`.
    pub const fn rendered(&self, serial: Serial) -> Rendered<'_> {
        Rendered { text: &self.rendered, serial }
    }
}

impl Written {
    fn is_for<const COUNT: usize>(&self, given: [&[u8]; COUNT]) -> bool {
        let mut start = 0;
        self.ends.len() == COUNT
            && self.ends.iter().zip(given).all(|(end, part)| {
                let is_same = self.given.get(start..*end).is_some_and(|own| own == part);
                start = *end;
                is_same
            })
    }
}

/// The text that the log made of a head's lines.
#[derive(Clone, Copy)]
pub struct Rendered<'a> {
    text: &'a RefCell<(Serial, Vec<u8>)>,
    serial: Serial,
}

impl fmt::Debug for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rendered({:?})", self.serial)
    }
}

impl Rendered<'_> {
    /// Hands the text to `write`. False if there is none yet.
    pub fn read(&self, write: impl FnOnce(&[u8])) -> bool {
        let text = self.text.borrow();
        let is_there = text.0 == self.serial;
        if is_there {
            write(&text.1);
        }
        is_there
    }

    /// Keeps the text for the next time.
    pub fn keep(&self, text: &[u8]) {
        if text.len() <= RENDERED_BYTES {
            let mut kept = self.text.borrow_mut();
            kept.0 = self.serial;
            kept.1.clear();
            kept.1.extend_from_slice(text);
        }
    }
}

/// A head of the current exchange that is known, and as what it was written.
#[derive(Debug)]
pub struct Recalled<H> {
    known: Option<Rc<Known<H>>>,
    serial: Cell<Serial>,
}

impl<H> Default for Recalled<H> {
    fn default() -> Self {
        Self { known: None, serial: Cell::default() }
    }
}

impl<H> Recalled<H> {
    /// Another exchange begins, or another head of the same.
    pub fn clear(&mut self) {
        self.know(None);
    }

    pub(super) fn know(&mut self, known: Option<Rc<Known<H>>>) {
        self.known = known;
        self.serial.set(Serial::default());
    }

    /// The head, if it is known.
    pub fn known(&self) -> Option<&Known<H>> {
        self.known.as_deref()
    }

    /// It was written like this.
    pub(super) fn wrote(&self, serial: Option<Serial>) {
        self.serial.set(serial.unwrap_or_default());
    }

    /// What the log made of it, if it is known and was written.
    pub fn rendered(&self) -> Option<Rendered<'_>> {
        let known = self.known.as_deref()?;
        (self.serial.get() != Serial::default()).then(|| known.rendered(self.serial.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(recall: &mut Recall<u32>, bytes: &[u8], head: u32) -> Option<u32> {
        match recall.look(bytes) {
            Look::Known(known) => Some(known.head),
            Look::Unknown(unknown) => {
                recall.note(unknown, bytes, &head);
                None
            }
            Look::Nothing => None,
        }
    }

    #[test]
    fn a_head_is_known_the_third_time_and_only_the_same_bytes_are_it() {
        let mut recall = Recall::default();
        let head = b"Host: a\r\nAccept: */*\r\n\r\nbody";
        assert_eq!([0, 1, 2, 3].map(|number| met(&mut recall, head, number)), [None, None, Some(1), Some(1)]);
        for at in 0..head.len() - 4 {
            let mut other = *head;
            other[at] ^= 1;
            assert_eq!(met(&mut recall, &other, 9), None, "{at}");
        }
        assert_eq!(met(&mut recall, &head[..head.len() - 5], 9), None);
        assert_eq!(met(&mut recall, b"Host: a\r\nAccept: */*\r\n\r\nanother", 9), Some(1));
    }

    #[test]
    fn as_many_hosts_as_a_gateway_may_serve_are_all_known() {
        let browser = "Accept: text/html\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept-Language: en\r\n\r\n";
        let mut recall = Recall::default();
        let heads: Vec<String> = (0..100).map(|number| format!("Host: h{number}.test\r\n{browser}")).collect();
        let mut round = || heads.iter().filter(|head| met(&mut recall, head.as_bytes(), 1).is_some()).count();
        let found = [round(), round(), round(), round(), round(), round()];
        assert!(found[5] >= 95, "{found:?}");
    }

    #[test]
    fn heads_that_never_come_again_are_not_kept_and_soon_hardly_looked_for() {
        let mut recall = Recall::default();
        let unique = |number: u32| format!("Host: a\r\nX-Request-Id: {number}\r\n\r\n").into_bytes();
        for number in 0..10_000 {
            assert_eq!(met(&mut recall, &unique(number), number), None);
        }
        assert_eq!(recall.slots.iter().flatten().count(), 0);
        // One that does come again is found all the same.
        let found = (0..10 * LOOKS_EVERY).find(|_| met(&mut recall, b"Host: b\r\n\r\n", 1).is_some());
        assert!(found.is_some_and(|looks| looks <= 4 * LOOKS_EVERY), "{found:?}");
        assert!(met(&mut recall, b"Host: b\r\n\r\n", 1).is_some());
    }

    #[test]
    fn what_is_too_long_or_not_whole_is_nothing() {
        let mut recall = Recall::<u32>::default();
        assert!(matches!(recall.look(b"Host: a\r\n"), Look::Nothing));
        let long = [&vec![b'x'; RECALL_BYTES - 3][..], b"\r\n\r\n"].concat();
        assert!(matches!(recall.look(&long), Look::Nothing));
        assert!(matches!(recall.look(&long[1..]), Look::Unknown(_)));
    }

    #[test]
    fn what_was_written_is_written_again_for_the_same_given_things_only() {
        let known = Known { block: Box::new([]), head: (), written: RefCell::default(), rendered: RefCell::default() };
        let write = |given| {
            let mut out = Vec::new();
            known.write(given, &mut out, None).map(|serial| (serial, out))
        };
        assert_eq!(write([b"a", b"bc"]), None);
        let first = known.keep([b"a", b"bc"], b"lines", None).expect("kept");
        assert_eq!(write([b"a", b"bc"]), Some((first, b"lines".to_vec())));
        assert_eq!((write([b"ab", b"c"]), write([b"a", b"bd"])), (None, None));
        known.rendered(first).keep(b"{}");
        let second = known.keep([b"ab", b"c"], b"others", None).expect("kept");
        assert_eq!((write([b"a", b"bc"]), write([b"ab", b"c"])), (None, Some((second, b"others".to_vec()))));
        assert!(!known.rendered(second).read(|_| ()));
        assert!(known.rendered(first).read(|text| assert_eq!(text, b"{}")));
        assert_eq!(known.keep([&[0; RECALL_BYTES]], b"x", None), None);
    }
}

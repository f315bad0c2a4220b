//! The record header that makes completeness provable: which entries of which stream a Kafka message holds. Written by `batch` behind every
//! message, read back by `audit`. Not here: what an audit makes of it.
//!
//! The header is called [`HEADER_NAME`]; its value is ASCII without blanks:
//!
//! ```text
//! 6f1d0c2b9a8e7f35/187b44d0c9a1e2f0/0/3/1024+50
//! gateway          start            │ │ │    entries in this message: 1, or those of a JSON array
//!                                   │ │ number of the first of them, counted from 0 in this stream
//!                                   │ lane of that core and start
//!                                   core
//! ```
//!
//! A **stream** is one lane of one core of one start of one gateway. It numbers the entries that it has *accepted*, in that order and without a
//! gap; so a number that is missing is an entry that is missing, and a number that is there twice is an entry that is there twice. What the gateway
//! refused (and counted) never had a number. Entries that are lost behind the last one that arrived cannot be told by this.
//!
//! Why text: people read headers with `kcat -f %h`, and 58 bytes that are the same in all of a batch but for a few digits
//! vanish under every codec. Why one header: a broker stores a name with each. Why hex for the first two: they are names
//! to be searched for, as they stand in `data_dir/gateway.id`; the rest are numbers to be counted with.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::varint::{length_len, put_signed, read_signed};

/// The header's name.
pub const HEADER_NAME: &str = "tollgate";
/// Most bytes of a [`Stream`] as it stands in a header, the last slash included.
pub const STREAM_BYTES_MAX: usize = 16 + 1 + 16 + 1 + 10 + 1 + 10 + 1;

/// One header, eight bytes of name, the name: as a record has it (lengths are zigzag varints).
const FRONT: [u8; 10] = [2, 16, b't', b'o', b'l', b'l', b'g', b'a', b't', b'e'];

/// Who numbered entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream {
    /// The gateway: random, and the same as long as its `data_dir` is.
    pub gateway: u64,
    /// Its start: different each time, and growing (nanoseconds since 1970).
    pub start: u64,
    /// The core.
    pub core: u32,
    /// The lane, in the order in which that core made them.
    pub lane: u32,
}

/// What one message's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Who numbered the entries.
    pub stream: Stream,
    /// The first one's number.
    pub first: u64,
    /// How many; at least one. Their numbers end below `u64::MAX`.
    pub count: u32,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gateway, start, core, lane } = self;
        write!(f, "{gateway:016x}/{start:x}/{core}/{lane}")
    }
}

impl Stream {
    /// The part of the header's value that all of this stream's messages share: all before the first number.
    pub fn prefix(&self) -> Vec<u8> {
        format!("{self}/").into_bytes()
    }
}

impl Stamp {
    /// Reads a header's value. None if it is not exactly what [`put_headers`] writes.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.split('/');
        let stream = Stream {
            gateway: hex(parts.next().filter(|part| part.len() == 16)?)?,
            start: hex(parts.next()?)?,
            core: number(parts.next()?)?.try_into().ok()?,
            lane: number(parts.next()?)?.try_into().ok()?,
        };
        let (first, count) = parts.next()?.split_once('+')?;
        let (first, count) = (number(first)?, u32::try_from(number(count)?).ok()?);
        let possible = parts.next().is_none() && count > 0 && first.checked_add(u64::from(count)).is_some();
        possible.then_some(Self { stream, first, count })
    }
}

fn hex(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(text, 16).ok().filter(|_| plain)
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Bytes of a record's headers: how many there are (one), its name, its value of a prefix of `prefix` bytes and two numbers.
#[inline]
pub const fn headers_len(prefix: usize, first: u64, count: u32) -> usize {
    let value = value_len(prefix, first, count);
    FRONT.len() + length_len(value) + value
}

const fn value_len(prefix: usize, first: u64, count: u32) -> usize {
    prefix + digits(first) + 1 + digits(count as u64)
}

/// Writes a record's headers to `memory` from `at` on; the stream's prefix stands elsewhere in it. There must be room for [`headers_len`] bytes.
#[inline]
pub fn put_headers(memory: &mut [u8], at: usize, prefix: Range<usize>, first: u64, count: u32) {
    let value = value_len(prefix.len(), first, count);
    memory[at..at + FRONT.len()].copy_from_slice(&FRONT);
    let at = put_signed(memory, at + FRONT.len(), value as i64);
    let numbers = at + prefix.len();
    memory.copy_within(prefix, at);
    let mut digits = itoa::Buffer::new();
    let plus = put(memory, numbers, digits.format(first).as_bytes());
    memory[plus] = b'+';
    put(memory, plus + 1, digits.format(count).as_bytes());
}

#[inline]
fn put(memory: &mut [u8], at: usize, piece: &[u8]) -> usize {
    let end = at + piece.len();
    memory[at..end].copy_from_slice(piece);
    end
}

/// The headers of a message that holds some of another one's entries: `count`, behind the first `skip`. `headers` is all that stands behind
/// that one's value. Where they are not one header of ours that counts so many, they stay as they are.
pub fn piece(headers: &[u8], skip: u32, count: u32) -> Cow<'_, [u8]> {
    narrowed(headers, skip, count).map_or(Cow::Borrowed(headers), Cow::Owned)
}

fn narrowed(headers: &[u8], skip: u32, count: u32) -> Option<Vec<u8>> {
    let (value_len, value_at) = read_signed(headers, FRONT.len()).filter(|_| headers.starts_with(&FRONT))?;
    let value = headers.get(value_at..).filter(|value| usize::try_from(value_len) == Ok(value.len()))?;
    let Stamp { stream, first, count: all } = Stamp::parse(value)?;
    let fits = count > 0 && skip.checked_add(count).is_some_and(|end| end <= all);
    let (mut memory, first) = (stream.prefix(), first + u64::from(skip));
    let prefix = memory.len();
    memory.resize(prefix + headers_len(prefix, first, count), 0);
    put_headers(&mut memory, prefix, 0..prefix, first, count);
    fits.then(|| memory.split_off(prefix))
}

/// Decimal digits. (Making an even number odd never adds one; it makes 0 countable.)
#[inline]
const fn digits(number: u64) -> usize {
    (number | 1).ilog10() as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Stream = Stream { gateway: 0xabc, start: 0x187b_44d0, core: 1, lane: 30 };

    #[test]
    fn what_is_written_is_read_and_takes_the_announced_bytes() {
        let largest = Stream { gateway: u64::MAX, start: u64::MAX, core: u32::MAX, lane: u32::MAX };
        assert_eq!(largest.prefix().len(), STREAM_BYTES_MAX);
        for stream in [STREAM, Stream::default(), largest] {
            for first in [0, 9, 10, 99, 100, 999_999_999, 1_000_000_000, u64::MAX - u64::from(u32::MAX)] {
                for count in [1, 9, 10, 1_000, u32::MAX] {
                    let mut memory = stream.prefix();
                    let (prefix, len) = (memory.len(), headers_len(memory.len(), first, count));
                    memory.resize(prefix + len, 0);
                    put_headers(&mut memory, prefix, 0..prefix, first, count);
                    let (value_bytes, at) = super::super::varint::read_signed(&memory, prefix + FRONT.len()).unwrap();
                    assert_eq!(at as i64 + value_bytes, memory.len() as i64, "{stream} {first} {count}");
                    assert_eq!(Stamp::parse(&memory[at..]), Some(Stamp { stream, first, count }));
                }
            }
        }
    }

    #[test]
    fn only_whole_headers_of_ours_are_read() {
        let good = "0000000000000abc/187b44d0/1/30/7+2";
        assert_eq!(Stamp::parse(good.as_bytes()), Some(Stamp { stream: STREAM, first: 7, count: 2 }));
        for bad in [
            "",
            "abc/187b44d0/1/30/7+2",
            "0000000000000ABC/187b44d0/1/30/7+2",
            "0000000000000abc//1/30/7+2",
            "0000000000000abc/187b44d0/1/30/7",
            "0000000000000abc/187b44d0/1/30/7+0",
            "0000000000000abc/187b44d0/1/30/+7+2",
            "0000000000000abc/187b44d0/1/30/7+2/",
            "0000000000000abc/187b44d0/1/30/7+2 ",
            "0000000000000abc/187b44d0/4294967296/30/7+2",
            "0000000000000abc/187b44d0/1/30/18446744073709551615+1",
        ] {
            assert_eq!(Stamp::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Stamp::parse(b"0000000000000abc/187b44d0/1/30/7+\xff"), None);
    }

    fn headers(first: u64, count: u32) -> Vec<u8> {
        let mut memory = STREAM.prefix();
        let prefix = memory.len();
        memory.resize(prefix + headers_len(prefix, first, count), 0);
        put_headers(&mut memory, prefix, 0..prefix, first, count);
        memory.split_off(prefix)
    }

    #[test]
    fn pieces_of_an_array_share_out_its_numbers() {
        let whole = headers(95, 1_000);
        for (skip, count) in [(0, 1), (0, 999), (4, 1), (5, 10), (999, 1), (0, 1_000)] {
            assert_eq!(piece(&whole, skip, count), headers(95 + u64::from(skip), count));
        }
        for (skip, count) in [(0, 0), (1_000, 1), (1, 1_000), (u32::MAX, 2)] {
            assert_eq!(piece(&whole, skip, count), whole, "no piece of it");
        }
        let mut two = whole.clone();
        two[0] = 4;
        for other in [&[0][..], b"", &two, &whole[..whole.len() - 1], &whole[..5], &[&whole[..], b"x"].concat()] {
            assert_eq!(piece(other, 0, 1), other);
        }
    }

    #[test]
    fn digits_are_counted_as_they_are_written() {
        for power in 0..20 {
            let ten = 10u64.pow(power);
            for number in [ten - 1, ten, ten + 1] {
                assert_eq!(digits(number), number.to_string().len());
            }
        }
        assert_eq!(digits(u64::MAX), 20);
    }
}

//! Any split of the bytes into reads gives the same result: each input of the corpora, whole and damaged, in every two pieces and in
//! many pieces cut by a seed.

use tollgate::base::fault::Side;
use tollgate::http::limits::HeadLimits;
use tollgate::http::message::{Method, Parsed};
use tollgate::http::reads::reads_of;
use tollgate::http::recode::{Outgoing, Recoder};
use tollgate::http::request::{RequestHead, parse_request};
use tollgate::http::response::{Asked, ResponseHead, parse_response};

use crate::corpus;

/// Ways of many pieces for each input.
const SEEDS: u64 = 40;
/// Small, so that the limits are met as well.
const LIMITS: HeadLimits = HeadLimits { head_bytes: 512, header_count: 8, target_bytes: 96 };

/// Compares what `read` makes of the input's bytes in one piece and in others; `read` gets where each read ends.
fn same_however_cut<T: PartialEq + std::fmt::Debug>(target: &str, read: impl Fn(&[u8], &[usize]) -> T) {
    for (path, whole) in corpus(target) {
        let damaged = [0x20, 0x80, b'\r' ^ b'\n'].map(|flip| {
            let mut bytes = whole.clone();
            let at = bytes.len() * usize::from(flip) / 256;
            bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= flip);
            bytes
        });
        for bytes in [whole].into_iter().chain(damaged) {
            let expected = read(&bytes, &[bytes.len()]);
            let two = (1..bytes.len()).map(|at| vec![at, bytes.len()]);
            for ends in two.chain((0..SEEDS).map(|seed| reads_of(bytes.len(), seed).collect())) {
                assert_eq!(read(&bytes, &ends), expected, "{} by {ends:?}: {}", path.display(), bytes.escape_ascii());
            }
        }
    }
}

#[test]
fn a_request_head_reads_the_same_however_it_is_cut() {
    same_however_cut("request_head", |bytes, ends| {
        let mut head = RequestHead::default();
        let mut answers = ends.iter().map(|&end| parse_request(&bytes[..end], &LIMITS, &mut head));
        let answer = answers.find(|answer| *answer != Ok(Parsed::Partial)).unwrap_or(Ok(Parsed::Partial));
        (answer, (answer == Ok(Parsed::Complete)).then(|| format!("{head:?}")))
    });
}

#[test]
fn a_response_head_reads_the_same_however_it_is_cut() {
    for asked in [Asked { method: Method::Get, upgrade: true }, Asked { method: Method::Head, upgrade: false }] {
        same_however_cut("response_head", |bytes, ends| {
            // The corpus has a byte before the response that says what was asked.
            let bytes = bytes.get(1..).unwrap_or_default();
            let mut head = ResponseHead::default();
            let mut answers =
                ends.iter().map(|&end| parse_response(&bytes[..end.min(bytes.len())], &LIMITS, asked, &mut head));
            let answer = answers.find(|answer| *answer != Ok(Parsed::Partial)).unwrap_or(Ok(Parsed::Partial));
            (answer, (answer == Ok(Parsed::Complete)).then(|| format!("{head:?}")))
        });
    }
}

#[test]
fn a_chunked_body_goes_on_the_same_however_it_is_cut() {
    for target in ["chunked", "recode"] {
        same_however_cut(target, |bytes, ends| {
            let mut recoder = Recoder::new(Side::Downstream, Outgoing::Raw);
            let (mut payload, mut at) = (Vec::new(), 0);
            for &end in ends {
                match recoder.take(&bytes[at..end], &mut payload, |_| Ok(())) {
                    Ok(None) => at = end,
                    Ok(Some(taken)) => return Ok((payload, Some(at + taken))),
                    Err(fault) => return Err(fault),
                }
            }
            Ok((payload, None))
        });
    }
}

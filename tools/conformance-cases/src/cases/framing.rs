//! Where a request's body ends (RFC 9112 §6, §11.2; RFC 9110 §8.6): whoever gets this wrong lets requests be smuggled.

use super::{Refusal, Served, either, refused, served};
use crate::case::{Case, Check};

const BAD: &[u16] = &[400];
const BAD_OR_CODING: &[u16] = &[400, 501];
const OK: Check = Check::Statuses(&[200]);

pub fn cases() -> Vec<Case> {
    [refused(REFUSED), served(SERVED), either(EITHER)].concat()
}

#[rustfmt::skip]
const REFUSED: &[Refusal] = &[
    ("length-two", "9112 §6.3", "two different lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", BAD),
    ("length-two-apart", "9112 §6.3", "two different lengths apart", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\nCONTENT-LENGTH: 0\r\n\r\nhello", BAD),
    ("length-list", "9112 §6.3", "a list of two different lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello!", BAD),
    ("length-plus", "9110 §8.6", "a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", BAD),
    ("length-minus", "9110 §8.6", "a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", BAD),
    ("length-hex", "9110 §8.6", "a length in hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", BAD),
    ("length-point", "9110 §8.6", "a fraction", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nhello", BAD),
    ("length-exponent", "9110 §8.6", "an exponent", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5e0\r\n\r\nhello", BAD),
    ("length-inner-space", "9110 §8.6", "a space inside", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 0\r\n\r\nhello", BAD),
    ("length-underscore", "9110 §8.6", "an underscore inside", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n0123456789", BAD),
    ("length-quotes", "9110 §8.6", "a quoted length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"5\"\r\n\r\nhello", BAD),
    ("length-empty", "9110 §8.6", "an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello", BAD),
    ("length-word", "9110 §8.6", "a word", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: five\r\n\r\nhello", BAD),
    ("length-semicolon", "9110 §8.6", "a parameter", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5;a=b\r\n\r\nhello", BAD),
    ("length-overflow-32", "9110 §8.6", "a length that wraps in 64 bits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello", &[400, 413]),
    ("length-overflow", "9110 §8.6", "a length of thirty digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999999999999999999999\r\n\r\n", &[400, 413]),
    ("length-nul", "9110 §8.6", "a NUL behind the length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\0\r\n\r\nhello", BAD),
    ("length-list-trailing", "9110 §8.6", "a comma behind the length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\nhello", BAD),
    ("coding-unknown", "9112 §6.1", "a coding that nobody has", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-not-last", "9112 §6.3", "chunked is not last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-only-gzip", "9112 §6.3", "a request body without an end", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nhello", BAD_OR_CODING),
    ("coding-identity", "9112 §6.1", "identity is no coding any more", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", BAD_OR_CODING),
    ("coding-chunked-identity", "9112 §6.1", "chunked, identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-twice", "9112 §6.1", "chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-twice-lines", "9112 §6.1", "chunked in two lines", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-two-lines", "9112 §6.1", "two lines, chunked first", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-quoted", "9112 §6.1", "a quoted coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-vertical-tab", "9112 §6.1", "a vertical tab before the coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-form-feed", "9112 §6.1", "a form feed behind the coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0c\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-nul", "9112 §6.1", "a NUL behind the coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-empty", "9112 §6.1", "an empty coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-parameter", "9112 §7", "chunked with a parameter", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-space-inside", "9112 §6.1", "a space inside the coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chun ked\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-1-0", "9112 §6.1", "a coding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
    ("coding-1-0-length", "9112 §6.1", "a coding and a length in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BAD_OR_CODING),
];

#[rustfmt::skip]
const SERVED: &[Served] = &[
    ("length-body", "9112 §6.2", "a body with a length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[OK, Check::UpBody("hello")]),
    ("length-zero", "9112 §6.3", "a length of 0", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &[OK, Check::UpBody("")]),
    ("length-leading-zeros", "9110 §8.6", "leading zeros are digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello", &[OK, Check::UpBody("hello")]),
    ("length-spaces", "9110 §5.5", "white space around the length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t5 \r\n\r\nhello", &[OK, Check::UpBody("hello")]),
    ("length-get", "9110 §9.3.1", "a GET with a body is read to its end", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[OK, Check::Requests(1)]),
    ("length-none", "9112 §6.3", "neither field: no body", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", &[OK, Check::UpBody("")]),
    ("length-delete", "9112 §6.3", "DELETE with a body", "DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[OK, Check::UpBody("hello")]),
    ("coding-chunked", "9112 §7.1", "a chunked body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[OK, Check::UpBody("hello")]),
    ("coding-case", "9112 §7", "codings in any case", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[OK, Check::UpBody("hello")]),
    ("coding-spaces", "9110 §5.5", "white space around the coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \t chunked \r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[OK, Check::UpBody("hello")]),
    ("coding-get", "9112 §6.1", "a chunked GET", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[OK, Check::Requests(1)]),
];

#[rustfmt::skip]
const EITHER: &[Served] = &[
    ("both", "9112 §6.1", "a length and a coding: refused, or read by the coding, the length not passed on, the connection closed",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::UpBody("hello"), Check::Down("connection", "close")]])]),
    ("both-turned", "9112 §6.1", "the same the other way round",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::UpBody("hello"), Check::Down("connection", "close")]])]),
    ("both-smuggle", "9112 §11.2", "a second request between the two ends is never one",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 46\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nX: 12345\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[Check::Statuses(&[200]), Check::Requests(1), Check::Down("connection", "close")]])]),
    ("both-zero", "9112 §6.1", "a length of 0 and a coding",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::UpBody("hello"), Check::Down("connection", "close")]])]),
    ("length-same-twice", "9110 §8.6", "the same length twice: refused, or passed on once",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::Up("content-length", "5"), Check::UpBody("hello")]])]),
    ("length-same-list", "9110 §8.6", "a list of the same length: refused, or passed on once",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::Up("content-length", "5"), Check::UpBody("hello")]])]),
    ("coding-gzip-chunked", "9112 §6.1", "a coding under chunked: refused with 501, or passed on",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", &[Check::OneOf(&[&[Check::Refused(BAD_OR_CODING)], &[OK, Check::UpHolds("transfer-encoding", "gzip")]])]),
    ("coding-empty-elements", "9110 §5.6.1", "empty list elements around chunked: refused, or chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked ,\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Check::OneOf(&[&[Check::Refused(BAD_OR_CODING)], &[OK, Check::UpBody("hello")]])]),
    ("length-underscore-name", "9112 §11.2", "Content_Length beside Content-Length never frames",
        "POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 3\r\nContent-Length: 5\r\n\r\nhello",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::UpBody("hello")]])]),
    ("coding-underscore-name", "9112 §11.2", "Transfer_Encoding never frames",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
        &[Check::OneOf(&[&[Check::Refused(BAD)], &[OK, Check::UpBody("hello")]])]),
];

//! What the RFCs demand of a proxy, sentence by sentence in our own words, and which cases show it. Where none can, the ledger says why.

/// How a demand is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// By these cases.
    By(&'static [&'static str]),
    /// By tests elsewhere in the repository.
    Elsewhere(&'static str),
    /// Not: the reason.
    Not(&'static str),
}
use Shown::{By, Elsewhere, Not};

/// One demand: section, what, how it is shown.
pub type Must = (&'static str, &'static str, Shown);

/// RFC 9112, every MUST (NOT) that a proxy can break.
#[rustfmt::skip]
pub const RFC_9112: &[Must] = &[
    ("9112 §2.2", "parse a message as octets, not as characters", By(&["field-obs-text", "down-obs-text", "field-name-high"])),
    ("9112 §2.2", "a client's empty line before the request line is ignored (SHOULD)", By(&["line-empty-before", "pipeline-crlf"])),
    ("9112 §2.2", "a bare CR is invalid or becomes a space", By(&["bare-cr-value", "bare-cr-field", "bare-cr-end", "line-bare-cr-target", "line-bare-cr-version", "down-bare-cr"])),
    ("9112 §2.2", "white space between the first line and the first field: refused, or those lines dropped", By(&["field-first-space", "field-first-tab", "down-first-space"])),
    ("9112 §2.2", "what is no HTTP message gets 400 and an end (SHOULD)", By(&["garbage-binary", "line-one-word"])),
    ("9112 §2.3", "the version's grammar", By(&["version-lower-case", "version-two-digits", "version-leading-zero", "version-no-minor", "version-sign", "version-space", "version-comma", "version-other"])),
    ("9112 §3", "a request line of method, target and version, one space between", By(&["line-two-spaces", "line-two-spaces-version", "line-trailing-space", "line-tab", "line-tab-version", "line-leading-space"])),
    ("9112 §3", "no other byte is white space, if white space is parsed leniently at all", By(&["line-form-feed", "line-vertical-tab"])),
    ("9112 §3", "a target longer than one can take gets 414", By(&["limit-target"])),
    ("9112 §3", "request lines of 8,000 octets are taken (RECOMMENDED)", By(&["limit-target-8000"])),
    ("9112 §3.2", "no white space in the target", By(&["line-space-in-target"])),
    ("9112 §3.2", "an invalid request line is not mended and passed on", By(&["line-space-in-target", "line-nul-target", "line-control-target", "line-delete-target", "line-fragment", "line-relative"])),
    ("9112 §3.2", "400 for a 1.1 request without Host", By(&["host-none", "host-none-beside-others"])),
    ("9112 §3.2", "400 for more than one Host", By(&["host-twice", "host-twice-same", "host-twice-apart"])),
    ("9112 §3.2", "400 for an invalid Host", By(&["host-list", "host-userinfo", "host-port-word", "host-port-twice", "host-space", "host-slash", "host-question", "host-fragment", "host-backslash", "host-scheme", "host-v6-open", "host-v6-junk", "host-nul", "host-tab"])),
    ("9112 §3.2.1", "an empty path is sent as /", By(&["line-absolute-empty-path"])),
    ("9112 §3.2.2", "absolute-form is accepted", By(&["line-absolute", "line-absolute-scheme-case"])),
    ("9112 §3.2.2", "absolute-form's host replaces Host when the request goes on", By(&["line-absolute-host-wins"])),
    ("9112 §3.2.3", "authority-form belongs to CONNECT only", By(&["line-authority-get"])),
    ("9112 §3.2.4", "asterisk-form belongs to OPTIONS only", By(&["line-asterisk-get"])),
    ("9112 §3.2.4", "OPTIONS on a bare authority goes to the origin as *", By(&["line-options-absolute", "line-options-asterisk"])),
    ("9112 §3.3", "the target URI is put together from what the client sent, never from a guess", By(&["line-absolute-host-wins", "up-host"])),
    ("9112 §4", "a status line of version, three digits and a reason", By(&["down-garbage", "down-status-two", "down-status-four", "down-status-word", "down-status-none", "down-version", "down-no-reason"])),
    ("9112 §5", "a field line is a name, a colon and a value", By(&["field-no-colon", "field-no-name", "field-no-ows", "down-no-colon"])),
    ("9112 §5.1", "400 for white space between name and colon in a request", By(&["field-space-colon", "field-tab-colon", "field-space-colon-length", "field-space-colon-coding", "field-space-host"])),
    ("9112 §5.1", "white space before a colon is removed from a response", By(&["down-space-colon"])),
    ("9112 §5.2", "a folded field in a request: 400, or the fold becomes spaces", By(&["fold", "fold-tab", "fold-coding", "fold-length", "fold-host"])),
    ("9112 §5.2", "a folded field in a response: 502, or the fold becomes spaces", By(&["down-fold"])),
    ("9112 §6.1", "Transfer-Encoding is understood: chunked is", By(&["coding-chunked", "coding-case", "down-chunked", "down-chunked-case"])),
    ("9112 §6.1", "chunked is not applied twice", By(&["coding-twice", "coding-twice-lines"])),
    ("9112 §6.1", "a request with a length and a coding: refused, or the length removed before it goes on", By(&["both", "both-turned", "both-zero"])),
    ("9112 §6.1", "the connection is closed after a request with both", By(&["both", "both-turned"])),
    ("9112 §6.1", "a coding in HTTP/1.0 has faulty framing and the connection ends", By(&["coding-1-0", "coding-1-0-length", "down-coding-1-0"])),
    ("9112 §6.1", "no coding is sent to a client that speaks 1.0", By(&["old-chunked"])),
    ("9112 §6.1", "no coding in 1xx and 204", By(&["down-204", "down-204-coding"])),
    ("9112 §6.1", "501 for a coding that is not known (SHOULD)", By(&["coding-unknown", "coding-gzip-chunked"])),
    ("9112 §6.2", "no Content-Length beside Transfer-Encoding is sent", By(&["both", "down-both"])),
    ("9112 §6.3", "HEAD, 1xx, 204 and 304 end with their head", By(&["head-length", "head-chunked", "down-204", "down-304-length", "pipeline-head", "pipeline-304", "pipeline-204"])),
    ("9112 §6.3", "a response with both: coding wins; before it goes on the length is removed", By(&["down-both"])),
    ("9112 §6.3", "a request whose coding does not end in chunked gets 400 and an end", By(&["coding-not-last", "coding-only-gzip", "coding-chunked-identity"])),
    ("9112 §6.3", "a request with an invalid length gets 400 and an end", By(&["length-two", "length-two-apart", "length-list", "length-plus", "length-minus", "length-hex", "length-word", "length-empty"])),
    ("9112 §6.3", "a response with an invalid length is a 502, its connection closed", By(&["down-length-two", "down-length-list", "down-length-plus", "down-length-minus", "down-length-word", "down-length-huge", "down-length-empty"])),
    ("9112 §6.3", "a request without either has no body", By(&["length-none"])),
    ("9112 §6.3", "bytes behind a response are not taken for another", By(&["down-more", "down-204-body"])),
    ("9112 §7", "codings are compared without regard to case", By(&["coding-case", "down-chunked-case"])),
    ("9112 §7", "no parameters of chunked", By(&["coding-parameter"])),
    ("9112 §7.1", "chunked is read, and sizes that overflow are noticed", By(&["chunks-many", "chunk-size-64", "chunk-size-huge", "chunk-size-32", "cut-down-size-large"])),
    ("9112 §7.1", "a chunk is its size and CRLF, its data and CRLF", By(&["chunk-no-size", "chunk-size-word", "chunk-size-plus", "chunk-size-minus", "chunk-size-prefix", "chunk-size-junk", "chunk-long", "chunk-no-crlf", "chunk-lf-data", "chunk-cr-data", "cut-down-size", "cut-down-size-empty", "cut-down-size-minus", "cut-down-long", "cut-down-second"])),
    ("9112 §7.1.1", "unknown chunk extensions are ignored", By(&["chunk-ext", "chunk-ext-value", "down-chunked"])),
    ("9112 §7.1.1", "the total of extensions is bounded", Elsewhere("the unit tests of http::chunked, and the fuzz target chunked")),
    ("9112 §7.1.2", "trailers are kept apart from fields or dropped", By(&["trailer-sent", "down-trailers", "trailer-length", "trailer-coding", "trailer-host", "trailer-forwarded-for"])),
    ("9112 §7.1.3", "removing chunked keeps the payload", By(&["old-chunked"])),
    ("9112 §7.4", "chunked is never named in TE", By(&["hop-te"])),
    ("9112 §8", "an incomplete request is never taken for a whole one", By(&["cut-length", "cut-length-nothing", "cut-chunk", "cut-last-chunk", "cut-last-crlf", "cut-trailer", "cut-head", "cut-line"])),
    ("9112 §8", "an incomplete response is never passed on as a whole one", By(&["cut-down-length", "cut-down-length-0", "cut-down-chunk", "cut-down-chunks", "cut-down-last", "cut-down-no-chunk", "down-half-head", "down-nothing"])),
    ("9112 §9.3", "persistence follows version and Connection", By(&["keep", "keep-said", "close", "old", "old-close", "old-keep-alive", "close-beats-keep-alive"])),
    ("9112 §9.3", "the whole request body is read, or the connection closed", By(&["keep-post", "length-get", "coding-get", "early-answer"])),
    ("9112 §9.3", "a proxy keeps no persistent connection with a 1.0 client that merely forwarded keep-alive", By(&["hop-proxy-connection"])),
    ("9112 §9.3.1", "what is not idempotent is not sent again by itself", Elsewhere("tests/proxy/retries.rs")),
    ("9112 §9.3.2", "answers to a pipeline come in the order of the requests", By(&["pipeline", "pipeline-bodies", "pipeline-split", "pipeline-bad"])),
    ("9112 §9.5", "an early answer is watched for while the body is sent", By(&["early-answer"])),
    ("9112 §9.6", "nothing is served behind close; the last answer says close", By(&["close-ignores-more", "close", "close-list", "close-second-line", "close-case"])),
    ("9112 §9.6", "an upstream's close ends its connection, not the client's", By(&["upstream-closes"])),
    ("9112 §9.7", "TLS closures", Elsewhere("tests/proxy/https_upstreams.rs")),
    ("9112 §11.1", "no CR or LF of a peer gets into a field that goes on", By(&["bare-lf-value", "bare-cr-field", "nul-value"])),
    ("9112 §11.2", "no request is smuggled", By(&["both-smuggle", "length-underscore-name", "coding-underscore-name", "pipeline-body-looks", "chunk-size-32"])),
];

/// RFC 9110, the message parts.
#[rustfmt::skip]
pub const RFC_9110: &[Must] = &[
    ("9110 §2.5", "a proxy sends its own version, not the client's", By(&["up-version", "down-old"])),
    ("9110 §2.5", "a major version that is not known gets 505 (or 400)", By(&["version-2", "version-3"])),
    ("9110 §2.5", "a higher minor version is served as the highest known", By(&["version-1-2"])),
    ("9110 §4.2.1", "an http URI without a host is refused", By(&["line-absolute-no-host"])),
    ("9110 §4.2.4", "user information in an http URI from a stranger is an error", By(&["line-absolute-userinfo", "host-userinfo"])),
    ("9110 §5.1", "a proxy passes on fields that it does not know", By(&["field-unknown", "down-etag"])),
    ("9110 §5.1", "field names are tokens", By(&["field-name-space", "field-name-nul", "field-name-paren", "field-name-quote", "field-name-slash", "field-name-brace", "field-name-comma", "field-name-at", "field-name-control", "field-name-delete", "field-token-name", "down-name-space"])),
    ("9110 §5.1", "field names are compared without regard to case", By(&["host-name-case"])),
    ("9110 §5.3", "the order of field lines of one name is kept", By(&["field-order"])),
    ("9110 §5.3", "Set-Cookie is not joined", By(&["down-cookies"])),
    ("9110 §5.4", "a field larger than one can take gets a 4xx", By(&["limit-field", "limit-fields"])),
    ("9110 §5.5", "white space around a value is no part of it", By(&["field-ows", "field-blank", "host-spaces-around", "length-spaces", "coding-spaces"])),
    ("9110 §5.5", "CR, LF and NUL in a value: refused, or each becomes a space", By(&["nul-value", "bare-cr-value", "bare-lf-value", "down-nul-value"])),
    ("9110 §5.6.1", "empty list elements are read over", By(&["coding-empty-elements", "hop-nominated-list"])),
    ("9110 §6.5.1", "a trailer is merged into the fields only where its definition allows it", By(&["trailer-length", "trailer-coding", "trailer-host", "trailer-forwarded-for", "down-trailers"])),
    ("9110 §6.6.1", "Date is added by a recipient with a clock when it is missing (MAY for proxies), never replaced", By(&["down-date", "down-no-date"])),
    ("9110 §7.2", "Host of what goes on is right", By(&["up-host", "line-absolute-host-wins", "host-port", "host-v6"])),
    ("9110 §7.3", "a proxy does not send a request back to itself for ever", Not("the routes are the operator's; Via and Max-Forwards let the other end tell")),
    ("9110 §7.6", "a message is passed on without needless change", By(&["line-origin", "line-escapes", "line-odd-path", "field-colons", "field-quoted", "down-reason"])),
    ("9110 §7.6.1", "Connection and the fields it names are removed, in both directions", By(&["hop-nominated", "hop-nominated-list", "hop-nominated-case", "hop-nominated-before", "hop-nominated-two", "hop-nominated-repeated", "hop-connection", "down-nominated"])),
    ("9110 §7.6.1", "other fields of one connection are removed too (SHOULD)", By(&["hop-keep-alive", "hop-proxy-connection", "hop-te", "down-keep-alive", "down-proxy-connection"])),
    ("9110 §7.6.1", "what is for every recipient is not taken away by a nomination", By(&["hop-nominated-host", "hop-nominated-length", "hop-nominated-coding", "hop-nominated-forwarded"])),
    ("9110 §7.6.2", "Max-Forwards of TRACE and OPTIONS is checked and counted down", By(&["up-max-forwards", "up-max-forwards-zero", "up-max-forwards-trace", "up-max-forwards-large", "up-max-forwards-get"])),
    ("9110 §7.6.3", "a gateway sends Via with each request, and the version received", By(&["up-via", "up-via-1-0"])),
    ("9110 §7.6.3", "earlier Via entries stay", By(&["up-via-kept"])),
    ("9110 §7.7", "content and its coding are not changed", By(&["down-encoding", "field-no-transform"])),
    ("9110 §7.8", "Upgrade is not passed on by itself; 101 only to who asked", By(&["hop-upgrade", "hop-http2-settings", "down-upgrade", "down-101", "down-101-websocket", "upgrade-ignored", "upgrade-not-nominated"])),
    ("9110 §7.8", "Upgrade in HTTP/1.0 is ignored", By(&["upgrade-old"])),
    ("9110 §7.8", "what follows a switch belongs to the new protocol", Elsewhere("tests/proxy/tunnels.rs")),
    ("9110 §8.6", "a Content-Length is digits", By(&["length-plus", "length-minus", "length-hex", "length-point", "length-exponent", "length-inner-space", "length-underscore", "length-quotes", "length-semicolon", "length-nul"])),
    ("9110 §8.6", "a length that overflows is noticed", By(&["length-overflow", "length-overflow-32", "down-length-huge"])),
    ("9110 §8.6", "the same length twice: refused, or one of them goes on", By(&["length-same-twice", "length-same-list", "down-length-same"])),
    ("9110 §8.6", "no length in 1xx and 204", By(&["down-204", "down-interim-length"])),
    ("9110 §9.1", "methods are tokens, compared with regard to case", By(&["method-at", "method-quotes", "method-nul", "method-colon", "method-empty", "method-lower-case"])),
    ("9110 §9.3.2", "no body in an answer to HEAD", By(&["head-length", "head-chunked", "head-nothing", "head-404"])),
    ("9110 §9.3.6", "CONNECT that is not served is refused", By(&["connect", "connect-path", "connect-no-port"])),
    ("9110 §9.3.8", "TRACE has no body", By(&["trace-body"])),
    ("9110 §10.1.1", "100-continue: told to go on, or a final answer", By(&["expect-continue", "expect-at-once", "expect-case"])),
    ("9110 §10.1.1", "no 100 to a 1.0 client", By(&["expect-1-0"])),
    ("9110 §10.1.1", "an expectation that is not known may get 417", By(&["expect-other"])),
    ("9110 §10.1.1", "a proxy may pass the expectation on", Not("a gateway answers for the origin: it asks for the body itself, as nginx does")),
    ("9110 §11.7", "Authorization passes unchanged", By(&["field-authorization"])),
    ("9110 §15", "a status outside its grammar is an error", By(&["down-status-0", "down-status-0-bare", "down-status-two", "down-status-four"])),
    ("9110 §15", "an unknown status of a known class passes", By(&["down-599"])),
    ("9110 §15.2", "no interim answer to a 1.0 client", By(&["old-interim"])),
    ("9110 §15.2", "interim answers go on to a 1.1 client", By(&["down-103", "down-103-twice", "down-100-unasked"])),
    ("9110 §15.3.5", "204 ends with its head", By(&["down-204", "down-204-body", "pipeline-204"])),
    ("9110 §15.4.5", "304 ends with its head", By(&["down-304", "pipeline-304"])),
    ("9110 §14", "ranges", Not("no cache: Range and its answers are fields and a status like any other (field-range)")),
    ("9110 §12, §13", "negotiation and conditions", Not("the origin's; a proxy without a cache passes them on as fields")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{RFC_9110, RFC_9112, Shown};

    #[test]
    fn every_demand_is_shown_by_cases_that_exist_or_says_why_not() {
        let all = crate::cases::all();
        let known: BTreeSet<&str> = all.iter().map(|case| case.id.as_str()).collect();
        for (section, what, shown) in RFC_9112.iter().chain(RFC_9110) {
            match shown {
                Shown::By(ids) => {
                    assert!(!ids.is_empty(), "{section}: {what}");
                    ids.iter().for_each(|id| assert!(known.contains(id), "{section}: {what}: no case {id}"));
                }
                Shown::Elsewhere(text) | Shown::Not(text) => assert!(text.len() > 10, "{section}: {what}"),
            }
        }
    }
}

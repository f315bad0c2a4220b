//! Bodies of Admin requests: read up to a bound, then parsed by simd-json (APISIX-COMPAT §5.5).

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::Answer;
use crate::base::limits::ADMIN_BODY_BYTES;

/// Levels of nested JSON; deeper is a 400. What is stored must be readable again, and serde_json stops at 128.
pub const JSON_DEPTH: usize = 100;
/// Bytes of a body over the limit that are still read and thrown away, so that the client reads its answer instead of a reset;
/// of a longer one the connection is closed.
pub const DISCARDED_BYTES: usize = 64 * 1024 * 1024;

/// Reads a body and parses it; `None` if there is none.
///
/// # Errors
/// The 400.
pub async fn read(body: Body) -> Result<Option<Value>, Answer> {
    let bytes = read_bytes(body).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    parse(bytes).map(Some)
}

async fn read_bytes(mut body: Body) -> Result<Vec<u8>, Answer> {
    let mut kept = Vec::new();
    let mut size = 0_usize;
    while let Some(data) = next_data(&mut body).await? {
        size += data.len();
        if size <= ADMIN_BODY_BYTES {
            kept.extend_from_slice(&data);
        } else if size > DISCARDED_BYTES {
            break;
        }
    }
    if size > ADMIN_BODY_BYTES {
        let text = format!("request size {size} is greater than the maximum size {ADMIN_BODY_BYTES} allowed");
        return Err(Answer::invalid(format!("invalid request body: {text}")));
    }
    Ok(kept)
}

async fn next_data(body: &mut Body) -> Result<Option<Bytes>, Answer> {
    loop {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => return Err(Answer::invalid(format!("invalid request body: {error}"))),
        }
    }
}

/// Parses one JSON text. Of a key that stands twice in an object the last one counts, as in APISIX.
///
/// # Errors
/// The 400 with the parser's words and the text itself.
pub fn parse(mut bytes: Vec<u8>) -> Result<Value, Answer> {
    let parsed = if depth(&bytes) > JSON_DEPTH {
        Err(format!("found too many nested data structures ({})", JSON_DEPTH + 1))
    } else {
        // The parser works in place: what the answer quotes is kept from before.
        let before = bytes.clone();
        let parsed = simd_json::serde::from_slice(&mut bytes).map_err(|error| error.to_string());
        bytes = before;
        parsed
    };
    parsed.map_err(|error| {
        let raw = String::from_utf8_lossy(&bytes);
        let body = json!({ "error_msg": format!("invalid request body: {error}"), "req_body": raw });
        Answer::json(StatusCode::BAD_REQUEST, body)
    })
}

/// The deepest nesting of brackets outside of strings: known before any recursive parser sees the text.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::super::answer::Payload;
    use super::*;

    fn parsed(text: &str) -> Result<Value, Value> {
        parse(text.as_bytes().to_vec()).map_err(|answer| match answer.payload {
            Payload::Json(value) => value,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn json_keeps_its_numbers_and_its_order() {
        let text = r#"{"b":1,"a":1.5,"c":[true,null,"\u00e9\n"],"d":18446744073709551615,"e":-1}"#;
        assert_eq!(
            parsed(text).unwrap().to_string(),
            r#"{"b":1,"a":1.5,"c":[true,null,"é\n"],"d":18446744073709551615,"e":-1}"#
        );
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_counts() {
        assert_eq!(parsed(r#"{"127.0.0.1":9092,"127.0.0.1":9093}"#).unwrap(), json!({"127.0.0.1": 9093}));
    }

    #[test]
    fn malformed_texts_are_quoted() {
        for text in ["{\"a\":", "{a:1}", "{} {}", "\u{1}", " "] {
            let error = parsed(text).unwrap_err();
            assert!(error["error_msg"].as_str().unwrap().starts_with("invalid request body: "), "{error}");
            assert_eq!(error["req_body"], text);
        }
        assert!(parse(b"\"\xff\"".to_vec()).is_err());
    }

    #[test]
    fn deep_nesting_is_refused_before_it_is_parsed() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parsed(&nested(JSON_DEPTH)).is_ok());
        assert!(parsed(&nested(JSON_DEPTH + 1)).is_err());
        assert!(parse(vec![b'['; ADMIN_BODY_BYTES]).is_err());
        assert_eq!(depth(br#"["[[[\"[[",{}]"#), 2);
    }
}

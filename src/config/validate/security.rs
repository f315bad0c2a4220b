//! What a schema cannot say of `sasl_config` and `tls`: names and passwords that can be sent, PEM that can be read.

use serde_json::Value;

use crate::kafka::tls::{Identity, Roots, Tls, TlsSettings};
use crate::kafka::{Secret, sasl};

/// Checks both of an instance that passed its schema. No text repeats a password or a key.
pub fn check(attributes: &Value) -> Result<(), String> {
    let brokers = attributes.get("brokers").and_then(Value::as_array);
    for (at, broker) in brokers.into_iter().flatten().enumerate() {
        let text = |name: &str| broker.pointer(&format!("/sasl_config/{name}")).and_then(Value::as_str);
        if let (Some(user), Some(password)) = (text("user"), text("password")) {
            sasl::sendable(user, password).map_err(|refusal| {
                let item = at + 1;
                format!(
                    "property \"brokers\" validation failed: failed to validate item {item}: property \"sasl_config\" \
                     validation failed: {refusal}"
                )
            })?;
        }
    }
    let Some(tls) = attributes.get("tls") else { return Ok(()) };
    check_tls(tls).map_err(|why| format!("property \"tls\" validation failed: {why}"))
}

/// PEM that can be used.
pub(super) fn check_tls(tls: &Value) -> Result<(), String> {
    let text = |name: &str| tls.get(name).and_then(Value::as_str);
    if let Some(pem) = text("ca") {
        Roots::from_pem(pem).map_err(|why| format!("property \"ca\" validation failed: {why}"))?;
    }
    let identity = match (text("client_cert"), text("client_key")) {
        (None, None) => return Ok(()),
        (Some(certificates), Some(key)) => Identity { certificates: certificates.to_owned(), key: Secret::new(key) },
        (Some(_), None) => return Err("property \"client_key\" is required".to_owned()),
        (None, Some(_)) => return Err("property \"client_cert\" is required".to_owned()),
    };
    Tls::new(TlsSettings { verify: None, identity: Some(&identity) }).map(drop)
}

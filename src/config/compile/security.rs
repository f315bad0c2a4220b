//! `sasl_config` and `tls` of kafka-logger become who we are towards a Kafka (APISIX-COMPAT §1.1). Files are read by `control`: what
//! was in them is handed in.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::content::{Json, hash_of};
use super::field;
use crate::kafka::tls::{Identity, Roots, Tls, TlsSettings};
use crate::kafka::{Credentials, Mechanism, Secret, Security};

/// What the file says about TLS towards brokers, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsDefaults {
    /// Whom to trust where an instance names nobody.
    pub trust: Trust,
    /// Who we are where an instance does not say.
    pub identity: Option<Identity>,
}

/// The authorities that are trusted by default. They are asked for when an instance needs them: a system trusts many.
#[derive(Clone)]
pub struct Trust(Arc<dyn Fn() -> Roots + Send + Sync>);

impl Trust {
    /// Those that `read` gives; it is called more than once.
    pub fn new(read: impl Fn() -> Roots + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Them.
    pub fn roots(&self) -> Roots {
        (self.0)()
    }
}

impl Default for Trust {
    /// Nobody.
    fn default() -> Self {
        Self::new(Roots::default)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The securities of one snapshot while it is made: equal `tls` objects are made once.
pub struct Securities<'a> {
    defaults: &'a TlsDefaults,
    made: HashMap<u64, Tls>,
}

impl<'a> Securities<'a> {
    /// None yet.
    pub fn new(defaults: &'a TlsDefaults) -> Self {
        Self { defaults, made: HashMap::new() }
    }

    /// The security of an instance.
    ///
    /// # Errors
    /// PEM texts that cannot be used.
    pub fn of(&mut self, attributes: &Value) -> Result<Security, String> {
        let tls = attributes.get("tls").map(|tls| self.tls(tls)).transpose()?;
        // A broker that is missing is without SASL: what asks for nothing must look like it, or its records wait for credentials
        // in a spool once no logger names them.
        let mut sasl = sasl(attributes);
        sasl.truncate(sasl.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        Ok(Security { sasl, tls })
    }

    fn tls(&mut self, tls: &Value) -> Result<Tls, String> {
        let written = hash_of(&Json(Some(tls)));
        if let Some(made) = self.made.get(&written) {
            return Ok(made.clone());
        }
        let roots = match field::text(tls, "ca") {
            _ if !verifies(tls) => None,
            Some(pem) => Some(Roots::from_pem(pem).map_err(|why| format!("tls.ca: {why}"))?),
            None => Some(self.defaults.trust.roots()),
        };
        let own = identity(tls);
        let identity = own.as_ref().or(self.defaults.identity.as_ref());
        let made = Tls::new(TlsSettings { verify: roots.as_ref(), identity }).map_err(|why| format!("tls: {why}"))?;
        self.made.insert(written, made.clone());
        Ok(made)
    }

    /// What the operator should know about an instance's security.
    pub fn warnings(&self, attributes: &Value) -> Vec<String> {
        let mut texts = Vec::new();
        let sasl = sasl(attributes);
        let Some(tls) = attributes.get("tls") else {
            if sasl.iter().flatten().any(|credentials| credentials.mechanism == Mechanism::Plain) {
                texts.push("sasl_config with PLAIN and without tls: the password can be read on the way".to_owned());
            }
            return texts;
        };
        if !verifies(tls) {
            texts.push(
                "tls.verify is false: any certificate is taken, so that whoever stands in between can read records and \
                 passwords; set tls.verify to true"
                    .to_owned(),
            );
            if tls.get("ca").is_some() {
                texts.push("tls.ca is without effect while tls.verify is false".to_owned());
            }
        } else if tls.get("ca").is_none() && self.defaults.trust.roots().is_empty() {
            texts.push(
                "tls.verify is true, and no trusted certificate is known here, so that no broker will be taken: install \
                 ca-certificates, or name the authority in tls.ca or apisix.ssl.ssl_trusted_certificate"
                    .to_owned(),
            );
        }
        texts
    }
}

/// `tls.verify`; who names an authority wants it to be used.
fn verifies(tls: &Value) -> bool {
    field::flag(tls, "verify").unwrap_or_else(|| tls.get("ca").is_some())
}

/// `client_cert` with `client_key`.
pub(super) fn identity(tls: &Value) -> Option<Identity> {
    let (certificates, key) = (field::text(tls, "client_cert")?, field::text(tls, "client_key")?);
    Some(Identity { certificates: certificates.to_owned(), key: Secret::new(key) })
}

/// The credentials beside each broker, in the list's order.
fn sasl(attributes: &Value) -> Vec<Option<Credentials>> {
    let brokers = attributes.get("brokers").and_then(Value::as_array);
    brokers.into_iter().flatten().map(|broker| broker.get("sasl_config").and_then(credentials)).collect()
}

fn credentials(config: &Value) -> Option<Credentials> {
    Some(Credentials {
        mechanism: field::text(config, "mechanism").and_then(Mechanism::named).unwrap_or_default(),
        user: field::text(config, "user")?.to_owned(),
        password: Secret::new(field::text(config, "password")?),
    })
}

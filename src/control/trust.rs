//! Files about TLS towards brokers: whom the system trusts, and our own certificate. Read here, at the start; what is made of them
//! is `config`'s and `kafka::tls`'.

use std::fs;
use std::sync::OnceLock;

use crate::config::compile::{TlsDefaults, Trust};
use crate::config::file::{FileConfig, TrustSource};
use crate::kafka::Secret;
use crate::kafka::tls::{Identity, Roots, Tls, TlsSettings};

/// Reads what the file names. The system's own certificates are read when they are first needed.
///
/// # Errors
/// One line for every file that cannot be used.
pub fn read(config: &FileConfig) -> Result<TlsDefaults, Vec<String>> {
    let mut wrong = Vec::new();
    let (mut named, mut with_system) = (Roots::default(), false);
    for source in &config.trusted {
        match source {
            TrustSource::System => with_system = true,
            TrustSource::File(path) => match roots_file(path) {
                Ok(roots) => named = named.and(&roots),
                Err(why) => wrong.push(format!("apisix.ssl.ssl_trusted_certificate: {why}")),
            },
        }
    }
    let identity = config.tollgate.client_certificate.as_ref().and_then(|files| {
        let read = identity_files(&files.certificate, &files.key);
        read.map_err(|why| wrong.push(format!("tollgate.kafka.tls_client_cert_file: {why}"))).ok()
    });
    let known = OnceLock::new();
    let trust = Trust::new(move || {
        known.get_or_init(|| if with_system { named.and(&system()) } else { named.clone() }).clone()
    });
    if wrong.is_empty() { Ok(TlsDefaults { trust, identity }) } else { Err(wrong) }
}

/// The authorities that this system trusts; none if it has no list.
pub fn system() -> Roots {
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        log::warn!("the system's trusted certificates: {error}");
    }
    Roots::new(loaded.certs)
}

/// The authorities in a PEM file.
///
/// # Errors
/// In words, with the path.
pub fn roots_file(path: &str) -> Result<Roots, String> {
    Roots::from_pem(&text_of(path)?).map_err(|why| format!("{path}: {why}"))
}

/// Our certificate and its key, from two PEM files, which may be the same.
///
/// # Errors
/// In words, with the path; never what is in the files.
pub fn identity_files(certificate: &str, key: &str) -> Result<Identity, String> {
    let identity = Identity { certificates: text_of(certificate)?, key: Secret::new(&text_of(key)?) };
    let made = Tls::new(TlsSettings { verify: None, identity: Some(&identity) });
    made.map(|_| identity).map_err(|why| format!("{certificate}, {key}: {why}"))
}

fn text_of(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

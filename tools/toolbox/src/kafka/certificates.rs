//! Keys and certificates for the TLS listeners: a throw-away authority, one broker, one client, one broker that is too old. By the openssl command.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::properties::STORE_PASSWORD;
use crate::Outcome;
use crate::process::run_quietly;

/// What a certificate is good for.
const EXTENSIONS: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth,clientAuth\n";

/// Fills `dir`: `ca.pem`, and for `broker`, `client` and `expired` each NAME.crt, NAME.key (PKCS#8), NAME.keystore.pem, NAME.p12.
pub fn make(dir: &Path) -> Outcome {
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    fs::write(dir.join("extensions"), EXTENSIONS).map_err(|error| error.to_string())?;
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    openssl(
        dir,
        &[&["req", "-x509"], &key[..], &["-keyout", "ca.key", "-out", "ca.pem", "-days", "3650"]].concat(),
        "/CN=tollgate-test-ca",
    )?;
    for (name, subject, days) in
        [("broker", "/CN=localhost", "825"), ("client", "/CN=gateway", "825"), ("expired", "/CN=localhost", "-1")]
    {
        let (raw, request, certificate) = (format!("{name}.key8"), format!("{name}.csr"), format!("{name}.crt"));
        openssl(dir, &[&["req"], &key[..], &["-keyout", &raw, "-out", &request]].concat(), subject)?;
        let sign = ["x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
        openssl(dir, &[&sign[..], &["-out", &certificate, "-days", days, "-extfile", "extensions"]].concat(), "")?;
        stores(dir, name)?;
    }
    Ok(())
}

fn stores(dir: &Path, name: &str) -> Outcome {
    let (raw, key, certificate) = (format!("{name}.key8"), format!("{name}.key"), format!("{name}.crt"));
    openssl(dir, &["pkcs8", "-topk8", "-nocrypt", "-in", &raw, "-out", &key], "")?;
    let (store, password) = (format!("{name}.p12"), format!("pass:{STORE_PASSWORD}"));
    let export = ["pkcs12", "-export", "-in", &certificate, "-inkey", &key, "-certfile", "ca.pem", "-name", name];
    openssl(dir, &[&export[..], &["-passout", &password, "-out", &store]].concat(), "")?;
    let mut together = Vec::new();
    for part in [&key, &certificate, &"ca.pem".to_owned()] {
        together.extend(fs::read(dir.join(part)).map_err(|error| format!("{part}: {error}"))?);
    }
    fs::write(dir.join(format!("{name}.keystore.pem")), together).map_err(|error| error.to_string())
}

fn openssl(dir: &Path, arguments: &[&str], subject: &str) -> Outcome {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(arguments);
    if !subject.is_empty() {
        command.args(["-subj", subject]);
    }
    run_quietly(&mut command).map(drop).map_err(|text| format!("{text}\n--tls needs it: apt-get install openssl"))
}

//! The words with which `tail`, `topics` and `doctor` get into a Kafka that asks for SASL or TLS. No word holds a password: the list of
//! a machine's processes shows every word.

use clap::Args;

use crate::control::records::Access;
use crate::control::trust;
use crate::kafka::tls::{Tls, TlsSettings};
use crate::kafka::{Credentials, Mechanism, Secret};

/// How to get in.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "A Kafka that asks who we are")]
pub struct AccessWords {
    /// SASL: the user. The password comes from --password-file or --password-env.
    #[arg(long)]
    user: Option<String>,
    /// SASL: a file with the password; a newline at its end does not count.
    #[arg(long, value_name = "FILE", requires = "user", conflicts_with = "password_env")]
    password_file: Option<String>,
    /// SASL: an environment variable with the password.
    #[arg(long, value_name = "VARIABLE", requires = "user")]
    password_env: Option<String>,
    /// SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    #[arg(long, value_name = "NAME", default_value = "PLAIN", requires = "user")]
    sasl_mechanism: String,
    /// TLS, with the authorities that this system trusts.
    #[arg(long)]
    tls: bool,
    /// TLS, with the authorities in this PEM file.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<String>,
    /// TLS with whatever certificate the broker shows.
    #[arg(long, conflicts_with = "tls_ca")]
    tls_no_verify: bool,
    /// TLS: our own certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<String>,
    /// TLS: its key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<String>,
}

impl AccessWords {
    /// Reads the files and variables that are named.
    ///
    /// # Errors
    /// What cannot be read, or is not what it should be.
    pub fn access(&self) -> Result<Access, String> {
        Ok(Access { sasl: self.credentials()?, tls: self.tls()? })
    }

    fn credentials(&self) -> Result<Option<Credentials>, String> {
        let Some(user) = &self.user else { return Ok(None) };
        let mechanism = Mechanism::named(&self.sasl_mechanism).ok_or_else(|| {
            let names = Mechanism::ALL.map(Mechanism::name).join(", ");
            format!("--sasl-mechanism {}: there are {names}", self.sasl_mechanism)
        })?;
        let password = match (&self.password_file, &self.password_env) {
            (Some(file), _) => std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?,
            (None, Some(variable)) => {
                std::env::var(variable).map_err(|_| format!("--password-env {variable}: it is not set"))?
            }
            (None, None) => return Err("--user needs --password-file or --password-env".to_owned()),
        };
        let password = Secret::new(password.trim_end_matches(['\r', '\n']));
        Ok(Some(Credentials { mechanism, user: user.clone(), password }))
    }

    fn tls(&self) -> Result<Option<Tls>, String> {
        if !self.tls && !self.tls_no_verify && self.tls_ca.is_none() && self.tls_cert.is_none() {
            return Ok(None);
        }
        let roots = match &self.tls_ca {
            _ if self.tls_no_verify => None,
            Some(file) => Some(trust::roots_file(file)?),
            None => Some(trust::system()),
        };
        if roots.as_ref().is_some_and(crate::kafka::tls::Roots::is_empty) {
            return Err(
                "this system trusts nobody: install ca-certificates, or name the authority with --tls-ca".to_owned()
            );
        }
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(trust::identity_files(certificate, key)?),
            _ => None,
        };
        Tls::new(TlsSettings { verify: roots.as_ref(), identity: identity.as_ref() }).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        access: AccessWords,
    }

    fn access(words: &[&str]) -> Result<Access, String> {
        let all = std::iter::once("test").chain(words.iter().copied());
        Words::try_parse_from(all).map_err(|error| error.to_string())?.access.access()
    }

    #[test]
    fn a_password_comes_from_a_file_or_the_environment_and_without_its_newline() {
        let file = std::env::temp_dir().join(format!("tollgate-password-{}", std::process::id()));
        std::fs::write(&file, "se cret\r\n").unwrap();
        let words = ["--user", "bob", "--sasl-mechanism", "SCRAM-SHA-512", "--password-file", file.to_str().unwrap()];
        let read = access(&words);
        std::fs::remove_file(&file).unwrap();
        let credentials = read.unwrap().sasl.unwrap();
        assert_eq!((credentials.mechanism, credentials.password.reveal()), (Mechanism::ScramSha512, "se cret"));
        let from_environment = access(&["--user", "bob", "--password-env", "PATH"]).unwrap().sasl.unwrap();
        assert_eq!(from_environment.password.reveal(), std::env::var("PATH").unwrap());
        assert!(access(&[]).unwrap().sasl.is_none());
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (words, why) in [
            (vec!["--user", "bob"], "needs --password-file or --password-env"),
            (vec!["--password-env", "PATH"], "--user"),
            (vec!["--user", "bob", "--password-env", "PATH", "--sasl-mechanism", "GSSAPI"], "there are PLAIN"),
            (vec!["--user", "bob", "--password-env", "TOLLGATE_NO_SUCH"], "not set"),
            (vec!["--tls-cert", "c"], "--tls-key"),
            (vec!["--tls-ca", "/no/such/file"], "/no/such/file"),
        ] {
            let said = access(&words).err().unwrap_or_default();
            assert!(said.contains(why), "{words:?}: {said}");
        }
        assert!(access(&["--tls-no-verify"]).unwrap().tls.is_some());
    }
}

//! Kafka's jars by Maven, once, and the Java command lines over them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::layout::{Place, node_ports, partial};
use super::properties::{PLAIN_USER, SCRAM_USER, Shape};
use super::version::Version;
use crate::Outcome;
use crate::process::run_quietly;

/// Where the lists of jars lie, from the repository's root.
const POMS: &str = "tools/kafka.d";
/// Small and quick to start: the tests' brokers live for seconds, so the second compiler would only cost.
const JVM: &[&str] = &[
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xss512k",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
];
/// Heap of a broker. 64 MiB would start one, 256 carry a load test.
const BROKER_HEAP: &str = "-Xmx256m";
/// Heap of ZooKeeper and of Kafka's own tools.
const SMALL_HEAP: &str = "-Xmx96m";

/// Makes sure that a version's jars are there.
pub fn ensure(place: &Place, version: Version) -> Outcome<PathBuf> {
    let dir = place.jars(version.text());
    if dir.is_dir() {
        return Ok(dir);
    }
    java_version(version)?;
    eprintln!("Kafka {}: fetching its jars with Maven (about {} MB)", version.text(), version.jars_mb());
    let partial = partial(&dir);
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f"]).arg(Path::new(POMS).join(version.text()).join("pom.xml"));
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", partial.display()));
    run_quietly(&mut maven).map_err(|text| format!("{text}\nKafka's jars come by Maven: apt-get install maven"))?;
    match fs::rename(&partial, &dir) {
        Ok(()) => Ok(dir),
        // Somebody else fetched them at the same time.
        Err(_) if dir.is_dir() => fs::remove_dir_all(&partial).map(|()| dir).map_err(|error| error.to_string()),
        Err(error) => Err(format!("{}: {error}", dir.display())),
    }
}

/// Says what is missing if Java is not there or too old.
fn java_version(version: Version) -> Outcome {
    let hint = format!("Kafka {} needs Java {}: apt-get install default-jre-headless", version.text(), version.java());
    let output = Command::new("java").arg("-version").output().map_err(|_| format!("java is not installed. {hint}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    match major(&text) {
        Some(found) if found < version.java() => Err(format!("java is version {found}. {hint}")),
        _ => Ok(()),
    }
}

/// The major number in what `java -version` prints, such as `openjdk version "17.0.15" 2025-04-15`.
fn major(text: &str) -> Option<u32> {
    let quoted = text.split('"').nth(1)?;
    let digits: String = quoted.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn java(jars: &Path, heap: &str) -> Command {
    let mut command = Command::new("java");
    command.arg(heap).args(JVM).arg("-cp").arg(jars.join("*"));
    command
}

/// Starts a broker.
pub fn broker(jars: &Path, properties: &Path) -> Command {
    let mut command = java(jars, BROKER_HEAP);
    command.arg("kafka.Kafka").arg(properties);
    command
}

/// Starts ZooKeeper.
pub fn zookeeper(jars: &Path, properties: &Path) -> Command {
    let mut command = java(jars, SMALL_HEAP);
    command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(properties);
    command
}

/// Formats a KRaft node's storage; the data directory is in `properties`.
pub fn format(jars: &Path, properties: &Path, cluster_id: &str, sasl: bool) -> Outcome {
    let mut command = java(jars, SMALL_HEAP);
    command.args(["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c"]).arg(properties);
    if sasl {
        let (user, password) = SCRAM_USER;
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            command.arg("--add-scram").arg(format!("{mechanism}=[name=\"{user}\",password=\"{password}\"]"));
        }
    }
    run_quietly(&mut command).map(drop)
}

/// Puts the SCRAM user into ZooKeeper (KRaft takes it when the storage is formatted).
pub fn add_scram_user(jars: &Path, zookeeper_port: u16) -> Outcome {
    let (user, password) = SCRAM_USER;
    let mut command = java(jars, SMALL_HEAP);
    command.args(["kafka.admin.ConfigCommand", "--zookeeper", &format!("127.0.0.1:{zookeeper_port}"), "--alter"]);
    command.args(["--entity-type", "users", "--entity-name", user, "--add-config"]);
    command.arg(format!("SCRAM-SHA-256=[password={password}],SCRAM-SHA-512=[password={password}]"));
    run_quietly(&mut command).map(drop)
}

/// One line for each way in besides the plain one.
pub fn ways_in(shape: &Shape) -> Vec<String> {
    let ports = node_ports(shape.base, 1);
    let mut lines = Vec::new();
    let ((plain, plain_password), (scram, scram_password)) = (PLAIN_USER, SCRAM_USER);
    if shape.security.sasl {
        lines.push(format!(
            "SASL_PLAINTEXT 127.0.0.1:{}   PLAIN {plain}/{plain_password}, SCRAM-SHA-256 and -512 {scram}/{scram_password}",
            ports.sasl
        ));
    }
    if shape.security.tls {
        let (tls, mutual, expired) = (ports.tls, ports.mutual_tls, ports.expired_tls);
        lines.push(format!("SSL            127.0.0.1:{tls}   (client certificate: {mutual}, expired: {expired})"));
    }
    if shape.security.sasl && shape.security.tls {
        lines.push(format!("SASL_SSL       127.0.0.1:{}", ports.sasl_tls));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_major_number_is_read_from_what_it_prints() {
        assert_eq!(major("openjdk version \"17.0.15\" 2025-04-15\n"), Some(17));
        assert_eq!(major("openjdk version \"21\" 2023-09-19\n"), Some(21));
        assert_eq!(major("nothing"), None);
    }
}

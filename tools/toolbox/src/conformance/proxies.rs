//! The proxies that the table is run against: started on loopback, ended with the tool.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::Kind;
use crate::Outcome;
use crate::started::{Process, check_free, fill, program};

/// Where the configurations lie.
const TEMPLATES: &str = "tools/conformance.d";

/// A proxy that runs.
pub struct Proxy {
    kind: Kind,
    binary: PathBuf,
    address: SocketAddr,
    process: Process,
}

/// A file beside the configurations.
///
/// # Errors
/// It cannot be read.
pub fn read(name: &str) -> Outcome<String> {
    let path = Path::new(TEMPLATES).join(name);
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

impl Proxy {
    /// Starts it before `upstream`. `ours`: Tollgate's and the card's binaries.
    pub fn start(kind: Kind, ours: (&Path, &Path), dir: &Path, port: u16, upstream: SocketAddr) -> Outcome<Self> {
        let (tollgate, card) = ours;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        check_free(&[address])?;
        let values =
            [("DIR", dir.display().to_string()), ("PROXY", address.to_string()), ("UPSTREAM", upstream.to_string())];
        let (binary, arguments) = match kind {
            Kind::Tollgate => {
                let config = tollgate_files(dir, address, upstream)?;
                (tollgate.to_owned(), vec!["run".into(), "--config".into(), config])
            }
            Kind::Nginx => {
                let config = fill(TEMPLATES, "nginx.conf", dir, &values)?;
                (program("nginx")?.into(), vec!["-e".into(), "stderr".into(), "-c".into(), config])
            }
            Kind::Haproxy => {
                let config = fill(TEMPLATES, "haproxy.cfg", dir, &values)?;
                (program("haproxy")?.into(), vec!["-db".into(), "-f".into(), config])
            }
            Kind::Card => {
                let [listen, to] = [address, upstream].map(|address| address.to_string().into());
                (card.to_owned(), vec!["--listen".into(), listen, "--upstream".into(), to])
            }
        };
        let mut command = Command::new(&binary);
        command.args(&arguments);
        let mut process = Process::start(command, dir.join("log"))?;
        process.wait_listening(address)?;
        Ok(Self { kind, binary, address, process })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name and version, as it says them.
    pub fn version(&self) -> Outcome<String> {
        if self.kind == Kind::Card {
            return Ok("the literal card".to_owned());
        }
        let flag = if self.kind == Kind::Tollgate { "--version" } else { "-v" };
        let output = Command::new(&self.binary).arg(flag).output().map_err(|error| error.to_string())?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let number = text.split([' ', '/', '\n']).find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        let number = number.and_then(|word| word.split('-').next()).unwrap_or("of an unknown version");
        let name = match self.kind {
            Kind::Tollgate => "Tollgate",
            Kind::Nginx => "nginx",
            Kind::Haproxy => "HAProxy",
            Kind::Card => "the card",
        };
        Ok(format!("{name} {number}"))
    }

    /// True if its process is gone.
    pub fn has_ended(&mut self) -> bool {
        self.process.still_runs().is_err()
    }

    /// Ends it.
    pub fn end(self) -> Outcome {
        self.process.end().map(|_| ())
    }
}

/// A file of settings and a file of routes, the asterisk's too.
fn tollgate_files(dir: &Path, address: SocketAddr, upstream: SocketAddr) -> Outcome<PathBuf> {
    let config = json!({
        "apisix": {"node_listen": [{"ip": address.ip().to_string(), "port": address.port()}], "enable_ipv6": false, "enable_control": false},
        "plugin_attr": {"prometheus": {"enable_export_server": false}},
        "deployment": {"role": "data_plane", "role_data_plane": {"config_provider": "json"}},
        "nginx_config": {"worker_processes": 1},
        "tollgate": {"data_dir": dir.join("data").to_string_lossy(), "ring": {"path": "none"}},
    });
    let nodes = json!({"type": "roundrobin", "nodes": {upstream.to_string(): 1}});
    let routes = json!({"routes": [
        {"id": "all", "uri": "/*", "upstream": nodes}, {"id": "asterisk", "uri": "*", "upstream": nodes},
    ]});
    let path = dir.join("config.yaml");
    for (path, text) in [(&path, config.to_string()), (&dir.join("apisix.json"), routes.to_string())] {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(path)
}

//! The servers that people run behind a gateway, as processes of their own that write down each request they see.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::scratch::Scratch;
use crate::support::wait_for;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx that passes on to another one, so that it reads bodies.
    Nginx,
    /// Node's `http`.
    Node,
    /// Node's `http` as it reads with `--insecure-http-parser`: people who have old clients run it so.
    LenientNode,
    /// gunicorn with threads, which keeps connections.
    Gunicorn,
}

/// A request as a server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The target as it came.
    pub target: String,
    /// The body without its framing, a character for each byte.
    pub body: String,
}

/// A server that runs. Ended, by its pid, when it is dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    seen: PathBuf,
    _scratch: Scratch,
}

impl Server {
    /// Starts it and waits until it takes connections.
    pub fn start(kind: Kind) -> Self {
        let scratch = Scratch::new();
        let place = scratch.path();
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let seen = place.join("seen");
        File::create(&seen).expect("a directory of ours");
        let printed = File::create(place.join("printed")).expect("a directory of ours");
        let child = command(kind, place, address, &seen)
            .stdin(Stdio::null())
            .stdout(printed.try_clone().expect("a file"))
            .stderr(printed)
            .spawn()
            .unwrap_or_else(|error| panic!("{kind:?} does not start: {error}"));
        let server = Self { child, address, seen, _scratch: scratch };
        wait_for("the server listens", || TcpStream::connect(address).ok());
        server
    }

    /// Where it listens.
    pub fn node(&self) -> String {
        self.address.to_string()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests it saw so far, and how many it refused to read.
    pub fn seen(&self) -> (Vec<Seen>, usize) {
        let text = fs::read_to_string(&self.seen).expect("a file of ours");
        let mut refused = 0;
        let mut all = Vec::new();
        for line in text.lines() {
            let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let member = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let is_cut = member("target").ends_with("/cut") && member("status") == "400";
            if entry.get("refused").is_some() || (entry["status"] == "400" && !is_cut) {
                refused += 1;
            } else if is_cut {
                // nginx says 400 to a body that does not come whole, too.
            } else {
                all.push(Seen { method: member("method"), target: member("target"), body: member("body") });
            }
        }
        (all, refused)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first: nginx and gunicorn have children, which they end.
        let _ = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status();
        let _ = self.child.wait();
    }
}

fn command(kind: Kind, place: &Path, address: SocketAddr, seen: &Path) -> Command {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers");
    let mut command;
    match kind {
        Kind::Nginx => {
            let file = place.join("nginx.conf");
            fs::write(&file, nginx_conf(place, address, seen)).expect("a directory of ours");
            command = Command::new(nginx());
            command.arg("-p").arg(place).arg("-c").arg(file);
        }
        Kind::Node | Kind::LenientNode => {
            command = Command::new("node");
            if kind == Kind::LenientNode {
                command.arg("--insecure-http-parser");
            }
            command.arg(sources.join("app.js")).arg(address.port().to_string()).arg(seen);
        }
        Kind::Gunicorn => {
            command = Command::new("gunicorn");
            command.args(["--worker-class", "gthread", "--threads", "4", "--keep-alive", "30", "--bind"]);
            command.arg(address.to_string()).arg("app:application");
            command.current_dir(&sources).env("SEEN", seen).env("PYTHONDONTWRITEBYTECODE", "1");
        }
    }
    command
}

/// Debian's place for it is in root's PATH only.
pub fn nginx() -> &'static str {
    if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" }
}

fn nginx_conf(place: &Path, address: SocketAddr, seen: &Path) -> String {
    let (place, seen) = (place.display(), seen.display());
    format!(
        r#"
daemon off;
pid {place}/pid;
error_log {place}/error.log;
events {{}}
http {{
    log_format seen escape=json '{{"method":"$request_method","target":"$request_uri","body":"$request_body","status":"$status"}}';
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    server {{
        listen {address};
        access_log {seen} seen;
        location / {{ proxy_pass http://unix:{place}/behind:/; }}
    }}
    server {{
        listen unix:{place}/behind;
        access_log off;
        location / {{ return 200 "ok"; }}
    }}
}}
"#
    )
}

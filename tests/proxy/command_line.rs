//! The command line from outside: what is said, how loud, and the exit code.

use std::net::TcpListener;
use std::process::{Command, Output};

use crate::support::scratch::Scratch;

/// A configuration with a key that means nothing, for a port that is taken: a start that warns, then ends.
fn file(scratch: &Scratch, taken: &TcpListener, level: &str) -> String {
    let port = taken.local_addr().expect("bound").port();
    let path = scratch.path().join(format!("{level}.yaml"));
    let text = format!(
        "apisix:\n  node_listen: [{{ip: 127.0.0.1, port: {port}}}]\n  data_encryption: {{}}\nnginx_config:\n  \
         error_log_level: {level}\ntollgate:\n  data_dir: {}\n",
        scratch.path().join("data").display()
    );
    std::fs::write(&path, text).expect("a directory of ours");
    path.to_string_lossy().into_owned()
}

fn tollgate(words: &[&str], level: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(words).env_remove("TOLLGATE_LOG").envs(level.map(|level| ("TOLLGATE_LOG", level)));
    let Output { status, stderr, .. } = command.output().expect("cargo built it");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn the_files_log_level_is_followed_unless_the_environment_says_another() {
    let (scratch, taken) = (Scratch::new(), TcpListener::bind("127.0.0.1:0").expect("a free port"));
    for (file_says, environment, is_warned) in [
        ("warn", None, true),
        ("notice", None, true),
        ("error", None, false),
        ("emerg", None, false),
        ("error", Some("warn"), true),
        ("debug", Some("error"), false),
        ("error", Some(""), false),
    ] {
        let (code, said) = tollgate(&["run", "--config", &file(&scratch, &taken, file_says)], environment);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("cannot listen on 127.0.0.1:"), "{said}");
        assert_eq!(said.contains("apisix.data_encryption: "), is_warned, "{file_says}, {environment:?}:\n{said}");
    }
}

#[test]
fn check_says_warnings_whatever_the_level_and_finds_the_file_good() {
    let (scratch, taken) = (Scratch::new(), TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let (code, said) = tollgate(&["check", "--config", &file(&scratch, &taken, "emerg")], Some("error"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("tollgate: warning: ") && said.contains("apisix.data_encryption: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

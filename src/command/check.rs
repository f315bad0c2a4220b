//! `tollgate check`: says everything that is wrong with a configuration file, and starts nothing.

use std::path::Path;
use std::process::ExitCode;

use super::run::read_file;
use crate::control::trust;

/// 0: the file is good, perhaps with warnings; 2: it is not, and every problem is on a line of its own.
pub fn check(file: &Path) -> ExitCode {
    match read_file(file) {
        Ok((config, warnings)) => {
            warnings.iter().for_each(|line| eprintln!("tollgate: warning: {line}"));
            if let Err(lines) = trust::read(&config) {
                lines.iter().for_each(|line| eprintln!("tollgate: {}: {line}", file.display()));
                return ExitCode::from(2);
            }
            println!("{}: ok", file.display());
            ExitCode::SUCCESS
        }
        Err(lines) => {
            lines.iter().for_each(|line| eprintln!("tollgate: {line}"));
            ExitCode::from(2)
        }
    }
}

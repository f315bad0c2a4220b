//! The committed counts: one line a case, the compiler on the first. Another compiler's counts are shown and not judged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A rise that needs a sentence.
pub const RISE_PERCENT: f64 = 2.0;

/// What was committed.
pub struct Record {
    by: String,
    counts: Vec<(String, u64)>,
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

/// The compiler and the kind of machine, as one line.
pub fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().ok();
    let version =
        output.map_or_else(|| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!("{version}, {}", std::env::consts::ARCH)
}

/// How much `now` is above `before`, in percent of `before`.
pub fn change_percent(before: u64, now: u64) -> f64 {
    (now as f64 - before as f64) * 100.0 / before.max(1) as f64
}

/// Reads the file.
pub fn read() -> Result<Record, String> {
    let text = fs::read_to_string(path()).map_err(|error| format!("{}: {error}", path().display()))?;
    let mut lines = text.lines();
    let by = lines.next().unwrap_or_default().trim_start_matches("# ").to_owned();
    let counts = lines.filter_map(|line| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    });
    Ok(Record { by, counts: counts.collect() })
}

/// Writes the file.
pub fn write(counts: &[(String, u64)]) -> Result<(), String> {
    let lines: String = counts.iter().map(|(name, count)| format!("{name:<26} {count}\n")).collect();
    fs::write(path(), format!("# {}\n{lines}", compiler())).map_err(|error| error.to_string())?;
    print!("{lines}");
    Ok(())
}

impl Record {
    /// Who counted.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// True if the same compiler would have counted the same.
    pub fn is_comparable(&self) -> bool {
        self.by == compiler()
    }

    /// The committed count of a case.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.counts.iter().find(|(found, _)| found == name).map(|(_, count)| *count)
    }
}

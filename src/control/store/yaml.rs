//! The standalone file, `apisix.yaml` or `apisix.json`: looked at once a second, taken whole or not at all (APISIX-COMPAT §8.1).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Loaded;
use crate::config::documents::Documents;
use crate::config::standalone;

/// Time between two looks at the file, in ms.
pub const POLL_MS: u64 = 1_000;
/// Bytes of the largest file that is read; a larger one is refused and the configuration before it stays.
pub const FILE_BYTES: u64 = 256 * 1024 * 1024;

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `apisix.yaml`, ended by `#END`.
    Yaml,
    /// `apisix.json`.
    Json,
}

impl Format {
    /// The file's name, beside the configuration file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Yaml => "apisix.yaml",
            Self::Json => "apisix.json",
        }
    }
}

/// What tells two versions of a file apart: modification time in ns, length, inode.
type Stamp = (i128, u64, u64);

/// What a look at the file found.
#[derive(Debug)]
pub enum Look {
    /// The version that was already seen, good or bad.
    Same,
    /// A new version, with the items that were skipped.
    New(Documents, Vec<String>),
    /// A new version that cannot be used: the configuration before it stays.
    Bad(String),
}

/// The file and the version of it that was looked at last.
#[derive(Debug)]
pub struct YamlFile {
    path: PathBuf,
    format: Format,
    seen: Option<Stamp>,
    revision: u64,
}

impl YamlFile {
    /// The file, read for the first time.
    ///
    /// # Errors
    /// One line why the file cannot be used: at the start there is no configuration that could stay.
    pub fn open(path: PathBuf, format: Format) -> Result<(Self, Loaded), String> {
        let mut file = Self { path, format, seen: None, revision: 0 };
        match file.look() {
            Look::New(documents, problems) => Ok((file, Loaded { documents, problems, ..Loaded::default() })),
            Look::Bad(error) => Err(error),
            Look::Same => Err(format!("{} cannot be read", file.path.display())),
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether there is a new version, and reads it. Every bad version is told once.
    pub fn look(&mut self) -> Look {
        let stamp = fs::metadata(&self.path).map(|found| {
            let ns = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
            (ns, found.len(), found.ino())
        });
        match stamp {
            // A file that is gone has a stamp of its own, so that it is told once.
            Err(error) => {
                if self.seen.replace((-1, 0, 0)) == Some((-1, 0, 0)) {
                    return Look::Same;
                }
                Look::Bad(format!("cannot read {}: {error}", self.path.display()))
            }
            Ok(stamp) if self.seen == Some(stamp) => Look::Same,
            Ok(stamp) => {
                self.seen = Some(stamp);
                self.read(stamp).unwrap_or_else(Look::Bad)
            }
        }
    }

    fn read(&mut self, stamp: Stamp) -> Result<Look, String> {
        let name = self.path.display().to_string();
        if stamp.1 > FILE_BYTES {
            return Err(format!("{name} is larger than {FILE_BYTES} bytes"));
        }
        let text = fs::read_to_string(&self.path).map_err(|error| format!("cannot read {name}: {error}"))?;
        // APISIX takes the modification time as the version; two changes within one ms still get two.
        let modified_ms = u64::try_from(stamp.0 / 1_000_000).unwrap_or(0);
        let revision = modified_ms.max(self.revision + 1);
        let env = |name: &str| std::env::var(name).ok();
        let (documents, problems) = match self.format {
            Format::Yaml => standalone::parse_yaml(&name, &text, revision, &env)?,
            Format::Json => {
                standalone::parse_json(&text, revision, &env).map_err(|error| format!("{name}: {error}"))?
            }
        };
        self.revision = revision;
        Ok(Look::New(documents, problems.iter().map(ToString::to_string).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::scratch;
    use super::*;
    use crate::config::resource::Kind;

    const ONE: &str =
        "routes:\n  - id: a\n    uri: /a\n    upstream: {type: roundrobin, nodes: {\"127.0.0.1:1\": 1}}\n#END\n";

    #[test]
    fn a_new_version_is_seen_once_and_replaces_everything() {
        let dir = scratch::Dir::new("yaml");
        let path = dir.path().join(Format::Yaml.file_name());
        fs::write(&path, ONE).unwrap();
        let (mut file, loaded) = YamlFile::open(path.clone(), Format::Yaml).unwrap();
        assert!(loaded.documents.find(Kind::Route, "a").is_some());
        assert!(matches!(file.look(), Look::Same));
        fs::write(&path, ONE.replace("id: a", "id: bb")).unwrap();
        let Look::New(documents, problems) = file.look() else { panic!("a new version") };
        assert_eq!(documents.all(Kind::Route).map(|(id, _)| id).collect::<Vec<_>>(), ["bb"]);
        assert!(problems.is_empty());
        assert!(documents.revision > loaded.documents.revision);
    }

    #[test]
    fn a_bad_version_is_told_once_and_the_next_good_one_is_taken() {
        let dir = scratch::Dir::new("yaml");
        let path = dir.path().join(Format::Yaml.file_name());
        fs::write(&path, ONE).unwrap();
        let (mut file, _) = YamlFile::open(path.clone(), Format::Yaml).unwrap();
        fs::write(&path, "routes: []\n").unwrap();
        let Look::Bad(text) = file.look() else { panic!("no #END") };
        assert!(text.contains("missing valid end flag"), "{text}");
        assert!(matches!(file.look(), Look::Same));
        fs::remove_file(&path).unwrap();
        assert!(matches!(file.look(), Look::Bad(_)));
        assert!(matches!(file.look(), Look::Same));
        fs::write(&path, ONE).unwrap();
        assert!(matches!(file.look(), Look::New(..)));
    }

    #[test]
    fn a_missing_file_at_the_start_is_an_error_that_names_it() {
        let dir = scratch::Dir::new("yaml");
        let error = YamlFile::open(dir.path().join("apisix.yaml"), Format::Yaml).unwrap_err();
        assert!(error.contains("apisix.yaml"));
    }
}

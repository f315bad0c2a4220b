//! Where the configuration is kept between two runs: the embedded store (this machine's own), the standalone file (read only),
//! and later etcd. A store keeps and gives back; it checks and decides nothing.

pub mod embedded;
pub mod yaml;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::config::documents::{Document, Documents};
use crate::config::resource::Kind;

pub use embedded::Embedded;
pub use yaml::YamlFile;

/// The provider that is configured.
#[derive(Debug)]
pub enum Store {
    /// `config_provider: embedded`: one redb file; the Admin API writes it.
    Embedded(Embedded),
    /// `config_provider: yaml`: a file that its owner writes; the Admin API refuses changes.
    Yaml(YamlFile),
}

/// When objects with a `ttl` go away, in ms since 1970.
pub type Expiries = BTreeMap<(Kind, String), u64>;

/// What a store holds when it is opened.
#[derive(Debug, Default)]
pub struct Loaded {
    /// All objects with their indexes, and the revision.
    pub documents: Documents,
    /// Those of them that expire.
    pub expiries: Expiries,
    /// What could not be read and was left out, in words for the operator.
    pub problems: Vec<String>,
}

/// One change, to be made durable.
#[derive(Debug)]
pub struct Commit<'a> {
    /// Of which kind the object is.
    pub kind: Kind,
    /// Its id.
    pub id: &'a str,
    /// What it is from now on; `None`: it is removed.
    pub document: Option<&'a Document>,
    /// When it expires, in ms since 1970; `None`: it stays.
    pub expires_unix_ms: Option<u64>,
    /// The revision of the whole store after this change.
    pub revision: u64,
}

impl Store {
    /// Makes one change durable before it returns.
    ///
    /// # Errors
    /// What the Admin API answers with 503; then nothing was changed.
    pub fn commit(&mut self, commit: &Commit<'_>) -> Result<(), String> {
        match self {
            Self::Embedded(store) => store.commit(commit),
            Self::Yaml(file) => {
                Err(format!("the configuration is read from {} and changed there", file.path().display()))
            }
        }
    }
}

/// Makes `data_dir`, mode 0700, if it is not there.
///
/// # Errors
/// One line that names the directory and the key that changes it.
pub fn make_data_dir(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| format!("tollgate.data_dir: cannot make {}: {error}", path.display()))
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A directory that a test uses and leaves no trace of.
#[cfg(test)]
pub(crate) mod scratch {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    static COUNT: AtomicU32 = AtomicU32::new(0);

    /// Removed with everything in it when dropped.
    pub struct Dir(PathBuf);

    impl Dir {
        /// A new, empty directory.
        pub fn new(name: &str) -> Self {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("tollgate-{name}-{}-{count}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        /// Where it is.
        pub fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

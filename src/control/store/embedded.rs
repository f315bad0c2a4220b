//! The configuration in one redb file: objects as JSON with their indexes and expiry, and the revision. A commit is on the disk
//! when it returns; after a kill at any moment the file holds every answered change and no half of one.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Commit, Loaded};
use crate::config::documents::Document;
use crate::config::resource::Kind;

/// The store's file inside `data_dir`.
pub const STORE_FILE: &str = "config.redb";
/// The layout below. A file of another layout is not touched.
const LAYOUT: u64 = 1;

/// `routes/r1` → created index, modified index, expiry in ms since 1970 (0: never), JSON.
const OBJECTS: TableDefinition<&str, (u64, u64, u64, &[u8])> = TableDefinition::new("objects");
/// `layout`, `revision`.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// An open store. One process at a time has it open.
#[derive(Debug)]
pub struct Embedded {
    database: Database,
    path: PathBuf,
}

impl Embedded {
    /// Opens the store in `data_dir`, or makes it (mode 0600), and reads all of it.
    ///
    /// # Errors
    /// One line that names the file: in use by another gateway, not ours, of a later layout, unreadable.
    pub fn open(data_dir: &Path) -> Result<(Self, Loaded), String> {
        let path = data_dir.join(STORE_FILE);
        let named = |error: &dyn std::fmt::Display| format!("cannot open the store {}: {error}", path.display());
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| named(&error))?;
        let opened = FileBackend::new(file).and_then(|file| Database::builder().create_with_backend(file));
        let database = match opened {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                return Err(named(&"another gateway has it open (tollgate.data_dir gives this one its own)"));
            }
            Err(error) => return Err(named(&error)),
        };
        prepare(&database).map_err(|error| named(&error))?;
        let loaded = load(&database).map_err(|error| named(&error))?;
        Ok((Self { database, path }, loaded))
    }

    /// The store's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes one change durable.
    ///
    /// # Errors
    /// The database's words; then nothing was changed.
    pub fn commit(&mut self, commit: &Commit<'_>) -> Result<(), String> {
        self.write(commit).map_err(|error| format!("the store {} cannot keep the change: {error}", self.path.display()))
    }

    fn write(&self, commit: &Commit<'_>) -> Result<(), redb::Error> {
        let key = format!("{}/{}", commit.kind.segment(), commit.id);
        let write = self.database.begin_write()?;
        {
            let mut objects = write.open_table(OBJECTS)?;
            match commit.document {
                Some(document) => {
                    let json = document.value.to_string();
                    let expiry = commit.expires_unix_ms.unwrap_or(0);
                    let row = (document.created_index, document.modified_index, expiry, json.as_bytes());
                    objects.insert(key.as_str(), row)?;
                }
                None => {
                    objects.remove(key.as_str())?;
                }
            }
            write.open_table(NUMBERS)?.insert("revision", commit.revision)?;
        }
        write.commit()?;
        Ok(())
    }
}

/// Makes the tables of a new file, and refuses a file of another layout before anything reads it.
fn prepare(database: &Database) -> Result<(), String> {
    let text = |error: redb::Error| error.to_string();
    let write = database.begin_write().map_err(|error| text(error.into()))?;
    {
        let mut numbers = write.open_table(NUMBERS).map_err(|error| text(error.into()))?;
        let layout = numbers.get("layout").map_err(|error| text(error.into()))?.map(|layout| layout.value());
        match layout {
            Some(LAYOUT) => {}
            Some(other) => return Err(format!("its layout is {other}; this version knows {LAYOUT}")),
            None => {
                numbers.insert("layout", LAYOUT).map_err(|error| text(error.into()))?;
            }
        }
        write.open_table(OBJECTS).map_err(|error| text(error.into()))?;
    }
    write.commit().map_err(|error| text(error.into()))
}

fn load(database: &Database) -> Result<Loaded, redb::Error> {
    let read = database.begin_read()?;
    let mut loaded = Loaded::default();
    for row in read.open_table(OBJECTS)?.iter()? {
        let (key, row) = row?;
        let (created_index, modified_index, expiry, json) = row.value();
        let key = key.value();
        let object = key.split_once('/').and_then(|(segment, id)| Some((Kind::from_segment(segment)?, id)));
        let Some((kind, id)) = object else {
            loaded.problems.push(format!("the store's {key} is of a kind that this version does not know: left out"));
            continue;
        };
        match serde_json::from_slice(json) {
            Ok(value) => loaded.documents.restore(kind, id, Document { value, created_index, modified_index }),
            Err(error) => {
                loaded.problems.push(format!("the store's {key} is not JSON ({error}): left out"));
                continue;
            }
        }
        if expiry != 0 {
            loaded.expiries.insert((kind, id.to_owned()), expiry);
        }
    }
    let revision = read.open_table(NUMBERS)?.get("revision")?.map_or(0, |revision| revision.value());
    loaded.documents.revision = loaded.documents.revision.max(revision);
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::super::scratch;
    use super::*;
    use crate::config::documents::Documents;

    fn put(store: &mut Embedded, documents: &mut Documents, kind: Kind, id: &str, expires_unix_ms: Option<u64>) {
        let revision = documents.put(kind, id, json!({"id": id, "uri": "/ä\"\n"}));
        let document = documents.find(kind, id);
        store.commit(&Commit { kind, id, document, expires_unix_ms, revision }).unwrap();
    }

    fn remove(store: &mut Embedded, documents: &mut Documents, kind: Kind, id: &str) {
        documents.remove(kind, id).unwrap();
        let revision = documents.revision;
        store.commit(&Commit { kind, id, document: None, expires_unix_ms: None, revision }).unwrap();
    }

    #[test]
    fn what_was_committed_is_there_after_a_restart_with_indexes_expiry_and_revision() {
        let dir = scratch::Dir::new("store");
        let (mut store, loaded) = Embedded::open(dir.path()).unwrap();
        let mut documents = loaded.documents;
        put(&mut store, &mut documents, Kind::Route, "r1", None);
        put(&mut store, &mut documents, Kind::Service, "r1", Some(7_000));
        put(&mut store, &mut documents, Kind::Route, "r1", None);
        put(&mut store, &mut documents, Kind::Upstream, "u", None);
        remove(&mut store, &mut documents, Kind::Upstream, "u");
        drop(store);
        let (_, again) = Embedded::open(dir.path()).unwrap();
        assert_eq!(again.documents, documents);
        assert_eq!(again.documents.revision, 5);
        assert_eq!(again.expiries.into_iter().collect::<Vec<_>>(), [((Kind::Service, "r1".to_owned()), 7_000)]);
        assert!(again.problems.is_empty());
    }

    #[test]
    fn a_copy_taken_while_the_store_is_open_holds_every_committed_change() {
        let dir = scratch::Dir::new("store");
        let killed = scratch::Dir::new("store");
        let (mut store, loaded) = Embedded::open(dir.path()).unwrap();
        let mut documents = loaded.documents;
        for round in 0..20 {
            put(&mut store, &mut documents, Kind::Route, &format!("r{round}"), None);
            // What the disk holds at this moment is what a process finds that starts after kill -9.
            fs::copy(dir.path().join(STORE_FILE), killed.path().join(STORE_FILE)).unwrap();
            let (_, found) = Embedded::open(killed.path()).unwrap();
            assert_eq!(found.documents, documents, "after change {round}");
        }
    }

    #[test]
    fn the_file_is_the_owners_alone_and_open_once() {
        let dir = scratch::Dir::new("store");
        let data_dir = dir.path().join("data");
        super::super::make_data_dir(&data_dir).unwrap();
        assert_eq!(fs::metadata(&data_dir).unwrap().permissions().mode() & 0o777, 0o700);
        let (store, _) = Embedded::open(&data_dir).unwrap();
        assert_eq!(fs::metadata(store.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Embedded::open(&data_dir).unwrap_err().contains("another gateway has it open"));
    }

    #[test]
    fn a_file_that_is_no_store_is_refused_and_left_alone() {
        let dir = scratch::Dir::new("store");
        let path = dir.path().join(STORE_FILE);
        fs::write(&path, "routes: []\n").unwrap();
        assert!(Embedded::open(dir.path()).unwrap_err().contains("cannot open the store"));
        assert_eq!(fs::read(&path).unwrap(), b"routes: []\n");
    }

    #[test]
    fn an_object_of_an_unknown_kind_is_left_out_and_said() {
        let dir = scratch::Dir::new("store");
        let (store, _) = Embedded::open(dir.path()).unwrap();
        let write = store.database.begin_write().unwrap();
        write.open_table(OBJECTS).unwrap().insert("ssls/1", (1, 1, 0, b"{}".as_slice())).unwrap();
        write.open_table(OBJECTS).unwrap().insert("routes/1", (1, 1, 0, b"{".as_slice())).unwrap();
        write.commit().unwrap();
        drop(store);
        let (_, loaded) = Embedded::open(dir.path()).unwrap();
        assert_eq!(loaded.problems.len(), 2);
        assert_eq!(loaded.documents.count(Kind::Route), 0);
    }
}

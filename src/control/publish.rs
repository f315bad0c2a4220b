//! One change at a time, from a checked object to every core: compile → store durably → put up → wait until taken. Also what
//! changes by itself: names that move, objects that expire, a standalone file that its owner saved.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::health::Checkers;
use super::resolver::Names;
use super::store::yaml::Look;
use super::store::{Commit, Expiries, Loaded, Store};
use crate::config::compile::{CompileOptions, Compiled, compile};
use crate::config::documents::{Document, Documents};
use crate::config::publish::Board;
use crate::config::resource::Kind;
use crate::config::snapshot::Snapshot;

/// Time that a change waits for the addresses of a name that is new, in ms; then it is published without and repaired later.
pub const NAMES_WAIT_MS: u64 = 150;
/// Time that the start waits for the addresses of all names, in ms.
pub const FIRST_NAMES_WAIT_MS: u64 = 3_000;
/// Time that an answer waits for every core to take the change, in ms (issue A: at most 200 ms); then it is given anyway.
pub const TAKEN_WAIT_MS: u64 = 200;
/// Time between two looks whether every core has taken the change, in ms.
const TAKEN_POLL_MS: u64 = 1;

/// Why a change was not made. Nothing is stored or published then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The object cannot be served: 400.
    Invalid(String),
    /// The store cannot keep it: 503.
    Store(String),
}

/// What readers see: the documents of the last finished change, without waiting for one that is under way.
#[derive(Clone, Debug)]
pub struct View(Arc<RwLock<Arc<Documents>>>);

impl View {
    /// The documents now.
    pub fn documents(&self) -> Arc<Documents> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, documents: Arc<Documents>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = documents;
    }
}

/// Documents with everything that turns them into snapshots. Not yet tied to cores.
#[derive(Debug)]
pub struct Source {
    store: Store,
    documents: Arc<Documents>,
    expiries: Expiries,
    options: CompileOptions,
    names: Names,
    told: HashSet<String>,
    /// The names' generation that the last snapshot was compiled with.
    generation: u64,
}

impl Source {
    /// What a store held when it was opened.
    pub fn new(store: Store, loaded: Loaded, options: CompileOptions, names: Names) -> Self {
        let Loaded { documents, expiries, problems: _ } = loaded;
        Self { store, documents: Arc::new(documents), expiries, options, names, told: HashSet::new(), generation: 0 }
    }

    /// The first snapshot, with every name that answers in time, and what the operator should know about it: objects left out,
    /// settings without effect.
    pub async fn first(&mut self) -> (Snapshot, Vec<String>) {
        self.forget_expired();
        let (compiled, generation) = self.compiled(&self.documents, Duration::from_millis(FIRST_NAMES_WAIT_MS)).await;
        self.generation = generation;
        let remarks = remarks(&compiled);
        self.told.clone_from(&remarks);
        let mut remarks: Vec<String> = remarks.into_iter().collect();
        remarks.sort_unstable();
        (compiled.snapshot, remarks)
    }

    fn forget_expired(&mut self) {
        let now = super::store::unix_ms();
        let gone: Vec<_> = self.expiries.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for (kind, id) in gone {
            self.expiries.remove(&(kind, id.clone()));
            Arc::make_mut(&mut self.documents).remove(kind, &id);
            let revision = self.documents.revision;
            let commit = Commit { kind, id: &id, document: None, expires_unix_ms: None, revision };
            if let Err(error) = self.store.commit(&commit) {
                log::error!("{}/{id} has expired but stays in the store: {error}", kind.segment());
            }
        }
    }

    /// Compiles, once more after new names were looked up. Gives the names' generation that it was compiled with.
    async fn compiled(&self, documents: &Documents, wait: Duration) -> (Compiled, u64) {
        let (compiled, generation) = self.compile_now(documents);
        let untried = self.names.untried(&compiled.unresolved);
        if untried.is_empty() {
            return (compiled, generation);
        }
        self.names.look_up_all(untried, wait).await;
        if self.names.generation() == generation {
            return (compiled, generation);
        }
        self.compile_now(documents)
    }

    fn compile_now(&self, documents: &Documents) -> (Compiled, u64) {
        let generation = self.names.generation();
        let used = RefCell::new(HashSet::new());
        let compiled = compile(documents, &self.options, &|host| {
            used.borrow_mut().insert(host.to_owned());
            self.names.known(host)
        });
        self.names.configure(&used.into_inner());
        (compiled, generation)
    }
}

/// The one that changes the configuration.
pub struct Publisher {
    source: Source,
    view: View,
    board: Arc<Board>,
    checkers: Checkers,
}

impl Publisher {
    /// Ties a source to the board that holds its first snapshot, and to the checks that are attached to it.
    pub fn new(source: Source, board: Arc<Board>, checkers: Checkers) -> Self {
        let view = View(Arc::new(RwLock::new(Arc::clone(&source.documents))));
        Self { source, view, board, checkers }
    }

    /// For readers.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// The documents that the next change starts from.
    pub fn documents(&self) -> &Arc<Documents> {
        &self.source.documents
    }

    /// The file that must be edited instead, if this configuration cannot be changed here.
    pub fn read_only(&self) -> Option<String> {
        match &self.source.store {
            Store::Yaml(file) => Some(file.path().display().to_string()),
            Store::Embedded(_) => None,
        }
    }

    /// Puts a checked object in. When this returns it is durable and every core serves it, or 200 ms have passed.
    ///
    /// # Errors
    /// [`Refused`]; then nothing has changed.
    pub async fn put(&mut self, kind: Kind, id: &str, value: Value, expires: Option<u64>) -> Result<(), Refused> {
        let mut candidate = Documents::clone(&self.source.documents);
        candidate.put(kind, id, value);
        let wait = Duration::from_millis(NAMES_WAIT_MS);
        let (compiled, generation) = self.source.compiled(&candidate, wait).await;
        let own = format!("{}/{id}", kind.segment());
        if let Some(problem) = compiled.problems.iter().find(|problem| concerns(&problem.path, &own)) {
            // The names of the refused object must not be looked up for ever.
            self.source.compile_now(&self.source.documents);
            return Err(Refused::Invalid(format!("invalid configuration: {}", problem.text)));
        }
        self.commit(kind, id, &candidate, expires)?;
        self.publish(candidate, compiled, generation).await;
        Ok(())
    }

    /// Takes an object out; false if there is none. Otherwise as [`Publisher::put`].
    ///
    /// # Errors
    /// [`Refused::Store`]; then nothing has changed.
    pub async fn remove(&mut self, kind: Kind, id: &str) -> Result<bool, Refused> {
        let mut candidate = Documents::clone(&self.source.documents);
        if candidate.remove(kind, id).is_none() {
            return Ok(false);
        }
        let (compiled, generation) = self.source.compile_now(&candidate);
        self.commit(kind, id, &candidate, None)?;
        self.publish(candidate, compiled, generation).await;
        Ok(true)
    }

    fn commit(&mut self, kind: Kind, id: &str, candidate: &Documents, expires: Option<u64>) -> Result<(), Refused> {
        let document: Option<&Document> = candidate.find(kind, id);
        let revision = candidate.revision;
        let commit = Commit { kind, id, document, expires_unix_ms: expires, revision };
        self.source.store.commit(&commit).map_err(Refused::Store)?;
        match expires {
            Some(at) => self.source.expiries.insert((kind, id.to_owned()), at),
            None => self.source.expiries.remove(&(kind, id.to_owned())),
        };
        Ok(())
    }

    /// From here to the board nothing waits: a client that goes away cannot leave the store and the cores apart.
    async fn publish(&mut self, documents: Documents, mut compiled: Compiled, generation: u64) {
        self.source.documents = Arc::new(documents);
        self.view.set(Arc::clone(&self.source.documents));
        self.source.generation = generation;
        self.tell(&compiled);
        self.checkers.attach(&mut compiled.snapshot);
        let version = self.board.publish(Arc::new(compiled.snapshot));
        let started = Instant::now();
        while !self.board.taken_by_all(version) {
            if started.elapsed() >= Duration::from_millis(TAKEN_WAIT_MS) {
                log::warn!("not every core has taken configuration {version} after {TAKEN_WAIT_MS} ms");
                return;
            }
            tokio::time::sleep(Duration::from_millis(TAKEN_POLL_MS)).await;
        }
    }

    /// Each remark is told when it appears, not with every later change.
    fn tell(&mut self, compiled: &Compiled) {
        let now = remarks(compiled);
        for remark in now.difference(&self.source.told) {
            log::warn!("{remark}");
        }
        self.source.told = now;
    }

    /// Publishes again if names have moved since the last time.
    pub async fn follow_names(&mut self) {
        if self.source.names.generation() != self.source.generation {
            let (compiled, generation) = self.source.compile_now(&self.source.documents);
            let documents = Documents::clone(&self.source.documents);
            self.publish(documents, compiled, generation).await;
        }
    }

    /// Removes objects whose time has passed.
    pub async fn expire(&mut self, now_unix_ms: u64) {
        let due = |(key, at): (&(Kind, String), &u64)| (*at <= now_unix_ms).then(|| key.clone());
        let gone: Vec<(Kind, String)> = self.source.expiries.iter().filter_map(due).collect();
        for (kind, id) in gone {
            match self.remove(kind, &id).await {
                Ok(true) => {}
                Ok(false) => {
                    self.source.expiries.remove(&(kind, id));
                }
                Err(refused) => log::error!("{}/{id} has expired and cannot be removed: {refused:?}", kind.segment()),
            }
        }
    }

    /// Looks at the standalone file, if that is the store, and takes a new version.
    pub async fn look_at_file(&mut self) {
        let Store::Yaml(file) = &mut self.source.store else { return };
        let name = file.path().display().to_string();
        match file.look() {
            Look::Same => {}
            Look::Bad(error) => log::error!("{error}; the configuration before it stays"),
            Look::New(documents, skipped) => {
                for item in skipped {
                    log::error!("{name}: {item}");
                }
                let wait = Duration::from_millis(NAMES_WAIT_MS);
                let (compiled, generation) = self.source.compiled(&documents, wait).await;
                self.publish(documents, compiled, generation).await;
                log::info!("{name} has been taken");
            }
        }
    }
}

/// What was left out and what does less than its owner may think, in one line each.
fn remarks(compiled: &Compiled) -> HashSet<String> {
    let left_out = compiled.problems.iter().map(|problem| format!("left out of the configuration: {problem}"));
    left_out.chain(compiled.warnings.iter().map(ToString::to_string)).collect()
}

/// True if a problem's path is the object's or one inside it.
fn concerns(path: &str, object: &str) -> bool {
    path.strip_prefix(object).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/', ':', ' ', '[']))
}

#[cfg(test)]
mod tests {
    use super::super::dns::{Dns, Found};
    use serde_json::json;

    use super::super::store::{Embedded, scratch};
    use super::*;
    use crate::config::file::FileConfig;

    async fn publisher(dir: &scratch::Dir, names: &Names) -> (Publisher, Arc<Board>) {
        let (file, _) = FileConfig::parse("", &|_| None).unwrap();
        let (store, loaded) = Embedded::open(dir.path()).unwrap();
        let mut source = Source::new(Store::Embedded(store), loaded, CompileOptions::from(&file), names.clone());
        let (first, _) = source.first().await;
        let (board, _, _) = Board::new(Arc::new(first), Vec::new(), 1);
        let board = Arc::new(board);
        (Publisher::new(source, Arc::clone(&board), Checkers::new(crate::config::compile::Trust::default())), board)
    }

    fn route(node: &str) -> Value {
        json!({ "id": "1", "uri": "/a", "upstream": { "type": "roundrobin", "nodes": { node: 1 } } })
    }

    #[tokio::test]
    async fn a_name_that_moves_is_published_again_and_one_that_does_not_is_not() {
        let dir = scratch::Dir::new("publish");
        let names = Names::new(std::collections::BTreeMap::new(), 20, Dns::default());
        let (mut publisher, board) = publisher(&dir, &names).await;
        publisher.put(Kind::Route, "1", route("no-such-name.invalid:80"), None).await.unwrap();
        assert_eq!(board.version(), 2);
        publisher.follow_names().await;
        assert_eq!(board.version(), 2, "nothing moved");
        let found = |address: &str| {
            let addresses = vec![address.parse().unwrap()];
            Ok(Found { addresses, valid: Duration::from_secs(600) })
        };
        names.write_down("no-such-name.invalid", found("127.0.0.7")).unwrap();
        publisher.follow_names().await;
        assert_eq!(board.version(), 3, "repaired");
        names.write_down("no-such-name.invalid", found("127.0.0.7")).unwrap();
        publisher.follow_names().await;
        assert_eq!(board.version(), 3, "the same addresses");
        publisher.remove(Kind::Route, "1").await.unwrap();
        names.write_down("no-such-name.invalid", found("127.0.0.8")).unwrap();
        publisher.follow_names().await;
        assert_eq!(board.version(), 4, "nobody uses the name any more");
    }

    #[tokio::test]
    async fn a_store_that_fails_changes_nothing() {
        let dir = scratch::Dir::new("publish");
        let path = dir.path().join("apisix.json");
        std::fs::write(&path, "{}").unwrap();
        let names = Names::new(std::collections::BTreeMap::new(), 20, Dns::default());
        let (mut publisher, board) = publisher(&dir, &names).await;
        // A standalone file cannot keep a change: the one store at hand that always refuses.
        let (file, _) = super::super::store::YamlFile::open(path, super::super::store::yaml::Format::Json).unwrap();
        publisher.source.store = Store::Yaml(file);
        let refused = publisher.put(Kind::Route, "1", route("127.0.0.1:80"), None).await;
        assert!(matches!(refused, Err(Refused::Store(_))), "{refused:?}");
        assert_eq!((publisher.documents().count(Kind::Route), board.version()), (0, 1));
    }

    #[test]
    fn a_problem_concerns_its_object_and_none_that_begins_alike() {
        assert!(concerns("routes/r1", "routes/r1"));
        assert!(concerns("routes/r1/plugins", "routes/r1"));
        assert!(!concerns("routes/r10", "routes/r1"));
        assert!(!concerns("services/r1", "routes/r1"));
    }
}

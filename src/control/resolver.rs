//! Names → addresses for the whole process: nodes of upstreams and brokers. Every name is looked up once, kept, and looked up again when
//! its time is over (`dns`); a lookup that fails leaves the addresses that are known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};

use super::dns::{Dns, Found};
use crate::config::publish::{Answer, Board, Question};

/// Seconds until a name is looked up again that could not be.
pub const FAILED_S: u64 = 5;
/// Between two looks which names are due.
const LOOK: Duration = Duration::from_millis(250);
/// Seconds that a broker's name is looked up again after a core asked for it last.
pub const ASKED_KEPT_S: u64 = 600;
/// Lookups at once; further ones wait.
const LOOKUPS_AT_ONCE: usize = 8;

/// One name.
#[derive(Debug, Default)]
struct Entry {
    addresses: Vec<IpAddr>,
    /// Why the last lookup gave nothing.
    error: Option<String>,
    /// Until when the last lookup's result holds, or the running lookup may take; `None`: no lookup has ended.
    due: Option<Instant>,
    /// When a core asked for it last.
    asked: Option<Instant>,
    /// The configuration names it.
    configured: bool,
}

#[derive(Debug, Default)]
struct Book {
    entries: HashMap<String, Entry>,
    /// Counts up whenever the addresses of a configured name change.
    generation: u64,
}

#[derive(Debug)]
struct Inner {
    book: Mutex<Book>,
    changed: Notify,
    lookups: Semaphore,
    timeout: Duration,
    hosts: BTreeMap<String, String>,
    dns: Dns,
}

/// All names that the process knows. Clones share one book.
#[derive(Clone, Debug)]
pub struct Names(Arc<Inner>);

impl Names {
    /// An empty book. `hosts` is `tollgate.hosts`; a lookup that takes longer than `timeout_ms` has failed.
    pub fn new(hosts: BTreeMap<String, String>, timeout_ms: u64, dns: Dns) -> Self {
        Self(Arc::new(Inner {
            book: Mutex::default(),
            changed: Notify::new(),
            lookups: Semaphore::new(LOOKUPS_AT_ONCE),
            timeout: Duration::from_millis(timeout_ms),
            hosts,
            dns,
        }))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses of a node's name as far as they are known: IPv4 if the name has any, otherwise IPv6, as APISIX takes them.
    pub fn known(&self, host: &str) -> Vec<IpAddr> {
        let book = self.book();
        let Some(entry) = book.entries.get(&host.to_ascii_lowercase()) else { return Vec::new() };
        let v4: Vec<IpAddr> = entry.addresses.iter().copied().filter(IpAddr::is_ipv4).collect();
        if v4.is_empty() { entry.addresses.clone() } else { v4 }
    }

    /// Counts up whenever [`Names::known`] has a new answer for a configured name.
    pub fn generation(&self) -> u64 {
        self.book().generation
    }

    /// Waits until the generation may have moved.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Says which names the configuration uses from now on. Others are forgotten, unless cores ask for them.
    pub fn configure(&self, names: &HashSet<String>) {
        let mut book = self.book();
        for entry in book.entries.values_mut() {
            entry.configured = false;
        }
        for name in names {
            book.entries.entry(name.to_ascii_lowercase()).or_default().configured = true;
        }
        let kept = Duration::from_secs(ASKED_KEPT_S);
        book.entries.retain(|_, entry| entry.configured || entry.asked.is_some_and(|asked| asked.elapsed() < kept));
    }

    /// Those of the names that no lookup has been tried for yet.
    pub fn untried(&self, names: &[String]) -> Vec<String> {
        let book = self.book();
        let untried = |name: &&String| book.entries.get(&name.to_ascii_lowercase()).is_none_or(|e| e.due.is_none());
        names.iter().filter(untried).cloned().collect()
    }

    /// Looks all the names up and waits at most `wait`; lookups that are slower go on and tell by [`Names::changed`].
    pub async fn look_up_all(&self, names: Vec<String>, wait: Duration) {
        let lookups: Vec<_> = names
            .into_iter()
            .map(|name| {
                let names = self.clone();
                tokio::spawn(async move { names.look_up(&name).await })
            })
            .collect();
        let all = async {
            for lookup in lookups {
                let _ = lookup.await;
            }
        };
        let _ = tokio::time::timeout(wait, all).await;
    }

    /// Looks a name up now and writes the result into the book.
    ///
    /// # Errors
    /// Why the name has no addresses, in the system's words.
    pub async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let found = {
            let _permit = self.0.lookups.acquire().await;
            self.0.dns.look_up(host, self.0.timeout).await
        };
        self.write_down(host, found)
    }

    /// Writes what a lookup found into the book.
    pub(super) fn write_down(&self, host: &str, found: Result<Found, String>) -> Result<Vec<IpAddr>, String> {
        let mut book = self.book();
        let entry = book.entries.entry(host.to_ascii_lowercase()).or_default();
        let valid = found.as_ref().map_or(Duration::from_secs(FAILED_S), |found| found.valid);
        entry.due = Some(Instant::now() + valid);
        let error = match found.map(|found| in_order(found.addresses.into_iter())) {
            Ok(addresses) if !addresses.is_empty() => {
                entry.error = None;
                let moved = entry.addresses.is_empty() || in_order(entry.addresses.iter().copied()) != addresses;
                if moved {
                    entry.addresses.clone_from(&addresses);
                }
                if moved && entry.configured {
                    book.generation += 1;
                    self.0.changed.notify_one();
                }
                return Ok(addresses);
            }
            Ok(_) => "the name has no address".to_owned(),
            Err(error) => error,
        };
        // A core that asked for a name without any address says so itself, with what it wanted it for.
        let is_ours = entry.configured || !entry.addresses.is_empty();
        if entry.error.replace(error.clone()).is_none() && is_ours {
            let kept = if entry.addresses.is_empty() { "no address is known" } else { "its last addresses stay" };
            log::warn!("cannot resolve {host}: {error}; {kept}");
        }
        if entry.addresses.is_empty() { Err(error) } else { Ok(entry.addresses.clone()) }
    }

    /// Looks every name that is in use up again when it is due, for ever.
    pub async fn refresh_forever(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            for name in self.due() {
                let names = self.clone();
                tokio::spawn(async move { names.look_up(&name).await });
            }
        }
    }

    /// The names that are due, which are not again before their lookup has had its time.
    fn due(&self) -> Vec<String> {
        let (now, kept) = (Instant::now(), Duration::from_secs(ASKED_KEPT_S));
        let mut book = self.book();
        book.entries.retain(|_, e| e.configured || e.asked.is_some_and(|asked| asked.elapsed() < kept));
        let due = book.entries.iter_mut().filter(|(_, entry)| entry.due.is_some_and(|due| due <= now));
        due.map(|(name, entry)| {
            entry.due = Some(now + self.0.timeout + LOOK);
            name.clone()
        })
        .collect()
    }

    /// Answers a core: the static table first, then digits, then the book if it is fresh, then a lookup.
    pub async fn answer(&self, question: &Question) -> Result<Vec<SocketAddr>, String> {
        let (host, port) = mapped(&self.0.hosts, &question.host, question.port);
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let fresh = {
            let mut book = self.book();
            let entry = book.entries.entry(host.to_ascii_lowercase()).or_default();
            entry.asked = Some(Instant::now());
            let fresh = entry.due.is_some_and(|due| Instant::now() < due);
            (fresh && entry.error.is_none()).then(|| entry.addresses.clone())
        };
        let addresses = match fresh {
            Some(addresses) => addresses,
            None => self.look_up(&host).await.map_err(|error| format!("cannot resolve {host}: {error}"))?,
        };
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

/// The entry of `tollgate.hosts` for `name:port`, else for `name`, else what was asked for.
pub fn mapped(hosts: &BTreeMap<String, String>, host: &str, port: u16) -> (String, u16) {
    let host = host.to_ascii_lowercase();
    let entry = hosts.get(&format!("{host}:{port}")).or_else(|| hosts.get(&host));
    match entry.and_then(|entry| entry.rsplit_once(':')) {
        Some((to, to_port)) => (to.to_owned(), to_port.parse().unwrap_or(port)),
        None => (host, port),
    }
}

/// Each address once, IPv4 first: two lookups of the same set give the same list.
fn in_order(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Answers the cores' questions as they come, each in a task of its own. `asked` blocks, so a small thread hands them over; it
/// ends when the board is gone.
pub fn answer_cores(names: Names, board: Arc<Board>, asked: Receiver<Question>) {
    let handle = tokio::runtime::Handle::current();
    // The thread must not keep the board alive: its own receiver would then never end.
    let board = Arc::downgrade(&board);
    let bridge = std::thread::Builder::new().name("names".into()).stack_size(128 * 1024);
    let spawned = bridge.spawn(move || {
        while let Ok(question) = asked.recv() {
            let (names, board) = (names.clone(), board.clone());
            handle.spawn(async move {
                let addresses = names.answer(&question).await;
                if let Some(board) = board.upgrade() {
                    board.answer(question.core, Answer { token: question.token, addresses });
                }
            });
        }
    });
    if let Err(error) = spawned {
        log::error!("no thread for the cores' questions, brokers' names stay unresolved: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let hosts = [("kafka:9092", "127.0.0.1:19092"), ("kafka", "10.0.0.1:9")];
        Names::new(hosts.map(|(from, to)| (from.to_owned(), to.to_owned())).into(), 5_000, Dns::default())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Good for ever, as far as a test goes.
    fn found<const N: usize>(addresses: [&str; N]) -> Result<Found, String> {
        Ok(Found { addresses: addresses.map(ip).to_vec(), valid: Duration::from_secs(600) })
    }

    #[test]
    fn the_static_table_prefers_name_and_port() {
        let names = names();
        assert_eq!(mapped(&names.0.hosts, "Kafka", 9092), ("127.0.0.1".into(), 19092));
        assert_eq!(mapped(&names.0.hosts, "kafka", 1), ("10.0.0.1".into(), 9));
        assert_eq!(mapped(&names.0.hosts, "other", 1), ("other".into(), 1));
    }

    #[test]
    fn only_a_changed_set_of_a_configured_name_counts_as_a_change() {
        let names = names();
        let both = || found(["10.0.0.2", "10.0.0.1"]);
        names.write_down("a.test", both()).unwrap();
        assert_eq!(names.generation(), 0, "not configured");
        names.configure(&HashSet::from(["A.test".to_owned()]));
        names.write_down("a.test", both()).unwrap();
        assert_eq!(names.generation(), 0, "the same set");
        names.write_down("a.test", found(["10.0.0.2"])).unwrap();
        assert_eq!(names.generation(), 1);
        assert_eq!(names.write_down("a.test", Err("gone".into())), Ok(vec![ip("10.0.0.2")]), "old addresses stay");
        assert_eq!((names.generation(), names.known("a.test")), (1, vec![ip("10.0.0.2")]));
    }

    #[test]
    fn nodes_get_ipv4_where_a_name_has_both() {
        let names = names();
        names.write_down("a.test", found(["::1", "127.0.0.1"])).unwrap();
        assert_eq!(names.known("A.TEST"), [ip("127.0.0.1")]);
        names.write_down("b.test", found(["::1"])).unwrap();
        assert_eq!(names.known("b.test"), [ip("::1")]);
    }

    #[test]
    fn a_name_that_is_no_longer_configured_is_forgotten() {
        let names = names();
        names.configure(&HashSet::from(["a.test".to_owned()]));
        assert_eq!(names.untried(&["a.test".into(), "b.test".into()]), ["a.test", "b.test"]);
        let _ = names.write_down("a.test", Err("no".into()));
        assert_eq!(names.untried(&["a.test".into()]), Vec::<String>::new(), "a failed try is a try");
        names.configure(&HashSet::new());
        assert_eq!(names.untried(&["a.test".into()]), ["a.test"]);
    }

    #[test]
    fn a_name_is_due_when_its_time_is_over_and_then_not_twice() {
        let names = names();
        names.configure(&HashSet::from(["a.test".to_owned(), "b.test".to_owned(), "c.test".to_owned()]));
        let past = |addresses| Ok(Found { addresses, valid: Duration::ZERO });
        names.write_down("a.test", past(vec![ip("10.0.0.1")])).unwrap();
        names.write_down("b.test", found(["10.0.0.2"])).unwrap();
        assert_eq!(names.due(), ["a.test"], "c.test is looked up for the first time by whoever configured it");
        assert!(names.due().is_empty());
        names.configure(&HashSet::new());
        names.write_down("a.test", past(vec![ip("10.0.0.1")])).unwrap();
        assert!(names.due().is_empty(), "nobody uses it any more");
    }

    #[tokio::test]
    async fn a_core_gets_mapped_digits_and_looked_up_names() {
        let names = names();
        let ask = |host: &str, port| Question { core: 0, token: 1, host: host.into(), port };
        assert_eq!(names.answer(&ask("KAFKA", 9092)).await.unwrap(), ["127.0.0.1:19092".parse().unwrap()]);
        assert_eq!(names.answer(&ask("[::1]", 5)).await.unwrap(), ["[::1]:5".parse().unwrap()]);
        let local = names.answer(&ask("localhost", 7)).await.unwrap();
        assert!(local.contains(&"127.0.0.1:7".parse().unwrap()), "{local:?}");
        let error = names.answer(&ask("no-such-name.invalid", 7)).await.unwrap_err();
        assert!(error.starts_with("cannot resolve no-such-name.invalid: "), "{error}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn questions_reach_the_asking_cores_box() {
        let bells: Vec<crate::config::publish::Bell> = vec![Box::new(|| {}), Box::new(|| {})];
        let (board, asked, _put_down) = Board::new(Arc::default(), bells, 4);
        let board = Arc::new(board);
        answer_cores(names(), Arc::clone(&board), asked);
        assert!(board.ask(Question { core: 1, token: 9, host: "kafka".into(), port: 9092 }));
        let deadline = Instant::now() + Duration::from_secs(5);
        let answers = loop {
            let answers = board.take_answers(1);
            if !answers.is_empty() || Instant::now() > deadline {
                break answers;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert_eq!(answers, [Answer { token: 9, addresses: Ok(vec!["127.0.0.1:19092".parse().unwrap()]) }]);
        assert!(board.take_answers(0).is_empty());
    }
}

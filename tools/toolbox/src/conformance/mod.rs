//! `tools/conformance`: the conformance table against Tollgate and its peers, and the page that shows it.

mod page;
mod proxies;

use std::fs;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use conformance_cases::{Case, Outcome as Found, Upstream, cases, run_all};

use self::proxies::Proxy;
use crate::Outcome;
use crate::started::fresh;

/// What to run.
#[derive(Parser)]
pub struct Args {
    /// Whose columns.
    #[arg(long, value_delimiter = ',', default_value = "tollgate,nginx,haproxy,card")]
    proxies: Vec<Kind>,
    /// Tollgate's binary.
    #[arg(long, default_value = "target/release/tollgate")]
    tollgate: PathBuf,
    /// The literal card's binary (tools/card).
    #[arg(long, default_value = "target/release/card")]
    card: PathBuf,
    /// Writes the page here.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Ports of 127.0.0.1 from here on.
    #[arg(long, default_value_t = 21_800)]
    port_base: u16,
    /// Where the proxies' files go.
    #[arg(long, default_value = "target/conformance")]
    dir: PathBuf,
}

/// A proxy under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Ours.
    Tollgate,
    /// Debian's nginx.
    Nginx,
    /// Debian's HAProxy.
    Haproxy,
    /// `tools/card`: the design card taken literally.
    Card,
}

/// One column of the page.
pub struct Column {
    /// Name and version.
    pub name: String,
    /// In the order of the cases.
    pub found: Vec<Found>,
}

impl Column {
    /// Cases that held.
    pub fn passed(&self) -> usize {
        self.found.iter().filter(|found| found.verdict.is_ok()).count()
    }
}

/// Runs the table.
///
/// # Errors
/// What stands in the way; and when a case fails in Tollgate's column.
pub fn run(args: Args) -> Outcome {
    let all = cases::all();
    let mut columns = Vec::new();
    for (place, kind) in args.proxies.iter().enumerate() {
        let column = column(*kind, &args, args.port_base + place as u16, &all)?;
        println!("{}: {} of {} cases hold", column.name, column.passed(), all.len());
        for found in &column.found {
            if let Err(text) = &found.verdict {
                println!("  {}: {text}", found.id);
            }
        }
        columns.push(column);
    }
    if let Some(path) = &args.write {
        let introduction = proxies::read("introduction.md")?;
        let text = page::page(&introduction, &all, &columns, &page::circumstances());
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let ours = args.proxies.iter().position(|kind| *kind == Kind::Tollgate);
    match ours.map(|place| all.len() - columns[place].passed()) {
        Some(failed) if failed > 0 => Err(format!("{failed} cases fail in Tollgate's column")),
        _ => Ok(()),
    }
}

/// One proxy's column. A case that ends its process has failed; the next one meets a new process.
fn column(kind: Kind, args: &Args, port: u16, all: &[Case]) -> Outcome<Column> {
    let dir = fresh(&args.dir.join(format!("{kind:?}").to_lowercase()))?;
    let upstream = Upstream::start().map_err(|error| format!("no upstream: {error}"))?;
    let start = || Proxy::start(kind, (&args.tollgate, &args.card), &dir, port, upstream.address());
    let mut proxy = start()?;
    let name = proxy.version()?;
    let mut found = Vec::with_capacity(all.len());
    for case in all {
        let mut of = run_all(std::slice::from_ref(case), proxy.address(), &upstream);
        if proxy.has_ended() {
            of.iter_mut().for_each(|one| one.verdict = Err("the process ended".to_owned()));
            proxy = start()?;
        }
        found.append(&mut of);
    }
    proxy.end()?;
    Ok(Column { name, found })
}

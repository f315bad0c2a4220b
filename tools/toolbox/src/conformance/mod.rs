//! `tools/conformance`: the conformance table against Tollgate and its peers, and the page that shows it.

mod page;
mod proxies;

use std::fs;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use conformance_cases::{Outcome as Found, Upstream, cases, run_all};

use self::proxies::Proxy;
use crate::Outcome;
use crate::started::fresh;

/// What to run.
#[derive(Parser)]
pub struct Args {
    /// Whose columns.
    #[arg(long, value_delimiter = ',', default_value = "tollgate,nginx,haproxy")]
    proxies: Vec<Kind>,
    /// Tollgate's binary.
    #[arg(long, default_value = "target/release/tollgate")]
    tollgate: PathBuf,
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
        let dir = fresh(&args.dir.join(format!("{kind:?}").to_lowercase()))?;
        let upstream = Upstream::start().map_err(|error| format!("no upstream: {error}"))?;
        let port = args.port_base + place as u16;
        let proxy = Proxy::start(*kind, &args.tollgate, &dir, port, upstream.address())?;
        let column = Column { name: proxy.version()?, found: run_all(&all, proxy.address(), &upstream) };
        println!("{}: {} of {} cases hold", column.name, column.passed(), all.len());
        for found in &column.found {
            if let Err(text) = &found.verdict {
                println!("  {}: {text}", found.id);
            }
        }
        proxy.end()?;
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

//! How much `tollgate` says of itself: `TOLLGATE_LOG`, else `nginx_config.error_log_level`, else [`UNSAID`]. The file is read after the
//! first lines may have been written, so its word comes later.

use log::LevelFilter;

/// The environment's word, which beats the file's: `error`, `warn`, `info`, `debug`, `trace`, or `env_logger`'s longer form.
const VARIABLE: &str = "TOLLGATE_LOG";
/// Where nobody says anything. APISIX says `warn`; here a start and a stop are worth their line.
const UNSAID: LevelFilter = LevelFilter::Info;

/// Makes standard error the log.
pub fn init() {
    let mut builder = env_logger::Builder::new();
    if let Some(filters) = environment() {
        builder.parse_filters(&filters).init();
        return;
    }
    // Everything of our own passes the logger; the level in front of it is what changes. Other crates never say more than usual.
    builder.filter_level(UNSAID).filter_module(env!("CARGO_CRATE_NAME"), LevelFilter::Trace).init();
    log::set_max_level(UNSAID);
}

/// Takes what the file says, if it says something and the environment does not.
pub fn follow_file(level: Option<LevelFilter>) {
    if let Some(level) = level.filter(|_| environment().is_none()) {
        log::set_max_level(level);
    }
}

fn environment() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|filters| !filters.trim().is_empty())
}

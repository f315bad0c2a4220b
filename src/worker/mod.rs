//! One core: owns everything it uses, serves, ships records, swaps snapshots, drains.

mod addresses;
mod admin;
mod alone;
mod balance;
mod connection;
mod core;
mod exchange;
mod figures;
mod hold;
mod inbox;
mod live;
mod planted;
mod pool;
mod proxy;
mod record;
mod relay;
mod replay;
mod scratch;
mod settings;
mod ship;
pub mod spool;
mod spread;
mod transfer;
mod tunnel;
mod upload;
mod waiters;

pub use self::alone::Alone;
pub use self::core::{Left, Start, run};
pub use settings::Settings;
pub use ship::Ship;
pub use spool::{RecoveredLane, Spool, SpoolError, SpoolGauges, SpoolOptions};
pub use spread::Spread;

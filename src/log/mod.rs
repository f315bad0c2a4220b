//! Pure: what a record says. Variables, a log format compiled once into a plan, plan × exchange → JSON bytes, body capture.
//! Not here: when an exchange is recorded and where its bytes go (`worker`, `kafka`).

pub mod body;
mod builder;
mod entry;
pub mod exchange;
mod form;
pub mod json;
pub mod plan;
mod time;
pub mod value;
pub mod variable;

pub use body::{BodyCapture, CaptureBudget};
pub use exchange::{Exchange, GatewayNames, RouteNames, ServiceNames};
pub use plan::{EntryPlace, FormatChoice, Include, Plan, PlanSpec, RenderState, choose_format};
pub use value::{Flat, Value};
pub use variable::Variable;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

//! Pure: what a record says. Variables, a log format compiled once into a plan, plan × exchange → JSON bytes, body capture.
//! Not here: when an exchange is recorded and where its bytes go (`worker`, `kafka`).

pub mod body;
pub mod exchange;
pub mod json;
pub mod plan;
mod time;
pub mod variable;

pub use body::{BodyCapture, CaptureBudget};
pub use exchange::{Exchange, GatewayNames, RouteNames};
pub use plan::{FormatChoice, Include, Plan, PlanSpec, RenderState, choose_format};
pub use variable::{Value, Variable};

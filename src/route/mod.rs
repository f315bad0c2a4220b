//! Pure: which route answers a request. Host, path, method, address and expressions against a table compiled once.
//! Not here: what a route does (`config`), where `$uri` and `$host` come from (`http`).

pub mod cidr;
pub mod expr;
mod pattern;
mod prefix;
pub mod table;

pub use cidr::Cidr;
pub use expr::{Expr, Operand};
pub use table::{MethodSet, RouteEntry, RouteIndex, RouteQuery, RouteTable, RouterMode, UriParams};

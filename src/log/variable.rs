//! Variables of log formats and expressions, compiled from their names once (APISIX-COMPAT §4).

use std::borrow::Cow;

use super::exchange::Exchange;
use crate::base::time::Wall;

/// A variable, compiled from its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable(());

/// A variable's value: a view that is written, or turned into text, when it is needed.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// No such variable, or it has no value now.
    Absent,
    /// Text.
    Bytes(&'a [u8]),
    /// A number without fraction.
    Number(u64),
    /// A number with three digits after the point, in thousandths.
    Thousandths(u64),
    /// An argument without value.
    True,
    /// A time.
    Iso8601(Wall),
}

/// A value as expressions compare it.
#[derive(Clone, Debug, PartialEq)]
pub enum Flat<'a> {
    /// Lua's nil.
    Absent,
    /// Text.
    Text(Cow<'a, [u8]>),
    /// A number.
    Number(f64),
    /// An argument without value.
    True,
}

impl Variable {
    /// The variable called `name`, without `$`. nginx' names in any case; the names behind `arg_` and `cookie_` as they are. An unknown name
    /// is a variable that is always absent.
    pub fn compile(_name: &str) -> Self {
        todo!()
    }

    /// True if it can never have a value.
    pub fn is_absent(&self) -> bool {
        todo!()
    }

    /// True if the request's body must be captured for it.
    pub fn needs_request_body(&self) -> bool {
        todo!()
    }

    /// True if the response's body must be captured for it.
    pub fn needs_response_body(&self) -> bool {
        todo!()
    }

    /// Its value in `exchange`; allocates nothing.
    pub fn lookup<'a>(&'a self, _exchange: &Exchange<'a>) -> Value<'a> {
        todo!()
    }
}

impl<'a> Value<'a> {
    /// The value as expressions see it. Allocates only where text must be put together.
    pub fn flat(self) -> Flat<'a> {
        todo!()
    }
}

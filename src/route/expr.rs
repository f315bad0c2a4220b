//! APISIX's expressions (APISIX-COMPAT §6.5), compiled once. `V` is what a variable name became: `log::Variable`.

use std::borrow::Cow;

/// What a variable is at the moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand<'a> {
    /// Lua's nil: no value.
    Nil,
    /// Text.
    Text(Cow<'a, [u8]>),
    /// A number.
    Number(f64),
    /// An argument without value.
    True,
    /// A list of texts.
    List(Vec<Cow<'a, [u8]>>),
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Expr<V>(std::marker::PhantomData<V>);

impl<V> Expr<V> {
    /// Compiles a `vars` array; `resolve` turns a variable's name into what `eval` will be asked for.
    ///
    /// # Errors
    /// APISIX's texts where it has one: `invalid operator '<>'`, `rule too short`, `invalid expression`, `bad 'not' expression`,
    /// `rule should be wrapped inside brackets`.
    pub fn compile(_rule: &serde_json::Value, _resolve: &mut dyn FnMut(&str) -> V) -> Result<Self, String> {
        todo!()
    }

    /// True if the expression holds. An empty one always does.
    pub fn eval(&self, _lookup: &dyn Fn(&V) -> Operand<'_>) -> bool {
        todo!()
    }

    /// Every variable in it.
    pub fn variables(&self) -> Vec<&V> {
        todo!()
    }
}

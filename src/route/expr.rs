//! APISIX's expressions (APISIX-COMPAT §6.5), compiled once. `V` is what a variable name became: `log::Variable`.
//! Patterns are the `regex` crate's: no look-around, no back-references.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use super::cidr::Cidr;

/// Levels of nested groups; deeper ones are refused.
const DEPTH_MAX: usize = 32;

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
pub struct Expr<V>(Node<V>);

#[derive(Clone, Debug)]
enum Node<V> {
    All(Vec<Node<V>>),
    Any(Vec<Node<V>>),
    Not(Box<Node<V>>),
    Test(V, Test),
}

#[derive(Clone, Debug)]
enum Test {
    Equal(Literal),
    Unequal(Literal),
    Ordered(Order, f64),
    Matches(Regex),
    In(Vec<Literal>),
    Has(Literal),
    Address(Vec<Cidr>),
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug)]
enum Literal {
    Nil,
    Text(Vec<u8>),
    Number(f64),
    Bool(bool),
}

impl<V> Expr<V> {
    /// Compiles a `vars` array; `resolve` turns a variable's name into what `eval` will be asked for.
    ///
    /// # Errors
    /// APISIX's texts where it has one: `invalid operator '<>'`, `rule too short`, `invalid expression`, `bad 'not' expression`,
    /// `rule should be wrapped inside brackets`.
    pub fn compile(rule: &Value, resolve: &mut dyn FnMut(&str) -> V) -> Result<Self, String> {
        let list = rule.as_array().ok_or("rule should be wrapped inside brackets")?;
        group(list, resolve, 0).map(Self)
    }

    /// True if the expression holds. An empty one always does.
    pub fn eval<'a>(&'a self, lookup: &dyn Fn(&'a V) -> Operand<'a>) -> bool {
        self.0.eval(lookup)
    }

    /// Every variable in it.
    pub fn variables(&self) -> Vec<&V> {
        let mut found = Vec::new();
        self.0.collect(&mut found);
        found
    }
}

/// A list of conditions: all of them, or what the operator in front says.
fn group<V>(list: &[Value], resolve: &mut dyn FnMut(&str) -> V, depth: usize) -> Result<Node<V>, String> {
    if depth > DEPTH_MAX {
        return Err(format!("expression nesting exceeds {DEPTH_MAX} levels"));
    }
    let operator = list.first().and_then(Value::as_str);
    let (rest, negated, any) = match operator.map(str::to_ascii_uppercase).as_deref() {
        None => (list, false, false),
        Some("AND") => (&list[1..], false, false),
        Some("OR") => (&list[1..], false, true),
        Some("!AND") => (&list[1..], true, false),
        Some("!OR") => (&list[1..], true, true),
        Some(_) => return Err("rule should be wrapped inside brackets".to_owned()),
    };
    if operator.is_some() && rest.len() < 2 {
        return Err("rule too short".to_owned());
    }
    let nodes = rest.iter().map(|one| condition(one, resolve, depth)).collect::<Result<Vec<_>, _>>()?;
    let node = if any { Node::Any(nodes) } else { Node::All(nodes) };
    Ok(if negated { Node::Not(Box::new(node)) } else { node })
}

fn condition<V>(rule: &Value, resolve: &mut dyn FnMut(&str) -> V, depth: usize) -> Result<Node<V>, String> {
    let list = rule.as_array().ok_or("rule should be wrapped inside brackets")?;
    let front = list.first().and_then(Value::as_str);
    let is_group =
        front.is_some_and(|front| matches!(front.to_ascii_uppercase().as_str(), "AND" | "OR" | "!AND" | "!OR"));
    if is_group || list.first().is_some_and(Value::is_array) {
        return group(list, resolve, depth + 1);
    }
    let name = front.ok_or("invalid expression")?;
    match list.len() {
        0..3 => Err("rule too short".to_owned()),
        3 => Ok(Node::Test(resolve(name), test(&list[1], &list[2])?)),
        4 if list[1].as_str() == Some("!") => {
            let test = test(&list[2], &list[3])?;
            Ok(Node::Not(Box::new(Node::Test(resolve(name), test))))
        }
        4 => Err("bad 'not' expression".to_owned()),
        _ => Err("invalid expression".to_owned()),
    }
}

fn test(operator: &Value, value: &Value) -> Result<Test, String> {
    let operator = operator.as_str().ok_or("invalid expression")?;
    let ordered = |order| {
        literal(value)
            .number()
            .map(|number| Test::Ordered(order, number))
            .ok_or_else(|| format!("the operator '{operator}' needs a number, not {value}"))
    };
    match operator.to_ascii_lowercase().as_str() {
        "==" => Ok(Test::Equal(literal(value))),
        "~=" => Ok(Test::Unequal(literal(value))),
        "<" => ordered(Order::Less),
        "<=" => ordered(Order::LessOrEqual),
        ">" => ordered(Order::Greater),
        ">=" => ordered(Order::GreaterOrEqual),
        "~~" => pattern(value, false),
        "~*" => pattern(value, true),
        "in" => Ok(Test::In(literals(value)?)),
        "has" => Ok(Test::Has(literal(value))),
        "ipmatch" => addresses(value),
        _ => Err(format!("invalid operator '{operator}'")),
    }
}

fn literal(value: &Value) -> Literal {
    match value {
        Value::String(text) => Literal::Text(text.as_bytes().to_vec()),
        Value::Number(number) => Literal::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::Bool(truth) => Literal::Bool(*truth),
        _ => Literal::Nil,
    }
}

fn literals(value: &Value) -> Result<Vec<Literal>, String> {
    let list = value.as_array().ok_or("the operator 'in' needs a list")?;
    Ok(list.iter().map(literal).collect())
}

fn pattern(value: &Value, any_case: bool) -> Result<Test, String> {
    let text = value.as_str().ok_or("a pattern must be a string")?;
    let built = RegexBuilder::new(text).case_insensitive(any_case).unicode(false).build();
    built.map(Test::Matches).map_err(|error| format!("invalid regex '{text}': {error}"))
}

fn addresses(value: &Value) -> Result<Test, String> {
    let texts: Vec<&str> = match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        Value::String(text) => vec![text],
        _ => return Err("the operator 'ipmatch' needs addresses".to_owned()),
    };
    texts.into_iter().map(Cidr::parse).collect::<Result<_, _>>().map(Test::Address)
}

impl<V> Node<V> {
    fn eval<'a>(&'a self, lookup: &dyn Fn(&'a V) -> Operand<'a>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.eval(lookup)),
            Self::Any(nodes) => nodes.iter().any(|node| node.eval(lookup)),
            Self::Not(node) => !node.eval(lookup),
            Self::Test(variable, test) => test.holds(&lookup(variable)),
        }
    }

    fn collect<'a>(&'a self, found: &mut Vec<&'a V>) {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.collect(found)),
            Self::Not(node) => node.collect(found),
            Self::Test(variable, _) => found.push(variable),
        }
    }
}

impl Test {
    fn holds(&self, operand: &Operand<'_>) -> bool {
        match self {
            Self::Equal(literal) => literal.equals(operand),
            Self::Unequal(literal) => !literal.equals(operand),
            Self::Ordered(order, bound) => number(operand).is_some_and(|number| order.holds(number, *bound)),
            Self::Matches(regex) => text(operand).is_some_and(|text| regex.is_match(&text)),
            Self::In(list) => !matches!(operand, Operand::Nil) && list.iter().any(|literal| literal.equals(operand)),
            Self::Has(literal) => match operand {
                Operand::List(list) => list.iter().any(|item| literal.equals(&Operand::Text(item.clone()))),
                _ => false,
            },
            Self::Address(ranges) => text(operand)
                .and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok())
                .is_some_and(|address| ranges.iter().any(|range| range.contains(address))),
        }
    }
}

impl Order {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

impl Literal {
    /// A numeric literal compares as a number, anything else as it is written.
    fn equals(&self, operand: &Operand<'_>) -> bool {
        match self {
            Self::Nil => matches!(operand, Operand::Nil),
            Self::Bool(truth) => *truth && matches!(operand, Operand::True),
            Self::Number(literal) => number(operand).is_some_and(|number| number == *literal),
            Self::Text(literal) => text(operand).is_some_and(|text| *text == **literal),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
            Self::Nil | Self::Bool(_) => None,
        }
    }
}

/// Lua's `tonumber`, for decimal text.
fn number(operand: &Operand<'_>) -> Option<f64> {
    match operand {
        Operand::Number(number) => Some(*number),
        Operand::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        Operand::Nil | Operand::True | Operand::List(_) => None,
    }
}

fn text<'a>(operand: &'a Operand<'_>) -> Option<Cow<'a, [u8]>> {
    match operand {
        Operand::Text(text) => Some(Cow::Borrowed(text)),
        Operand::Number(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        Operand::True => Some(Cow::Borrowed(b"true")),
        Operand::Nil | Operand::List(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(name: &str) -> Operand<'static> {
        match name {
            "name" => Operand::Text(Cow::Borrowed(b"json")),
            "age" => Operand::Text(Cow::Borrowed(b"18")),
            "status" => Operand::Number(502.0),
            "flag" => Operand::True,
            "addr" => Operand::Text(Cow::Borrowed(b"10.1.2.3")),
            "fields" => Operand::List(vec![Cow::Borrowed(b"a"), Cow::Borrowed(b"b")]),
            _ => Operand::Nil,
        }
    }

    fn holds(rule: Value) -> Result<bool, String> {
        let expr = Expr::compile(&rule, &mut |name| name.to_owned())?;
        Ok(expr.eval(&|name| value(name)))
    }

    #[test]
    fn every_operator_compares_as_apisix_does() {
        for (rule, expected) in [
            (json!([]), true),
            (json!([["name", "==", "json"]]), true),
            (json!([["name", "~=", "json"]]), false),
            (json!([["age", "==", 18]]), true),
            (json!([["age", "==", "18"]]), true),
            (json!([["age", ">", 17], ["age", "<", 19]]), true),
            (json!([["age", ">=", "18"], ["age", "<=", 18]]), true),
            (json!([["name", ">", 1]]), false),
            (json!([["status", "==", 502]]), true),
            (json!([["status", "==", "502"]]), true),
            (json!([["name", "~~", "^js.n$"]]), true),
            (json!([["name", "~~", "^JS"]]), false),
            (json!([["name", "~*", "^JS"]]), true),
            (json!([["name", "in", ["xml", "json"]]]), true),
            (json!([["age", "in", [17, 18]]]), true),
            (json!([["fields", "has", "b"]]), true),
            (json!([["fields", "has", "c"]]), false),
            (json!([["name", "has", "json"]]), false),
            (json!([["addr", "ipmatch", ["10.0.0.0/8", "::1"]]]), true),
            (json!([["addr", "ipmatch", ["11.0.0.0/8"]]]), false),
            (json!([["flag", "==", true]]), true),
        ] {
            assert_eq!(holds(rule.clone()), Ok(expected), "{rule}");
        }
    }

    #[test]
    fn nothing_fails_every_test_but_unequal() {
        assert_eq!(holds(json!([["none", "==", "x"]])), Ok(false));
        assert_eq!(holds(json!([["none", "<", 5]])), Ok(false));
        assert_eq!(holds(json!([["none", "in", ["x"]]])), Ok(false));
        assert_eq!(holds(json!([["none", "~=", "x"]])), Ok(true));
        assert_eq!(holds(json!([["none", "!", "==", "x"]])), Ok(true));
    }

    #[test]
    fn groups_nest_and_negate() {
        let yes = json!(["name", "==", "json"]);
        let no = json!(["name", "==", "xml"]);
        assert_eq!(holds(json!(["OR", no, yes])), Ok(true));
        assert_eq!(holds(json!(["!OR", no, yes])), Ok(false));
        assert_eq!(holds(json!(["AND", yes, no])), Ok(false));
        assert_eq!(holds(json!(["!AND", yes, no])), Ok(true));
        assert_eq!(holds(json!([yes, ["OR", no, ["AND", yes, yes]]])), Ok(true));
    }

    #[test]
    fn a_broken_rule_is_refused_with_apisix_words() {
        assert_eq!(holds(json!([["a", "<>", "b"]])), Err("invalid operator '<>'".to_owned()));
        assert_eq!(holds(json!([["a", "="]])), Err("rule too short".to_owned()));
        assert_eq!(holds(json!(["a", "==", "b"])), Err("rule should be wrapped inside brackets".to_owned()));
        assert_eq!(holds(json!([["a", "not", "==", "b"]])), Err("bad 'not' expression".to_owned()));
        assert!(holds(json!([["a", "~~", "("]])).is_err());
    }

    #[test]
    fn endless_nesting_is_refused() {
        let mut rule = json!(["a", "==", "b"]);
        for _ in 0..100 {
            rule = json!(["AND", rule, ["a", "==", "b"]]);
        }
        assert!(holds(rule).is_err());
    }
}

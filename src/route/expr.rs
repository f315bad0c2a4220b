//! APISIX's expressions (APISIX-COMPAT §6.5; lua-resty-expr 1.3), compiled once. `V` is what a variable name became: `log::Variable`.
//!
//! Comparisons follow Lua: `==` knows types (`"200"` is not `200`), but a number on the right turns text on the left into a number;
//! `<` and its kin turn both sides into numbers. No value fails every comparison but `~=` and `== null`.

use std::borrow::Cow;
use std::net::IpAddr;

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value as Json;

use super::cidr::{self, Cidr};

/// Levels of nesting in one expression.
pub const EXPR_DEPTH: usize = 32;
/// Bytes of one compiled regular expression.
pub const REGEX_BYTES: usize = 1024 * 1024;

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
pub struct Expr<V> {
    /// `None`: an empty list, always true.
    rule: Option<Rule<V>>,
}

#[derive(Clone, Debug)]
enum Rule<V> {
    Group { logic: Logic, rules: Vec<Rule<V>> },
    Condition { variable: V, negated: bool, test: Test },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logic {
    And,
    Or,
    NotAnd,
    NotOr,
}

#[derive(Clone, Debug)]
enum Test {
    Equal(Literal),
    Differs(Literal),
    Order(Order, Option<f64>),
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

/// The right side of a condition.
#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Nil,
    Text(Vec<u8>),
    Number(f64),
    Bool(bool),
    /// An object or array: equal to nothing.
    Other,
}

impl<V> Expr<V> {
    /// Compiles a `vars` array; `resolve` turns a variable's name into what `eval` will be asked for.
    ///
    /// # Errors
    /// APISIX's texts where it has one: `invalid operator '<>'`, `rule too short`, `invalid expression`, `bad 'not' expression`,
    /// `rule should be wrapped inside brackets`. Ours: `invalid ip address: x`, `invalid regular expression 'x'` (also one that needs
    /// look-around or back-references), `rule too deep`.
    pub fn compile(rule: &Json, resolve: &mut dyn FnMut(&str) -> V) -> Result<Self, String> {
        let rules = rule.as_array().ok_or("rule should be wrapped inside brackets")?;
        let Some(first) = rules.first() else { return Ok(Self { rule: None }) };
        if !first.is_array() && logic(first).is_none() {
            return Err("rule should be wrapped inside brackets".into());
        }
        Ok(Self { rule: Some(compile(rules, resolve, 1)?) })
    }

    /// True if the expression holds. `lookup` gives the variable's value now; what it gives may borrow from the variable and from the
    /// exchange. An empty one always does. Allocates nothing unless a regular expression meets a number.
    pub fn eval<'e>(&'e self, lookup: &dyn Fn(&'e V) -> Operand<'e>) -> bool {
        self.rule.as_ref().is_none_or(|rule| rule.holds(lookup))
    }

    /// Every variable in it.
    pub fn variables(&self) -> Vec<&V> {
        let mut found = Vec::new();
        let mut open: Vec<&Rule<V>> = self.rule.iter().collect();
        while let Some(rule) = open.pop() {
            match rule {
                Rule::Group { rules, .. } => open.extend(rules.iter().rev()),
                Rule::Condition { variable, .. } => found.push(variable),
            }
        }
        found
    }
}

fn logic(word: &Json) -> Option<Logic> {
    match word.as_str()?.to_ascii_uppercase().as_str() {
        "AND" => Some(Logic::And),
        "OR" => Some(Logic::Or),
        "!AND" => Some(Logic::NotAnd),
        "!OR" => Some(Logic::NotOr),
        _ => None,
    }
}

fn compile<V>(rules: &[Json], resolve: &mut dyn FnMut(&str) -> V, depth: usize) -> Result<Rule<V>, String> {
    if depth > EXPR_DEPTH {
        return Err("rule too deep".into());
    }
    let first = rules.first().ok_or("rule too short")?;
    let (logic, rules) = match logic(first) {
        Some(_) if rules.len() <= 2 => return Err("rule too short".into()),
        Some(logic) => (logic, &rules[1..]),
        None if first.is_array() => (Logic::And, rules),
        None => return condition(rules, resolve),
    };
    let member = |rule: &Json| match rule.as_array() {
        Some(rules) => compile(rules, resolve, depth + 1),
        None => Err("rule should be wrapped inside brackets".into()),
    };
    Ok(Rule::Group { logic, rules: rules.iter().map(member).collect::<Result<_, _>>()? })
}

fn condition<V>(parts: &[Json], resolve: &mut dyn FnMut(&str) -> V) -> Result<Rule<V>, String> {
    let (negated, name, operator, right) = match parts {
        [name, not, operator, right] if not == "!" => (true, name, operator, right),
        [_, _, _, _] => return Err("bad 'not' expression".into()),
        [name, operator, right] => (false, name, operator, right),
        // An old short form of equality, unless the second is an operator: then the right side is nil.
        [name, second] if second.as_str().is_some_and(is_operator) => (false, name, second, &Json::Null),
        [name, right] => return equality(name, right, resolve),
        _ => return Err("invalid expression".into()),
    };
    let name = name.as_str().ok_or("invalid expression")?;
    let operator = operator.as_str().ok_or("invalid expression")?.to_ascii_lowercase();
    Ok(Rule::Condition { negated, test: Test::compile(&operator, right)?, variable: resolve(name) })
}

fn equality<V>(name: &Json, right: &Json, resolve: &mut dyn FnMut(&str) -> V) -> Result<Rule<V>, String> {
    let name = name.as_str().ok_or("invalid expression")?;
    Ok(Rule::Condition { variable: resolve(name), negated: false, test: Test::Equal(Literal::of(right)) })
}

fn is_operator(word: &str) -> bool {
    const OPERATORS: [&str; 11] = ["==", "~=", ">", ">=", "<", "<=", "~~", "~*", "in", "has", "ipmatch"];
    OPERATORS.contains(&word.to_ascii_lowercase().as_str())
}

impl Test {
    fn compile(operator: &str, right: &Json) -> Result<Self, String> {
        let literal = || Literal::of(right);
        let order = |order| Ok(Self::Order(order, literal().number()));
        match operator {
            "==" => Ok(Self::Equal(literal())),
            "~=" => Ok(Self::Differs(literal())),
            ">" => order(Order::Greater),
            ">=" => order(Order::GreaterOrEqual),
            "<" => order(Order::Less),
            "<=" => order(Order::LessOrEqual),
            "~~" => regex(right, false).map(Self::Matches),
            "~*" => regex(right, true).map(Self::Matches),
            "in" => Ok(Self::In(right.as_array().into_iter().flatten().map(Literal::of).collect())),
            "has" => Ok(Self::Has(literal())),
            "ipmatch" => addresses(right).map(Self::Address),
            _ => Err(format!("invalid operator '{operator}'")),
        }
    }

    fn holds(&self, left: &Operand<'_>) -> bool {
        match self {
            Self::Equal(right) => right.equals(left),
            Self::Differs(right) => !right.equals(left),
            Self::Order(order, right) => match (left.number(), right) {
                (Some(left), Some(right)) => order.holds(left, *right),
                _ => false,
            },
            Self::Matches(regex) => match left {
                Operand::Text(text) => regex.is_match(text),
                Operand::Number(number) => regex.is_match(number.to_string().as_bytes()),
                Operand::Nil | Operand::True | Operand::List(_) => false,
            },
            Self::In(list) => list.iter().any(|right| right.same(left)),
            Self::Has(right) => match (left, right) {
                (Operand::List(list), Literal::Text(text)) => list.iter().any(|element| **element == **text),
                _ => false,
            },
            Self::Address(ranges) => match left {
                Operand::Text(text) => {
                    let address: Option<IpAddr> = cidr::address(text);
                    address.is_some_and(|address| ranges.iter().any(|range| range.contains(address)))
                }
                _ => false,
            },
        }
    }
}

/// PCRE's syntax as far as the `regex` crate has it; over bytes, so that `.` is a byte as in APISIX, unless the pattern needs Unicode.
fn regex(pattern: &Json, ignore_case: bool) -> Result<Regex, String> {
    let pattern = pattern.as_str().ok_or("invalid expression")?;
    let build = |unicode| {
        RegexBuilder::new(pattern).unicode(unicode).case_insensitive(ignore_case).size_limit(REGEX_BYTES).build()
    };
    build(false).or_else(|_| build(true)).map_err(|_| format!("invalid regular expression '{pattern}'"))
}

fn addresses(right: &Json) -> Result<Vec<Cidr>, String> {
    let one = |text: &Json| Cidr::parse(text.as_str().ok_or("invalid ip address")?);
    match right {
        Json::Array(list) => list.iter().map(one).collect(),
        single => Ok(vec![one(single)?]),
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

impl Operand<'_> {
    /// Lua's `tonumber`.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => number(text),
            Self::Nil | Self::True | Self::List(_) => None,
        }
    }
}

impl Literal {
    fn of(value: &Json) -> Self {
        match value {
            Json::Null => Self::Nil,
            Json::Bool(bool) => Self::Bool(*bool),
            Json::Number(number) => number.as_f64().map_or(Self::Other, Self::Number),
            Json::String(text) => Self::Text(text.as_bytes().to_vec()),
            Json::Array(_) | Json::Object(_) => Self::Other,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => number(text),
            Self::Nil | Self::Bool(_) | Self::Other => None,
        }
    }

    /// `==`: text becomes a number if this is one.
    fn equals(&self, left: &Operand<'_>) -> bool {
        match self {
            Self::Number(number) => left.number() == Some(*number),
            _ => self.same(left),
        }
    }

    /// Equal in type and value.
    fn same(&self, left: &Operand<'_>) -> bool {
        match (self, left) {
            (Self::Nil, Operand::Nil) | (Self::Bool(true), Operand::True) => true,
            (Self::Text(right), Operand::Text(left)) => **right == **left,
            (Self::Number(right), Operand::Number(left)) => right == left,
            _ => false,
        }
    }
}

/// Text as Lua reads a number: white space around it, decimal or hexadecimal; no words.
fn number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if let Some(digits) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let value = u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))? as f64;
        return Some(if negative { -value } else { value });
    }
    let numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-' | b'e' | b'E');
    text.bytes().all(numeric).then(|| text.parse().ok())?
}

impl<V> Rule<V> {
    fn holds<'e>(&'e self, lookup: &dyn Fn(&'e V) -> Operand<'e>) -> bool {
        match self {
            Self::Condition { variable, negated, test } => test.holds(&lookup(variable)) != *negated,
            Self::Group { logic, rules } => {
                let (all, any) =
                    (|| rules.iter().all(|rule| rule.holds(lookup)), || rules.iter().any(|rule| rule.holds(lookup)));
                match logic {
                    Logic::And => all(),
                    Logic::Or => any(),
                    Logic::NotAnd => !all(),
                    Logic::NotOr => !any(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::ptr_arg, reason = "the table is of String, and its look-up takes what it holds")]
    fn lookup(name: &String) -> Operand<'_> {
        match name.as_str() {
            "nil" => Operand::Nil,
            "flag" => Operand::True,
            "status" => Operand::Number(200.0),
            "time" => Operand::Number(0.25),
            "roots" => Operand::List(vec![Cow::Borrowed(b"a"), Cow::Borrowed(b"b")]),
            text => Operand::Text(Cow::Borrowed(text.as_bytes())),
        }
    }

    fn compiled(rule: &Json) -> Result<Expr<String>, String> {
        Expr::compile(rule, &mut |name: &str| name.to_owned())
    }

    fn holds(rule: Json) -> bool {
        compiled(&rule).unwrap_or_else(|error| panic!("{rule}: {error}")).eval(&lookup)
    }

    /// One condition, plain and negated: the second must be the opposite.
    fn condition(name: &str, operator: &str, right: Json) -> bool {
        let plain = holds(json!([[name, operator, right]]));
        assert_ne!(plain, holds(json!([[name, "!", operator, right]])));
        plain
    }

    #[test]
    fn equality_knows_types_and_numbers_turn_text_into_numbers() {
        assert!(condition("json", "==", json!("json")) && !condition("json", "==", json!("Json")));
        assert!(
            condition("10", "==", json!(10))
                && condition(" 0x0a ", "==", json!(10))
                && condition("1e1", "==", json!(10))
        );
        assert!(!condition("ten", "==", json!(10)) && condition("ten", "~=", json!(10)));
        assert!(condition("status", "==", json!(200)) && !condition("status", "==", json!("200")));
        assert!(condition("flag", "==", json!(true)) && !condition("flag", "==", json!("true")));
        assert!(!condition("json", "==", json!(["json"])));
    }

    #[test]
    fn no_value_fails_every_comparison_but_inequality_and_null() {
        for operator in ["==", ">", ">=", "<", "<=", "~~", "~*", "has"] {
            assert!(!condition("nil", operator, json!("1")), "{operator}");
        }
        assert!(!condition("nil", "in", json!(["1"])) && !condition("nil", "ipmatch", json!(["0.0.0.0/0"])));
        assert!(condition("nil", "~=", json!("1")) && condition("nil", "~=", json!(1)));
        assert!(condition("nil", "==", json!(null)) && condition("x", "~=", json!(null)));
    }

    #[test]
    fn order_compares_numbers_whatever_they_were() {
        assert!(
            condition("19", ">", json!(18)) && condition("19", ">", json!("18")) && !condition("9", ">", json!(18))
        );
        assert!(
            condition("18", ">=", json!(18)) && condition("18", "<=", json!(18)) && !condition("18", "<", json!(18))
        );
        assert!(
            condition("status", "<", json!(400))
                && condition("time", "<", json!(0.5))
                && condition("-1", "<", json!(0))
        );
        assert!(
            !condition("abc", "<", json!(1)) && !condition("inf", ">", json!(1)) && !condition("1", "<", json!("x"))
        );
    }

    #[test]
    fn regular_expressions_search_and_may_ignore_case() {
        assert!(condition("/api/v1", "~~", json!("^/api")) && !condition("/API", "~~", json!("^/api")));
        assert!(condition("/API", "~*", json!("^/api")) && condition("status", "~~", json!("^2..$")));
        assert!(condition("größe", "~~", json!("größe")) && condition("größe", "~~", json!(r"^\p{L}+$")));
        assert!(!condition("flag", "~~", json!(".")));
    }

    #[test]
    fn membership_is_by_type_on_either_side() {
        assert!(condition("GET", "in", json!(["POST", "GET"])) && !condition("PUT", "IN", json!(["POST", "GET"])));
        assert!(condition("status", "in", json!([404, 200])) && !condition("200", "in", json!([200])));
        assert!(!condition("GET", "in", json!("GET")) && !condition("GET", "in", json!([])));
        assert!(
            condition("roots", "has", json!("b"))
                && !condition("roots", "has", json!("c"))
                && !condition("a", "has", json!("a"))
        );
    }

    #[test]
    fn addresses_match_ranges() {
        assert!(
            condition("10.1.2.3", "ipmatch", json!(["::1", "10.0.0.0/8"])) && condition("::1", "ipmatch", json!("::1"))
        );
        assert!(
            !condition("11.1.2.3", "ipmatch", json!(["10.0.0.0/8"]))
                && !condition("what", "ipmatch", json!(["0.0.0.0/0"]))
        );
    }

    #[test]
    fn conditions_are_joined_as_their_group_says() {
        let (yes, no) = (json!(["a", "==", "a"]), json!(["a", "==", "b"]));
        assert!(holds(json!([])));
        assert!(holds(json!([yes, yes])) && !holds(json!([yes, no])));
        assert!(holds(json!(["AND", yes, yes])) && !holds(json!(["AND", yes, no])));
        assert!(holds(json!(["OR", no, yes])) && !holds(json!(["OR", no, no])));
        assert!(holds(json!(["!AND", yes, no])) && !holds(json!(["!AND", yes, yes])));
        assert!(holds(json!(["!or", no, no])) && !holds(json!(["!OR", yes, no])));
        assert!(holds(json!([yes, ["OR", no, ["AND", yes, ["!OR", no, no]]]])));
        assert!(!holds(json!([[yes, no]])));
        assert!(holds(json!([["a", "a"]])) && holds(json!([["nil", "=="]])));
    }

    #[test]
    fn mistakes_are_named_as_apisix_names_them() {
        let error = |rule: Json| compiled(&rule).map(|_| ()).unwrap_err();
        assert_eq!(error(json!([["a", "<>", 1]])), "invalid operator '<>'");
        assert_eq!(error(json!([["a", "!", "<>", 1]])), "invalid operator '<>'");
        assert_eq!(error(json!([["a", "?", "==", 1]])), "bad 'not' expression");
        assert_eq!(error(json!(["a", "==", "b"])), "rule should be wrapped inside brackets");
        assert_eq!(error(json!({"a": 1})), "rule should be wrapped inside brackets");
        assert_eq!(error(json!([["a", "==", "a"], "b"])), "rule should be wrapped inside brackets");
        assert_eq!(error(json!(["OR", ["a", "==", "a"]])), "rule too short");
        assert_eq!(error(json!([[]])), "rule too short");
        assert_eq!(error(json!([["a"]])), "invalid expression");
        assert_eq!(error(json!([[1, "==", 1]])), "invalid expression");
        assert_eq!(error(json!([["a", "~~", "("]])), "invalid regular expression '('");
        assert_eq!(error(json!([["a", "~~", 1]])), "invalid expression");
        assert_eq!(error(json!([["a", "ipmatch", ["x"]]])), "invalid ip address: x");
        assert!(error(json!([["a", "~~", "(x{999}){999}"]])).starts_with("invalid regular expression"));
        let deep = (0..100).fold(json!(["a", "==", "a"]), |inner, _| json!([inner]));
        assert_eq!(error(deep), "rule too deep");
    }

    #[test]
    fn variables_are_resolved_once_and_listed() {
        let mut count = 0;
        let rule = json!([["a", "==", "a"], ["OR", ["b", "==", 1], ["c", "!", "in", ["c"]]]]);
        let expr = Expr::compile(&rule, &mut |name: &str| {
            count += 1;
            name.to_owned()
        });
        assert_eq!(expr.unwrap().variables(), ["a", "b", "c"]);
        assert_eq!(count, 3);
    }
}

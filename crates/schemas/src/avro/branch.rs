//! The branches of a union that can take a JSON value, best first.

use serde_json::Value;

use super::encode::Encoder;
use super::{Field, Id, Kind, Union, json, scalar};

/// A branch that is tried.
pub(super) struct Choice<'a> {
    /// Its position.
    pub(super) at: usize,
    pub(super) node: Id,
    pub(super) value: &'a Value,
    /// The member that wraps the value.
    pub(super) name: Option<&'a str>,
}

/// Order in which branches are tried: those that lose nothing first, then in the union's order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// The JSON that decoding writes.
    Exact,
    /// Numbers for longs, if there is no int; objects for maps, if there is no record.
    Wider,
    /// Numbers for floats, if there are no integers.
    Rounded,
    /// Text for numbers, and numbers for text.
    Lenient,
    /// The kind of JSON only. Its error says what is missing.
    Kind,
}

impl Encoder<'_> {
    /// Branches for a value. A plain union is read as decoding writes it, and wrapped values are for those who wrap all;
    /// any other union has its values wrapped.
    pub(super) fn choices<'v>(&mut self, union: &Union, value: &'v Value) -> Vec<Choice<'v>> {
        let wrapped = self.wrapped(union, value);
        let mut fits = Vec::new();
        let mut others = union.branches.iter().filter(|id| !matches!(self.nodes.at(**id).kind, Kind::Null));
        let is_only = others.next().is_some() && others.next().is_none();
        for (at, id) in union.branches.iter().enumerate() {
            let kind = &self.nodes.at(*id).kind;
            let fit = if is_only && matches!(kind, Kind::Null) == value.is_null() {
                // Nothing else can be meant.
                Some(Fit::Exact)
            } else {
                let is_kind = union.is_plain && kind.json() & json::of(value) != 0;
                self.fit(kind, value).or(is_kind.then_some(Fit::Kind))
            };
            if let Some(fit) = fit {
                fits.push((fit, Choice { at, node: *id, value, name: None }));
            }
        }
        fits.sort_by_key(|(fit, _)| *fit);
        let plain = fits.into_iter().map(|(_, choice)| choice);
        if union.is_plain {
            plain.chain(wrapped).collect()
        } else {
            wrapped.into_iter().chain(plain).collect()
        }
    }

    /// Avro 1.12, "JSON Encoding": an object with one member, whose name is the branch's. Defaults are not wrapped.
    fn wrapped<'v>(&mut self, union: &Union, value: &'v Value) -> Option<Choice<'v>> {
        let members = value.as_object().filter(|members| members.len() == 1 && !self.is_default)?;
        let (name, value) = members.iter().next()?;
        self.spend(union.branches.len());
        let mut branches = union.branches.iter().enumerate();
        let (at, node) = branches.find(|(_, id)| self.nodes.at(**id).name == name.as_str())?;
        Some(Choice { at, node: *node, value, name: Some(name) })
    }

    /// How well a branch takes a value, by its own kind and the names of its fields.
    fn fit(&mut self, kind: &Kind, value: &Value) -> Option<Fit> {
        self.spend(1);
        match (kind, value) {
            (Kind::Array(_), Value::Array(_)) => Some(Fit::Exact),
            (Kind::Map(_), Value::Object(_)) => Some(Fit::Wider),
            (Kind::Record(fields), Value::Object(members)) => {
                self.spend(fields.len());
                let named = |field: &&Field| members.contains_key(&field.name);
                let has_all = fields.iter().all(|field| field.default.is_some() || named(&field));
                let is_all = || fields.iter().filter(named).count() == members.len();
                (has_all && is_all()).then_some(Fit::Exact)
            }
            _ => {
                let mut scratch = Vec::new();
                scalar::encode(kind, value, self.is_default, &mut scratch)?;
                self.spend(scratch.len());
                Some(match (kind, value) {
                    (Kind::Long, Value::Number(_)) => Fit::Wider,
                    (Kind::Float | Kind::Double, Value::Number(_)) => Fit::Rounded,
                    (Kind::Time(_) | Kind::Decimal(_) | Kind::BigDecimal, Value::Number(_))
                    | (Kind::Int | Kind::Long | Kind::Float | Kind::Double, Value::String(_)) => Fit::Lenient,
                    _ => Fit::Exact,
                })
            }
        }
    }
}

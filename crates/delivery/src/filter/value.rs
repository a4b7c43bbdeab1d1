//! A condition on a part of a record's value, which is JSON.

use bytes::Bytes;
use sluicegate_backend::command::{RecordFilter, ValuePart};

use super::decimal::Decimal;
use super::is_one_of;
use super::json::{Pointer, unescaped};

/// Matches values by the part at a pointer. A value that is no JSON does not match.
#[derive(Debug, Clone)]
pub(super) struct ValueFilter {
    pointer: Pointer,
    /// Whether the part must be missing. Then nothing else is said about it.
    is_missing: bool,
    above: Option<String>,
    below: Option<String>,
    /// None: the part can be anything.
    wanted: Option<Scalars>,
}

/// Scalars of which the part must be one.
#[derive(Debug, Clone, Default)]
struct Scalars {
    /// Strings without quotes and escapes, sorted.
    strings: Vec<Bytes>,
    /// The beginnings of strings, sorted, of which none begins with another one.
    prefixes: Vec<Bytes>,
    /// The bytes that tell a string from all of these.
    enough: usize,
    /// Sorted by value.
    numbers: Vec<Bytes>,
    /// `true`, `false` and `null`.
    literals: Vec<Bytes>,
}

impl ValueFilter {
    /// # Errors
    /// A text is no pointer, or not the JSON that it should be; says what was expected.
    pub(super) fn new(
        RecordFilter { header, equals, prefixes, .. }: &RecordFilter,
        ValuePart { pointer, above, below, is_missing }: &ValuePart,
    ) -> Result<Self, String> {
        if header.is_some() {
            return Err("header and pointer: expected one of them".to_owned());
        }
        let has_wanted = !equals.is_empty() || !prefixes.is_empty();
        if *is_missing && (has_wanted || above.is_some() || below.is_some()) {
            return Err("a missing part cannot be equal, above or below: expected it alone".to_owned());
        }
        for (name, bound) in [("above", above), ("below", below)] {
            if bound
                .as_ref()
                .is_some_and(|bound| Scalar::of(bound.as_bytes()).is_none_or(|of| !of.is_number()))
            {
                return Err(format!("{name}: expected a number"));
            }
        }
        let wanted = has_wanted.then(|| Scalars::new(equals, prefixes)).transpose()?;
        let (above, below) = (above.clone(), below.clone());
        Ok(Self { pointer: Pointer::parse(pointer)?, is_missing: *is_missing, above, below, wanted })
    }

    pub(super) fn matches(&self, value: &[u8]) -> bool {
        match self.pointer.find(value) {
            Err(_) => false,
            Ok(None) => self.is_missing,
            Ok(Some(part)) => !self.is_missing && self.matches_part(part),
        }
    }

    fn matches_part(&self, part: &[u8]) -> bool {
        let scalar = Scalar::of_valid(part);
        let is_wanted = |wanted: &Scalars| scalar.is_some_and(|scalar| wanted.have(scalar));
        // Numbers that a double does not have are often strings, as those of decoded values.
        let number = match scalar {
            Some(Scalar::Text(content)) => Scalar::of(content),
            scalar => scalar,
        };
        let is_between = || match number {
            Some(Scalar::Number(number)) => {
                let number = Decimal::of(number);
                self.above.as_ref().is_none_or(|above| number > Decimal::of(above.as_bytes()))
                    && self.below.as_ref().is_none_or(|below| number < Decimal::of(below.as_bytes()))
            }
            _ => self.above.is_none() && self.below.is_none(),
        };
        self.wanted.as_ref().is_none_or(is_wanted) && is_between()
    }
}

impl Scalars {
    fn new(equals: &[Bytes], prefixes: &[Bytes]) -> Result<Self, String> {
        let mut wanted = Self { prefixes: prefixes.to_vec(), ..Self::default() };
        for json in equals {
            match Scalar::of(json) {
                Some(Scalar::Text(content)) => {
                    wanted.strings.push(Bytes::copy_from_slice(&unescaped(content, content.len())));
                }
                Some(Scalar::Number(_)) => wanted.numbers.push(json.clone()),
                Some(Scalar::Literal(_)) => wanted.literals.push(json.clone()),
                None => return Err("expected a JSON string, number, true, false or null".to_owned()),
            }
        }
        if prefixes.iter().any(|prefix| std::str::from_utf8(prefix).is_err()) {
            return Err("expected a prefix in UTF-8".to_owned());
        }
        wanted.strings.sort_unstable();
        wanted.numbers.sort_unstable_by(|a, b| Decimal::of(a).cmp(&Decimal::of(b)));
        let lens = wanted.strings.iter().chain(&wanted.prefixes).map(Bytes::len);
        wanted.enough = lens.max().unwrap_or_default();
        Ok(wanted)
    }

    fn have(&self, scalar: Scalar<'_>) -> bool {
        match scalar {
            Scalar::Text(content) => {
                is_one_of(&self.strings, &self.prefixes, &unescaped(content, self.enough))
            }
            Scalar::Number(number) => {
                let number = Decimal::of(number);
                self.numbers.binary_search_by(|wanted| Decimal::of(wanted).cmp(&number)).is_ok()
            }
            Scalar::Literal(literal) => self.literals.iter().any(|wanted| *wanted == literal),
        }
    }
}

/// A value that has no parts.
#[derive(Clone, Copy)]
enum Scalar<'a> {
    /// The content of a string, with escapes.
    Text(&'a [u8]),
    Number(&'a [u8]),
    Literal(&'a [u8]),
}

impl<'a> Scalar<'a> {
    /// The only value of a text. None: it is something else.
    fn of(json: &'a [u8]) -> Option<Self> {
        Self::of_valid(Pointer::default().find(json).ok()??).filter(|_| json.trim_ascii() == json)
    }

    /// The same of a valid text.
    fn of_valid(json: &'a [u8]) -> Option<Self> {
        match json {
            [b'"', content @ .., b'"'] => Some(Self::Text(content)),
            [b'-' | b'0'..=b'9', ..] => Some(Self::Number(json)),
            [b'{' | b'[', ..] => None,
            _ => Some(Self::Literal(json)),
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Number(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(pointer: &str, equals: &[&'static str], prefixes: &[&'static str]) -> RecordFilter {
        let bytes = |values: &[&'static str]| values.iter().map(|value| Bytes::from(*value)).collect();
        RecordFilter { equals: bytes(equals), prefixes: bytes(prefixes), ..between(pointer, None, None) }
    }

    fn between(pointer: &str, above: Option<&str>, below: Option<&str>) -> RecordFilter {
        let [above, below] = [above, below].map(|bound| bound.map(str::to_owned));
        of(ValuePart { pointer: pointer.to_owned(), above, below, is_missing: false })
    }

    fn missing(pointer: &str) -> RecordFilter {
        of(ValuePart { pointer: pointer.to_owned(), is_missing: true, ..ValuePart::default() })
    }

    fn of(part: ValuePart) -> RecordFilter {
        RecordFilter { value: Some(part), ..RecordFilter::default() }
    }

    fn compiled(filter: &RecordFilter) -> Result<ValueFilter, String> {
        ValueFilter::new(filter, filter.value.as_ref().unwrap())
    }

    #[test]
    fn values_match_by_their_parts() {
        let order = r#"{"order":{"status":"re\u0061dy","n":9007199254740993,"tags":["a",null],"paid":true}}"#;
        for (filter, value, want) in [
            (filter("/order/status", &[r#""open""#], &["re"]), order, true),
            (filter("/order/status", &[r#""ready""#], &[]), order, true),
            (filter("/order/status", &[r#""\u0072eady""#], &[]), order, true),
            (filter("/order/status", &[r#""read""#, r#""ready!""#], &["rex"]), order, false),
            (filter("/order/status", &["1"], &[]), order, false),
            (filter("/order/n", &["9007199254740993.0"], &[]), order, true),
            (filter("/order/n", &["9007199254740992", "9007199254740994"], &[]), order, false),
            (filter("/order/n", &[r#""9007199254740993""#], &["9"]), order, false),
            (filter("/order/paid", &["true"], &[]), order, true),
            (filter("/order/paid", &["false", r#""true""#], &[]), order, false),
            (filter("/order/tags/0", &[], &[""]), order, true),
            (filter("/order/tags/1", &["null"], &[]), order, true),
            (filter("/order/tags/1", &[], &[""]), order, false),
            (filter("/order/tags/2", &["null"], &[]), order, false),
            (filter("/order/tags", &[], &[]), order, true),
            (filter("/order/tags", &["null"], &[""]), order, false),
            (filter("", &["1"], &[]), "1.0", true),
            (filter("", &[r#""\ud800""#], &[]), r#""\ud800""#, true),
            (filter("", &[r#""\ud800""#], &[]), r#""\ud801""#, false),
            (filter("", &["1"], &[]), "1 2", false),
            (filter("/a", &["1"], &[]), r#"{"a":1"#, false),
            (filter("/a", &["1"], &[]), "", false),
            (between("/order/n", Some("9007199254740992"), None), order, true),
            (between("/order/n", Some("9007199254740993"), None), order, false),
            (between("/order/n", None, Some("9007199254740993.5")), order, true),
            (between("/order/n", Some("1"), Some("1e3")), order, false),
            (between("", Some("1152921504606846975"), None), r#""1152921504606846976""#, true),
            (between("", None, Some("0")), r#""-1.250""#, true),
            (between("", Some("0"), None), r#""1 ""#, false),
            (between("/order/status", Some("-1"), None), order, false),
            (between("/order/x", Some("-1"), None), order, false),
            (missing("/order/x"), order, true),
            (missing("/order/tags/-"), order, true),
            (missing("/order/tags/1"), order, false),
            (missing("/a"), "not json", false),
        ] {
            assert_eq!(compiled(&filter).unwrap().matches(value.as_bytes()), want, "{filter:?} {value}");
        }
    }

    #[test]
    fn invalid_filters_are_refused() {
        let alone = "a missing part cannot be equal, above or below: expected it alone";
        let one = "header and pointer: expected one of them";
        let prefixes = vec![Bytes::from_static(b"\xff")];
        for (filter, want) in [
            (filter("a", &[], &[]), "pointer \"a\": expected a JSON Pointer such as \"/order/status\""),
            (filter("/a", &["open"], &[]), "expected a JSON string, number, true, false or null"),
            (filter("/a", &["[1]"], &[]), "expected a JSON string, number, true, false or null"),
            (between("/a", Some("\"1\""), None), "above: expected a number"),
            (between("/a", None, Some("")), "below: expected a number"),
            (RecordFilter { equals: vec!["1".into()], ..missing("/a") }, alone),
            (RecordFilter { header: Some("h".into()), ..missing("/a") }, one),
            (RecordFilter { prefixes, ..filter("/a", &[], &[]) }, "expected a prefix in UTF-8"),
        ] {
            assert_eq!(compiled(&filter).unwrap_err(), want);
        }
    }
}

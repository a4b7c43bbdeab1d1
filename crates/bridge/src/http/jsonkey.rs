//! Finds a record's key in a JSON document.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sluicegate_protocol::jsonkey::{Path, Step};

/// The first JSON value at this path of valid JSON, or `None`.
///
/// Takes time proportional to the document's length times the path's, and stack for the path's steps.
pub(super) fn find<'a>(path: &Path, json: &'a str) -> Option<&'a str> {
    find_from(path.steps(), json)
}

fn find_from<'a>(steps: &[Step], json: &'a str) -> Option<&'a str> {
    let Some((step, behind)) = steps.split_first() else { return Some(json) };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let within = Within { step, behind };
    match json.as_bytes().first()? {
        b'{' => deserializer.deserialize_map(within).ok()?,
        b'[' => deserializer.deserialize_seq(within).ok()?,
        _ => None,
    }
}

/// Searches an object or array for a step and the rest of the path.
struct Within<'s> {
    step: &'s Step,
    behind: &'s [Step],
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Name(name)) = members.next_key_seed(NameSeed)? {
            if found.is_none() && name == self.step.name.as_bytes() {
                found = find_from(self.behind, members.next_value::<&RawValue>()?.get());
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut at = 0_usize;
        while let Some(element) = elements.next_element::<&RawValue>()? {
            if self.step.index == Some(at) {
                found = find_from(self.behind, element.get());
            }
            at = at.saturating_add(1);
        }
        Ok(found)
    }
}

/// A member's name. As bytes, because a name with half a surrogate pair is not a Rust string.
struct Name(Vec<u8>);

struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Name, E> {
        Ok(Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluicegate_dialect::json;
    use sluicegate_protocol::jsonkey::MAX_PATH;

    use super::*;

    const DOCUMENT: &str = r##"{
        "name": {"first": "Tom", "last": "Anderson"}, "age": 37, "children": ["Sara", "Alex", "Jack"],
        "fav.movie": "Deer Hunter", "a*b": 1, "": {"": 2}, "#": 3, "7": 4, "nothing": null, "\u00e9\"": 5,
        "\ud83d": 6, "twice": {"x": 1}, "twice": {"y": 2}, "big": 12345678901234567890.10, "{x": 7,
        "friends": [{"first": "Dale", "nets": ["ig"]}, {"first": "Roger", "nets": []}, {"last": "x"}, 1]
    }"##;

    #[track_caller]
    fn check(path: &str, want: Option<&str>) {
        json::parse(DOCUMENT.as_bytes()).unwrap();
        let found = find(&Path::parse(path).unwrap(), DOCUMENT);
        assert_eq!(found, want, "{path}");
    }

    #[test]
    fn paths_find_what_gjson_finds() {
        for (path, want) in [
            ("name.last", Some("\"Anderson\"")),
            ("age", Some("37")),
            ("children", Some("[\"Sara\", \"Alex\", \"Jack\"]")),
            ("children.1", Some("\"Alex\"")),
            ("children.01", Some("\"Alex\"")),
            ("children.\\1", None),
            ("children.3", None),
            ("children.-1", None),
            ("children.99999999999999999999", None),
            ("children.2", Some("\"Jack\"")),
            ("fav\\.movie", Some("\"Deer Hunter\"")),
            ("fav.movie", None),
            ("a\\*b", Some("1")),
            (".", Some("2")),
            ("\\#", Some("3")),
            ("7", Some("4")),
            ("nothing", Some("null")),
            ("nothing.x", None),
            ("é\"", Some("5")),
            ("\\{x", Some("7")),
            ("twice.x", Some("1")),
            ("twice.y", Some("2")),
            ("twice", Some("{\"x\": 1}")),
            ("big", Some("12345678901234567890.10")),
            ("friends.1.first", Some("\"Roger\"")),
            ("friends.first", None),
            ("missing", None),
            ("Name", None),
        ] {
            check(path, want);
        }
        for scalar in ["1", "\"a\"", "null", "true"] {
            assert_eq!(find(&Path::parse("a").unwrap(), scalar), None);
        }
    }

    #[test]
    fn hostile_paths_and_documents_take_bounded_time() {
        let deep = "[".repeat(1 << 16) + &"]".repeat(1 << 16);
        let zeros = "0.".repeat(MAX_PATH / 2 - 1) + "0";
        assert!(find(&Path::parse(&zeros).unwrap(), &deep).is_some());
        let many = format!("[{}1]", "1,".repeat(1 << 19));
        assert_eq!(find(&Path::parse("524288").unwrap(), &many), Some("1"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn arbitrary_paths_and_documents_are_safe(path in "[a-c0-2.#\\\\@!{\u{e9}]{1,12}",
            document in "[\\[\\]{}\",:a-c0-2\\\\ \u{e9}]{0,24}") {
            if let (Ok(path), Ok(json)) = (Path::parse(&path), json::parse(document.as_bytes()))
                && let Some(found) = find(&path, json)
            {
                prop_assert!(json::parse(found.as_bytes()).is_ok(), "{}", found);
            }
        }

        #[test]
        fn names_and_indices_match_json_pointers(steps in prop::collection::vec("[a-c]{1,3}|[0-2]", 1..4),
            value in sluicegate_dialect::testing::value()) {
            let document = value.to_string();
            let found = find(&Path::parse(&steps.join(".")).unwrap(), &document).map(str::to_owned);
            let pointed = value.pointer(&format!("/{}", steps.join("/"))).map(ToString::to_string);
            prop_assert_eq!(found, pointed);
        }
    }
}

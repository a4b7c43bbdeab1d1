//! Where in a JSON document the key is: the part of gjson's path syntax that finds one place.
//!
//! Names between dots, `\` in front of a character that is meant as it is, `*` and `?` in the names of members, the index of
//! an array's element, `#` for all elements of an array or, at the end, for their number. It finds what gjson finds, but that
//! an escaped `*` or `?` stays one beside others that are not, where gjson takes it for a wildcard again.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A path that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

/// From a value to one within it.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// All elements of an array, or their number. In an object the member of this name.
    Each,
    /// A member, or the element with this index.
    Name { parts: Vec<Part>, index: Option<usize> },
}

/// What a member's name is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// Any character.
    One,
    /// Any number of them.
    Any,
}

impl Path {
    /// Understands a path of at most [`MAX_PATH`] bytes.
    ///
    /// # Errors
    /// What of it is not understood.
    pub(super) fn parse(path: &str) -> Result<Self, String> {
        if path.is_empty() || path.len() > MAX_PATH {
            return Err(format!("it has {} bytes, expected 1 to {MAX_PATH}", path.len()));
        }
        let mut steps = Vec::new();
        let mut rest = path;
        loop {
            if rest.starts_with("..") && matches!(steps.last(), None | Some(Step::Each)) {
                return Err("`..` is for JSON lines, which are not supported".to_owned());
            }
            let (step, behind) = Step::parse(rest)?;
            steps.push(step);
            match behind {
                Some(behind) => rest = behind,
                None => return Ok(Self(steps)),
            }
        }
    }

    /// The JSON at this path of valid JSON: the first that is found. `None` where there is none.
    ///
    /// Takes time in proportion to the document's length times the path's, and stack for the path's steps.
    pub(super) fn find<'a>(&self, json: &'a str) -> Option<Cow<'a, str>> {
        find(&self.0, json)
    }
}

impl Step {
    /// The first step, and what is behind its dot.
    fn parse(path: &str) -> Result<(Self, Option<&str>), String> {
        let mut parts = Vec::new();
        let mut characters = path.char_indices();
        let refused = |what: char, is: &str| {
            Err(format!("`{what}` is {is}: write `\\{what}` where it is part of a name"))
        };
        while let Some((at, character)) = characters.next() {
            match character {
                '.' => return Ok((Self::of(path, at, parts), path.get(at.saturating_add(1)..))),
                '|' => return refused(character, "a pipe, which is not supported"),
                '@' if at == 0 => return refused(character, "a modifier, which is not supported"),
                '!' if at == 0 => return refused(character, "a literal, which is not supported"),
                '[' | '{' if at == 0 => return refused(character, "several paths, which are not supported"),
                '#' if at == 0 && !matches!(path.as_bytes().get(1), None | Some(b'.')) => {
                    return refused(character, "a query, which is not supported");
                }
                '*' => parts.push(Part::Any),
                '?' => parts.push(Part::One),
                '\\' => match characters.next() {
                    Some((_, escaped)) => push(&mut parts, escaped),
                    None => return Err("it ends in `\\`: expected a character behind it".to_owned()),
                },
                character => push(&mut parts, character),
            }
        }
        Ok((Self::of(path, path.len(), parts), None))
    }

    /// Of the text in front of `end`, which is made of `parts`.
    fn of(path: &str, end: usize, parts: Vec<Part>) -> Self {
        let text = path.get(..end).unwrap_or_default();
        if text == "#" {
            return Self::Each;
        }
        let index = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        Self::Name { parts, index }
    }

    fn is(&self, name: &[u8]) -> bool {
        match self {
            Self::Each => name == b"#",
            Self::Name { parts, .. } => matches(parts, name),
        }
    }
}

fn push(parts: &mut Vec<Part>, character: char) {
    parts.extend(character.encode_utf8(&mut [0; 4]).bytes().map(Part::Byte));
}

/// Whether a name is what the pattern says. What a `*` stands for only ever grows: no more than one try for each of the
/// name's bytes and the pattern's parts.
fn matches(pattern: &[Part], name: &[u8]) -> bool {
    let (mut parts, mut rest) = (pattern, name);
    // Behind the last `*`, and where what it stands for ends.
    let mut star: Option<(&[Part], &[u8])> = None;
    loop {
        let step = match (parts, rest) {
            ([], []) => return true,
            ([Part::Any, behind @ ..], _) => {
                star = Some((behind, rest));
                Some((behind, rest))
            }
            ([Part::One, behind @ ..], [_, ..]) => Some((behind, without_first_character(rest))),
            ([Part::Byte(wanted), behind @ ..], [byte, others @ ..]) if wanted == byte => {
                Some((behind, others))
            }
            _ => None,
        };
        (parts, rest) = match (step, star) {
            (Some(step), _) => step,
            (None, Some((behind, [_, longer @ ..]))) => {
                star = Some((behind, longer));
                (behind, longer)
            }
            (None, _) => return false,
        };
    }
}

fn without_first_character(name: &[u8]) -> &[u8] {
    let is_continuation = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let rest = name.get(1..).unwrap_or_default();
    let len = rest.iter().take_while(|byte| is_continuation(byte)).count();
    rest.get(len..).unwrap_or_default()
}

fn find<'a>(steps: &[Step], json: &'a str) -> Option<Cow<'a, str>> {
    let Some((step, behind)) = steps.split_first() else { return Some(Cow::Borrowed(json)) };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let within = Within { step, behind };
    match json.as_bytes().first()? {
        b'{' => deserializer.deserialize_map(within).ok()?,
        b'[' => deserializer.deserialize_seq(within).ok()?,
        _ => None,
    }
}

/// Looks for what is behind a step in an object or an array.
struct Within<'s> {
    step: &'s Step,
    behind: &'s [Step],
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Name(name)) = members.next_key_seed(NameSeed)? {
            if found.is_none() && self.step.is(&name) {
                found = find(self.behind, members.next_value::<&RawValue>()?.get());
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let Step::Name { index, .. } = self.step else { return self.visit_each(elements) };
        let mut found = None;
        let mut at = 0_usize;
        while let Some(element) = elements.next_element::<&RawValue>()? {
            if *index == Some(at) {
                found = find(self.behind, element.get());
            }
            at = at.saturating_add(1);
        }
        Ok(found)
    }
}

impl<'s> Within<'s> {
    fn visit_each<'de, A: SeqAccess<'de>>(self, mut elements: A) -> Result<Option<Cow<'de, str>>, A::Error> {
        let mut count = 0_usize;
        let mut all = String::from("[");
        while let Some(element) = elements.next_element::<&RawValue>()? {
            count = count.saturating_add(1);
            if !self.behind.is_empty()
                && let Some(found) = find(self.behind, element.get())
            {
                if all.len() > 1 {
                    all.push(',');
                }
                all.push_str(&found);
            }
        }
        all.push(']');
        Ok(Some(Cow::Owned(if self.behind.is_empty() { count.to_string() } else { all })))
    }
}

/// A member's name. One with half a surrogate pair in it is no string of Rust's, so it is taken as bytes.
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

/// Longest path, in bytes.
const MAX_PATH: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::json;
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
        let found = Path::parse(path).unwrap().find(DOCUMENT);
        assert_eq!(found.as_deref(), want, "{path}");
    }

    #[test]
    fn a_path_leads_to_what_gjson_finds_there() {
        for (path, want) in [
            ("name.last", Some("\"Anderson\"")),
            ("age", Some("37")),
            ("children", Some("[\"Sara\", \"Alex\", \"Jack\"]")),
            ("children.#", Some("3")),
            ("children.1", Some("\"Alex\"")),
            ("children.01", Some("\"Alex\"")),
            ("children.\\1", None),
            ("children.3", None),
            ("children.-1", None),
            ("children.*", None),
            ("children.99999999999999999999", None),
            ("child*.2", Some("\"Jack\"")),
            ("c?ildren.0", Some("\"Sara\"")),
            ("fav\\.movie", Some("\"Deer Hunter\"")),
            ("fav.movie", None),
            ("a\\*b", Some("1")),
            ("a?b", Some("1")),
            (".", Some("2")),
            ("#", Some("3")),
            ("\\#", Some("3")),
            ("7", Some("4")),
            ("nothing", Some("null")),
            ("nothing.x", None),
            ("é\"", Some("5")),
            ("?\"", Some("5")),
            ("\\{x", Some("7")),
            ("twice.x", Some("1")),
            ("twice.y", Some("2")),
            ("twice", Some("{\"x\": 1}")),
            ("big", Some("12345678901234567890.10")),
            ("friends.#.first", Some("[\"Dale\",\"Roger\"]")),
            ("friends.#.nets.#", Some("[1,0]")),
            ("friends.#.none", Some("[]")),
            ("friends.1.first", Some("\"Roger\"")),
            ("friends.first", None),
            ("name.#", None),
            ("missing", None),
            ("Name", None),
        ] {
            check(path, want);
        }
        for scalar in ["1", "\"a\"", "null", "true"] {
            assert_eq!(Path::parse("a").unwrap().find(scalar), None);
        }
    }

    #[test]
    fn what_is_not_supported_is_told() {
        for (path, want) in [
            ("", "it has 0 bytes, expected 1 to 256"),
            ("a|b", "`|` is a pipe"),
            ("@reverse", "`@` is a modifier"),
            ("a.@this", "`@` is a modifier"),
            ("friends.#(last==\"x\").first", "`#` is a query"),
            ("friends.##", "`#` is a query"),
            ("{a,b}", "`{` is several paths"),
            ("a.[0,1]", "`[` is several paths"),
            ("!true", "`!` is a literal"),
            ("a\\", "it ends in `\\`"),
            ("..0.a", "`..` is for JSON lines"),
            ("a.#...b", "`..` is for JSON lines"),
        ] {
            let told = Path::parse(path).unwrap_err();
            assert!(told.contains(want), "{path}: {told}");
        }
        assert!(Path::parse(&"a".repeat(257)).unwrap_err().contains("it has 257 bytes"));
        for path in ["a@b", "a!", "a[0]", "a#b", "größe.?", "\\@this", "a\\|b"] {
            assert!(Path::parse(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn hostile_patterns_and_documents_take_bounded_time() {
        let stars = format!("{}b", "a*".repeat(MAX_PATH / 2 - 1));
        let names = format!("{{\"{}\":1}}", "a".repeat(1 << 20));
        assert_eq!(Path::parse(&stars).unwrap().find(&names), None);
        let deep = "[".repeat(1 << 19) + &"]".repeat(1 << 19);
        let zeros = "0.".repeat(MAX_PATH / 2 - 1) + "0";
        assert!(Path::parse(&zeros).unwrap().find(&deep).is_some());
        let each = "#.".repeat(MAX_PATH / 2 - 1) + "#";
        assert!(Path::parse(&each).unwrap().find(&deep).is_some());
        let many = format!("[{}1]", "1,".repeat(1 << 19));
        assert_eq!(Path::parse("#").unwrap().find(&many).as_deref(), Some("524289"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn no_path_and_no_document_do_harm(path in "[a-c0-2.*?#\\\\@|!{\u{e9}]{1,12}", document in "[\\[\\]{}\",:a-c0-2\\\\ \u{e9}]{0,24}") {
            if let (Ok(path), Ok(json)) = (Path::parse(&path), json::parse(document.as_bytes()))
                && let Some(found) = path.find(json)
            {
                prop_assert!(json::parse(found.as_bytes()).is_ok(), "{}", found);
            }
        }

        #[test]
        fn what_is_found_is_json_within_the_document(path in "[a-c0-2.*?#]{1,8}", value in json::tests::value()) {
            let document = value.to_string();
            if let Some(found) = Path::parse(&path).ok().and_then(|path| path.find(&document)) {
                prop_assert!(json::parse(found.as_bytes()).is_ok(), "{}", found);
                if !path.contains('#') {
                    prop_assert!(document.contains(&*found));
                }
            }
        }

        #[test]
        fn names_and_indices_lead_where_a_pointer_leads(steps in prop::collection::vec("[a-c]{1,3}|[0-2]", 1..4), value in json::tests::value()) {
            let document = value.to_string();
            let found = Path::parse(&steps.join(".")).unwrap().find(&document).map(|found| found.into_owned());
            let pointed = value.pointer(&format!("/{}", steps.join("/"))).map(ToString::to_string);
            prop_assert_eq!(found, pointed);
        }
    }
}

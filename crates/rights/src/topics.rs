//! The topics that a client can use: exact names, and prefixes, with the records of each.

use std::fmt;
use std::sync::Arc;

use crate::name::{is_prefix, is_topic};
use crate::row::{Row, Rows};

/// The topics that a client can use; by default, all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topics {
    /// A topic is in each of them.
    among: Vec<Patterns>,
    /// The bridge's own topic, which nobody can use.
    except: Option<Arc<str>>,
    /// The beginnings of names of topics that have to be listed.
    internal: &'static [&'static str],
}

/// Names and prefixes, each sorted. No prefix begins with another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Patterns {
    /// Whether `*` is among them. Beside it, the others list internal topics.
    all: bool,
    names: Vec<Box<str>>,
    prefixes: Vec<Box<str>>,
    /// More of both, of which not all records can be used.
    limited: Vec<(Pattern, Arc<Row>)>,
}

/// A topic's name, or a prefix of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This topic.
    Name(Box<str>),
    /// All topics whose names begin so.
    Prefix(Box<str>),
}

impl Topics {
    /// No topic.
    pub fn none() -> Self {
        Self::among(Patterns::default())
    }

    /// Parses the list in a gateway's header: names, or prefixes followed by `*`, separated by commas. None if it is
    /// invalid, or longer than [`MAX_LIST_BYTES`].
    pub fn parse(listed: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(listed).ok().filter(|text| text.len() <= MAX_LIST_BYTES);
        let names = text.into_iter().flat_map(|text| text.split(',')).map(str::trim_ascii);
        let patterns = names.map(Pattern::parse).collect::<Option<Vec<_>>>()?;
        (!patterns.is_empty()).then_some(patterns.into_iter().collect())
    }

    /// Whether `topic` is among them, with some of its records at least. Does not check that the topic exists.
    pub fn contains(&self, topic: &str) -> bool {
        let has = |patterns: &Patterns| {
            patterns.match_any(topic, true) || patterns.limited(topic, true).next().is_some()
        };
        self.among.iter().all(has) && !self.is_hidden(topic)
    }

    /// Whether a topic is left out although it is among those that are listed.
    fn is_hidden(&self, topic: &str) -> bool {
        self.except.as_deref() == Some(topic)
            || self.is_internal(topic) && !self.among.iter().any(|patterns| patterns.list(topic))
    }

    fn is_internal(&self, topic: &str) -> bool {
        self.internal.iter().any(|prefix| topic.starts_with(prefix))
    }

    /// The records of `topic` that can be used; None: it is not among them.
    pub fn rows(&self, topic: &str) -> Option<Rows> {
        // `*` adds no records of an internal topic to those that its list grants.
        let is_internal = self.is_internal(topic);
        let among = self.among.iter().map(|patterns| (patterns, !(is_internal && patterns.list(topic))));
        let limited = among.filter(|(patterns, with_all)| !patterns.match_any(topic, *with_all));
        let groups: Vec<Vec<_>> = limited
            .map(|(patterns, with_all)| patterns.limited(topic, with_all).map(Arc::clone).collect())
            .collect();
        let is_among = groups.iter().all(|rows| !rows.is_empty()) && !self.is_hidden(topic);
        is_among.then(|| Rows::of(groups))
    }

    /// The topics that are also among `others`.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        for patterns in others.among {
            if !self.among.contains(&patterns) {
                self.among.push(patterns);
            }
        }
        self.except = self.except.or(others.except);
        self.internal = if self.internal.is_empty() { others.internal } else { self.internal };
        self
    }

    /// The topics without the bridge's own, of which there is one.
    #[must_use]
    pub fn except(self, topic: Arc<str>) -> Self {
        Self { except: Some(topic), ..self }
    }

    /// The topics without those whose names begin so, unless they are listed, by name or by a prefix.
    #[must_use]
    pub fn without_internal(self, internal: &'static [&'static str]) -> Self {
        Self { internal, ..self }
    }

    fn among(patterns: Patterns) -> Self {
        Self { among: vec![patterns], ..Self::default() }
    }
}

impl FromIterator<Pattern> for Topics {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        patterns.into_iter().map(|pattern| (pattern, None)).collect()
    }
}

impl FromIterator<(Pattern, Option<Row>)> for Topics {
    fn from_iter<I: IntoIterator<Item = (Pattern, Option<Row>)>>(patterns: I) -> Self {
        let (mut names, mut prefixes, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        for (pattern, row) in patterns {
            match (pattern, row) {
                (pattern, Some(row)) => limited.push((pattern, Arc::new(row))),
                (Pattern::Name(name), None) => names.push(name),
                (Pattern::Prefix(prefix), None) => prefixes.push(prefix),
            }
        }
        let all = prefixes.iter().any(|prefix| prefix.is_empty());
        prefixes.retain(|prefix| !prefix.is_empty());
        names.sort_unstable();
        names.dedup();
        prefixes.sort_unstable();
        // The first of those that begin alike is the shortest.
        prefixes.dedup_by(|longer, shorter| longer.starts_with(&**shorter));
        match all && names.is_empty() && prefixes.is_empty() && limited.is_empty() {
            true => Self::default(),
            false => Self::among(Patterns { all, names, prefixes, limited }),
        }
    }
}

impl Patterns {
    /// Whether all records of a topic can be used, by `*` only `with_all`.
    fn match_any(&self, topic: &str, with_all: bool) -> bool {
        if with_all && self.all {
            return true;
        }
        // A text that sorts between a prefix and `topic`, which begins with it, begins with it too.
        let after = self.prefixes.partition_point(|prefix| **prefix <= *topic);
        let last = after.checked_sub(1).and_then(|at| self.prefixes.get(at));
        last.is_some_and(|prefix| topic.starts_with(&**prefix))
            || self.names.binary_search_by(|name| (**name).cmp(topic)).is_ok()
    }

    /// The rows of a topic of which not all records can be used, those of `*` only `with_all`.
    fn limited(&self, topic: &str, with_all: bool) -> impl Iterator<Item = &Arc<Row>> {
        let is_of = move |pattern: &Pattern| pattern.matches(topic) && (with_all || !pattern.is_any());
        self.limited.iter().filter(move |(pattern, _)| is_of(pattern)).map(|(_, row)| row)
    }

    /// Whether a pattern other than `*` matches a topic.
    fn list(&self, topic: &str) -> bool {
        self.match_any(topic, false) || self.limited(topic, false).next().is_some()
    }
}

impl Pattern {
    /// Parses a name, or a prefix followed by `*`. None if no topic can have such a name.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            Some(prefix) => is_prefix(prefix).then(|| Self::Prefix(prefix.into())),
            None => is_topic(text).then(|| Self::Name(text.into())),
        }
    }

    /// Whether each topic matches.
    fn is_any(&self) -> bool {
        matches!(self, Self::Prefix(prefix) if prefix.is_empty())
    }

    fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Name(name) => **name == *topic,
            Self::Prefix(prefix) => topic.starts_with(&**prefix),
        }
    }

    /// Its memory in bytes.
    pub(crate) fn memory(&self) -> usize {
        let (Self::Name(text) | Self::Prefix(text)) = self;
        text.len().saturating_add(size_of::<Self>())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// The longest list in bytes: gateways on nginx accept no longer header line by default.
pub const MAX_LIST_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn own_topic_of_the_bridge_is_in_no_list() {
        let own = || Arc::from("own");
        for topics in ["own", "own, other", "o*", "*"] {
            let topics = Topics::parse(topics.as_bytes()).unwrap();
            let excepted = topics.clone().except(own());
            assert!(topics.contains("own") && !excepted.contains("own"));
            assert!(!topics.clone().and(excepted.clone()).contains("own"));
            assert!(!excepted.and(topics).contains("own"));
        }
        assert!(Topics::default().except(own()).contains("other"));
    }

    #[test]
    fn internal_topics_have_to_be_listed() {
        let internal = &["KV_"][..];
        for (listed, has) in [
            ("*", false),
            ("a, KV_a", true),
            ("KV_*", true),
            ("K*", true),
            ("a*", false),
            ("*, KV_a", true),
            ("KV_*, *", true),
            ("*, a*", false),
        ] {
            let topics = Topics::parse(listed.as_bytes()).unwrap().without_internal(internal);
            assert_eq!(topics.contains("KV_a"), has, "{listed}");
            assert_eq!(topics.rows("KV_a").is_some(), has, "{listed}");
            assert_eq!(
                Topics::default().without_internal(internal).and(topics).contains("KV_a"),
                has,
                "{listed}"
            );
        }
        let row = || Some(Row::KeyPrefix("k".into()));
        let of = |patterns: Vec<(&str, Option<Row>)>| {
            let patterns = patterns.into_iter().map(|(pattern, row)| (Pattern::parse(pattern).unwrap(), row));
            patterns.collect::<Topics>().without_internal(internal)
        };
        let limited = |pattern: &str| of(vec![(pattern, row())]);
        assert!(
            !limited("*").contains("KV_a") && limited("*").contains("a") && limited("KV_a").contains("KV_a")
        );
        // The topic's own rows, whatever `*` has.
        let other = Some(Row::KeyPrefix("l".into()));
        for star in [None, other] {
            let topics = of(vec![("*", star), ("KV_a", row())]);
            assert_eq!(topics.rows("KV_a"), limited("KV_a").rows("KV_a"));
            assert_ne!(topics.rows("a"), topics.rows("KV_a"));
        }
    }

    #[test]
    fn names_match_exactly_and_stars_match_prefixes() {
        let topics = Topics::parse(b"orders, public.*,a*").unwrap();
        for topic in ["orders", "public.", "public.x", "a", "ab"] {
            assert!(topics.contains(topic), "{topic}");
        }
        for topic in ["orders2", "order", "Orders", "public", "xpublic.x", "", "orders, public.*"] {
            assert!(!topics.contains(topic), "{topic}");
        }
        assert_eq!(Topics::parse(b"*"), Some(Topics::default()));
        assert!(Topics::default().contains("any") && !Topics::none().contains("any"));
    }

    #[test]
    fn invalid_lists_are_none() {
        for topics in
            ["", ",", "a,", "a b", "a*b", "**", "é", ".", "..", &"a".repeat(250), &"a,".repeat(4097)]
        {
            assert_eq!(Topics::parse(topics.as_bytes()), None, "{topics}");
        }
    }

    #[test]
    fn narrowed_topics_are_in_both_lists() {
        let list = |text: &str| Topics::parse(text.as_bytes()).unwrap();
        let both = list("a*,b").and(list("ab*,b,c"));
        for (topic, want) in [("ab", true), ("a", false), ("b", true), ("c", false)] {
            assert_eq!(both.contains(topic), want, "{topic}");
        }
        assert_eq!(list("a").and(Topics::default()), list("a"));
        assert_eq!(list("a").and(list("a")), list("a"));
    }

    /// One invariant: sorted patterns match as a look at each of them does.
    #[cfg(not(target_family = "wasm"))]
    mod property {
        use proptest::prelude::*;

        use super::*;

        fn text() -> impl Strategy<Value = String> {
            prop::collection::vec(prop::sample::select(vec!['a', 'b', '.', '-']), 0..5)
                .prop_map(|chars| chars.into_iter().collect())
        }

        proptest! {
            #[test]
            fn patterns_match_as_each_does(
                listed in prop::collection::vec((text(), any::<bool>()), 1..8),
                topics in prop::collection::vec(text(), 8),
            ) {
                let listed: Vec<String> = listed
                    .into_iter()
                    .map(|(text, is_prefix)| if is_prefix { text + "*" } else { text })
                    .filter(|text| Pattern::parse(text).is_some())
                    .collect();
                prop_assume!(!listed.is_empty());
                let parsed = Topics::parse(listed.join(",").as_bytes()).unwrap();
                for topic in topics {
                    let want = listed.iter().any(|pattern| match pattern.strip_suffix('*') {
                        Some(prefix) => topic.starts_with(prefix),
                        None => *pattern == topic,
                    });
                    prop_assert_eq!(parsed.contains(&topic), want, "{} in {:?}", topic, listed);
                }
            }
        }
    }
}

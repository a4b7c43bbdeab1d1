//! The topics that a client can use: exact names, and prefixes.

use sluicegate_protocol::metadata::MAX_TOPICS_BYTES;

/// The topics that a client can use; by default, all.
#[derive(Debug, PartialEq, Eq)]
pub struct Topics(Vec<Pattern>);

#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    Exact(Box<str>),
    Prefix(Box<str>),
}

impl Default for Topics {
    fn default() -> Self {
        Self(vec![Pattern::Prefix("".into())])
    }
}

impl Topics {
    /// Parses the list in a gateway's header. None if it is invalid.
    pub fn parse(listed: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(listed).ok().filter(|text| text.len() <= MAX_TOPICS_BYTES);
        let names = text.into_iter().flat_map(|text| text.split(',')).map(str::trim_ascii);
        let patterns: Vec<Pattern> = names.map(Pattern::parse).collect::<Option<_>>()?;
        (!patterns.is_empty()).then_some(Self(patterns))
    }

    /// Whether the list has `topic`. Does not check that the topic exists.
    pub(crate) fn contains(&self, topic: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(topic))
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let (name, pattern): (&str, fn(Box<str>) -> Self) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, Self::Prefix),
            None if text.is_empty() => return None,
            None => (text, Self::Exact),
        };
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        is_name.then(|| pattern(name.into()))
    }

    fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *topic,
            Self::Prefix(prefix) => topic.starts_with(&**prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(Topics::default().contains("any"));
    }

    #[test]
    fn invalid_lists_are_none() {
        for topics in ["", ",", "a,", "a b", "a*b", "**", "é", &"a".repeat(8193)] {
            assert_eq!(Topics::parse(topics.as_bytes()), None, "{topics}");
        }
    }
}

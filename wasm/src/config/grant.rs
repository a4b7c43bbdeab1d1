//! The rights of a route's clients.

use sluicegate_protocol::metadata;
use sluicegate_protocol::metadata::MAX_TOPICS_BYTES;

use super::name::is_topic;
use super::reader::Reader;

/// The rights of a route's clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whether they can read.
    pub read: bool,
    /// Whether they can write.
    pub write: bool,
    /// The topics that they can use, as the bridge's header lists them; None for all.
    pub topics: Option<String>,
}

impl Grant {
    /// The grant of a route that allows reads by default and writes on request.
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self { read: reader.flag_or("read", true), write: reader.flag("write"), topics: topics(reader) }
    }

    /// The grant of a route that only writes: to `topic`, or to any of its topics if requests can name one.
    pub(super) fn write(reader: &mut Reader, topic: Option<&str>, names_its_own: bool) -> Self {
        let topics = topics(reader);
        if let (Some(topic), Some(topics)) = (topic, &topics)
            && !topics.split(',').any(|pattern| matches(pattern, topic))
        {
            reader.mistake("topics", &format!("must cover the route's topic ({topic})"));
        }
        let only = topic.filter(|_| !names_its_own).map(str::to_owned);
        Self { read: false, write: true, topics: only.or(topics) }
    }

    /// The headers that tell the bridge.
    pub(super) fn metadata(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let read = (!self.read).then_some((metadata::READ, "false"));
        let write = self.write.then_some((metadata::WRITE, "true"));
        let topics = self.topics.as_deref().map(|topics| (metadata::TOPICS, topics));
        [read, write, topics].into_iter().flatten()
    }
}

fn topics(reader: &mut Reader) -> Option<String> {
    let topics = reader.strings("topics")?;
    let is_pattern = |topic: &String| is_topic(topic) || topic.strip_suffix('*').is_some_and(is_prefix);
    if topics.is_empty() || !topics.iter().all(is_pattern) {
        reader.mistake("topics", "must be topics such as \"orders\" or prefixes such as \"public.*\"");
    }
    let joined = topics.join(",");
    if joined.len() > MAX_TOPICS_BYTES {
        reader.mistake("topics", &format!("must be at most {MAX_TOPICS_BYTES} bytes in all"));
    }
    Some(joined)
}

fn is_prefix(text: &str) -> bool {
    text.is_empty() || text == "." || text == ".." || is_topic(text)
}

fn matches(pattern: &str, topic: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => topic.starts_with(prefix),
        None => topic == pattern,
    }
}

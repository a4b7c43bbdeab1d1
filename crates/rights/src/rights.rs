//! The topics that one client can read and write.

use std::sync::Arc;

use crate::topics::Topics;

/// The topics that a client can read and write. A right that is None grants nothing, whatever the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// The topics to read.
    pub read: Option<Topics>,
    /// The topics to write to.
    pub write: Option<Topics>,
}

impl Rights {
    /// Every topic.
    pub fn all() -> Self {
        Self { read: Some(Topics::default()), write: Some(Topics::default()) }
    }

    /// The rights that both grant.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        let both = |one: Option<Topics>, other: Option<Topics>| Some(one?.and(other?));
        Self { read: both(self.read, others.read), write: both(self.write, others.write) }
    }

    /// The same without the bridge's own topic, of which there is one.
    #[must_use]
    pub fn except(self, topic: &Arc<str>) -> Self {
        let except = |topics: Option<Topics>| Some(topics?.except(Arc::clone(topic)));
        Self { read: except(self.read), write: except(self.write) }
    }

    /// The same without topics whose names begin so, unless they are listed, by name or by a prefix.
    #[must_use]
    pub fn without_internal(self, internal: &'static [&'static str]) -> Self {
        let without = |topics: Option<Topics>| Some(topics?.without_internal(internal));
        Self { read: without(self.read), write: without(self.write) }
    }

    /// Whether the client can read this topic, or some of its records.
    pub fn reads(&self, topic: &str) -> bool {
        self.read.as_ref().is_some_and(|topics| topics.contains(topic))
    }

    /// Whether the client can write to this topic, or some records.
    pub fn writes(&self, topic: &str) -> bool {
        self.write.as_ref().is_some_and(|topics| topics.contains(topic))
    }
}

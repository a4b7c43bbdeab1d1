//! The topics that one client can read and write, and the groups in which it can consume.

use std::sync::Arc;

use crate::topics::Topics;

/// The topics that a client can read and write. A right that is None grants nothing, whatever the topic; by default, all
/// are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// The topics to read.
    pub read: Option<Topics>,
    /// The topics to write to.
    pub write: Option<Topics>,
    /// The groups in which it can consume topics that it can read, by name as topics are.
    pub consume: Option<Topics>,
}

impl Rights {
    /// Every topic, in every group.
    pub fn all() -> Self {
        let [read, write, consume] = [(); 3].map(|()| Some(Topics::default()));
        Self { read, write, consume }
    }

    /// The rights that both grant.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        let both = |one: Option<Topics>, other: Option<Topics>| Some(one?.and(other?));
        Self {
            read: both(self.read, others.read),
            write: both(self.write, others.write),
            consume: both(self.consume, others.consume),
        }
    }

    /// The same without the bridge's own topic, of which there is one.
    #[must_use]
    pub fn except(self, topic: &Arc<str>) -> Self {
        let except = |topics: Option<Topics>| Some(topics?.except(Arc::clone(topic)));
        Self { read: except(self.read), write: except(self.write), ..self }
    }

    /// The same without topics whose names begin so, unless they are listed, by name or by a prefix.
    #[must_use]
    pub fn without_internal(self, internal: &'static [&'static str]) -> Self {
        let without = |topics: Option<Topics>| Some(topics?.without_internal(internal));
        Self { read: without(self.read), write: without(self.write), ..self }
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

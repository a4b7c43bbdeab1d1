//! Tells apart what filters and rows leave of a topic.
//!
//! A client that comes back with positions has what its filters and rows of that time left of a table. If they are
//! others now, the positions say nothing: records that it may not see any more stay with it, and those that it may see
//! now are missing. No bridge remembers clients, and no client knows its rows. So the id of a topic that a table tells its
//! client is combined with a view, and an id that comes back is one of the topic only with the same view.

use std::hash::{DefaultHasher, Hash, Hasher};

use sluicegate_rights::Rows;

use crate::filter::Filters;

/// What filters and rows leave of a topic; by default, all records with keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct View(u64);

impl View {
    /// The same on each bridge of a version.
    pub(crate) fn new(filters: &Filters, rows: &Rows) -> Self {
        if rows.is_all() && filters.are_all_keys() {
            return Self::default();
        }
        let mut hasher = DefaultHasher::new();
        (filters, rows).hash(&mut hasher);
        Self(hasher.finish())
    }

    /// Whether it leaves out some of them.
    pub(crate) fn is_part(self) -> bool {
        self != Self::default()
    }

    /// The id that the client is told for the topic's. There is one even if the cluster tells none.
    pub(crate) fn told(self, topic_id: Option<u128>) -> Option<u128> {
        match self.is_part() {
            true => Some(topic_id.unwrap_or_default() ^ u128::from(self.0)),
            false => topic_id,
        }
    }

    /// The topic's id for the one that the client was told; of another view, it is that of no topic.
    pub(crate) fn known(self, told: u128) -> Option<u128> {
        Some(told ^ u128::from(self.0)).filter(|topic_id| *topic_id != 0)
    }
}

//! Tells apart the parts of a topic that filters and rows leave.
//!
//! A client that comes back with positions has what its filters and rows of that time left of a table. If they are
//! others now, the positions say nothing: records that it may not see any more stay with it, and those that it may see
//! now are missing. No bridge remembers clients, and no client knows its rows. So the id of a topic that a table tells its
//! client is combined with a view, and an id that comes back is one of the topic only with the same view.

use std::hash::{DefaultHasher, Hash, Hasher};

use sluicegate_backend::command::RecordFilter;
use sluicegate_rights::Rows;

use crate::filter::Filters;

/// The part of a topic that filters and rows leave; by default, all records with keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct View(u64);

impl View {
    /// The same on each bridge of a version, in whatever order filters and rows are.
    pub(crate) fn new(filters: &Filters, rows: &Rows) -> Self {
        let filters = set(filters.each().filter(|filter| **filter != RecordFilter::default()));
        let groups = set(rows.groups().map(set));
        if filters.is_empty() && groups.is_empty() {
            return Self::default();
        }
        Self(hash((filters, groups)))
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

/// Hashes without order and repetition.
fn set(members: impl IntoIterator<Item = impl Hash>) -> Vec<u64> {
    let mut hashes: Vec<u64> = members.into_iter().map(hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::testing::records::{keys, rows};

    fn filters(filters: &[(&str, &[&'static str])]) -> Filters {
        let filter = |(header, equals): &(&str, &[&'static str])| RecordFilter {
            header: Some((*header).to_owned()),
            equals: equals.iter().map(|value| Bytes::from(*value)).collect(),
            ..Default::default()
        };
        Filters::new(filters.iter().map(filter).collect()).unwrap()
    }

    /// Claims have no order, and neither have filters.
    #[test]
    fn order_and_repetition_make_no_difference() {
        let view = |row: &[&str], filter: &[(&str, &[&'static str])]| {
            View::new(&filters(filter), &rows(row.iter().map(|prefix| keys(prefix))))
        };
        let (a, b) = (("a", &["1", "2"][..]), ("b", &["3"][..]));
        assert_eq!(view(&["x", "y"], &[a, b]), view(&["y", "x", "y"], &[b, ("a", &["2", "1", "2"]), b]));
        let all = [view(&["x"], &[a]), view(&["y"], &[a]), view(&["x"], &[b]), view(&["x", "y"], &[a, b])];
        for (number, one) in all.iter().enumerate() {
            assert!(one.is_part() && !all[..number].contains(one), "{number}");
        }
        assert!(!View::new(&Filters::default().with_keys(), &Rows::default()).is_part());
        assert!(View::new(&Filters::default(), &Rows::none()).is_part());
    }
}

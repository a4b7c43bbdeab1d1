//! The request of a subscription's client, and its messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sluicegate_backend::{Chunk, CommandError, Fault, Fetch, System};
use sluicegate_fair_share::ClientKey;
use sluicegate_rights::{Rows, Topics};

use super::held_keys::{HeldKeys, NoRoom};
use super::item::{Item, Place};
use super::lag::Selection;
use super::selections::Selections;
use super::subscribe::{Subscribe, SubscribedTopic};
use super::view::View;
use crate::filter::select_rows;

/// Request and messages, which all cursors of a subscription share.
pub(super) struct Client {
    pub(super) request: Subscribe,
    /// The cluster's, for the words of errors.
    pub(super) system: System,
    /// Sent before records.
    pub(super) items: VecDeque<Item>,
    /// Whether the client knows of an outage. It is told of one at a time.
    pub(super) knows_outage: bool,
    /// The work to leave out records since it was counted to the client, in bytes.
    scanned: usize,
    /// The records of the last read, until they are counted. None: there were none.
    selection: Option<Selection>,
    topics: BTreeMap<Arc<str>, Topic>,
    selections: Arc<Selections>,
    /// The keys that the client of a table has. None: whether a record is for the client depends on its key alone.
    held: Option<HeldKeys>,
    /// Whether the table has to begin anew: the log has lost records, or has others in their place, the client was away
    /// for too long, or its rows are other ones.
    pub(super) is_lost: bool,
}

struct Topic {
    id: Option<u128>,
    partitions: BTreeSet<i32>,
    /// The records that the client is granted.
    rows: Rows,
    /// Of a table: the part that filters and rows leave.
    view: View,
}

impl Client {
    pub(super) fn new(request: Subscribe, system: System, selections: Arc<Selections>) -> Self {
        Self {
            request,
            system,
            items: VecDeque::new(),
            knows_outage: false,
            scanned: 0,
            selection: None,
            topics: BTreeMap::new(),
            selections,
            held: None,
            is_lost: false,
        }
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.request.table.is_some()
    }

    /// Remembers which keys the client has from now on.
    pub(super) fn hold(&mut self, held: HeldKeys) {
        self.held = Some(held);
    }

    /// Tells the client of topics, or of more partitions of them.
    pub(super) fn add(&mut self, added: Vec<SubscribedTopic>) {
        self.know(&added);
        self.items.push_back(Item::Subscribed(self.told(added)));
    }

    /// Tells the client of topics whose snapshot follows.
    pub(super) fn add_tables(&mut self, added: Vec<SubscribedTopic>) {
        self.know(&added);
        self.items.push_back(Item::Snapshot(self.told(added)));
    }

    /// Tells the client where a partition begins that it knows already.
    pub(super) fn tell_begin(&mut self, Place { topic, partition, offset }: Place) {
        let topic_id = self.topics.get(&topic).and_then(|known| known.id);
        let begun = vec![SubscribedTopic { topic, topic_id, partitions: vec![(partition, offset)] }];
        self.items.push_back(Item::Subscribed(self.told(begun)));
    }

    /// Whether the client is granted all records of a topic.
    pub(super) fn sees_all(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.rows.is_all())
    }

    /// Knows topics, or more partitions of them, without records that the client is granted.
    pub(super) fn know(&mut self, added: &[SubscribedTopic]) {
        for SubscribedTopic { topic, topic_id, partitions } in added {
            let unknown = || Topic {
                id: *topic_id,
                partitions: BTreeSet::new(),
                rows: Rows::none(),
                view: View::default(),
            };
            let known = self.topics.entry(Arc::clone(topic)).or_insert_with(unknown);
            known.partitions.extend(partitions.iter().map(|(partition, _)| partition));
        }
    }

    /// Tells the client that a snapshot of these topics will follow, and nothing else before.
    pub(super) fn lose(&mut self, partitions: BTreeMap<Arc<str>, Vec<(i32, i64)>>) {
        let topic = |(topic, partitions): (Arc<str>, _)| SubscribedTopic {
            topic_id: self.topics.get(&topic).and_then(|known| known.id),
            topic,
            partitions,
        };
        let lost = partitions.into_iter().map(topic).collect();
        self.items = VecDeque::from([Item::Snapshot(self.told(lost))]);
    }

    /// The same with ids as the client knows them.
    fn told(&self, mut topics: Vec<SubscribedTopic>) -> Vec<SubscribedTopic> {
        for SubscribedTopic { topic, topic_id, .. } in &mut topics {
            let view = self.topics.get(topic).map_or(View::default(), |topic| topic.view);
            *topic_id = view.told(*topic_id);
        }
        topics
    }

    /// Gives the client the records of `readable` topics, and no others.
    pub(super) fn grant(&mut self, readable: Option<&Topics>) {
        for (name, topic) in &mut self.topics {
            topic.rows = granted(readable, name);
            if self.request.table.is_some() {
                let view = View::new(&self.request.filters, &topic.rows);
                self.is_lost |= std::mem::replace(&mut topic.view, view) != view;
            }
        }
    }

    /// New ones among a topic's `partitions`, from their beginning. None if all are known.
    pub(super) fn growth(&self, topic: &Arc<str>, partitions: &[i32]) -> Option<SubscribedTopic> {
        let known = self.topics.get(topic)?;
        let new = partitions.iter().filter(|partition| !known.partitions.contains(partition));
        let partitions: Vec<(i32, i64)> = new.map(|new| (*new, 0)).collect();
        let grown = SubscribedTopic { topic: Arc::clone(topic), topic_id: known.id, partitions };
        (!grown.partitions.is_empty()).then_some(grown)
    }

    /// Whether the topic of this id is not the one that was subscribed to: offsets would mean other records.
    pub(super) fn is_other_topic(&mut self, topic: &str, id: Option<u128>) -> bool {
        let (Some(topic), Some(now)) = (self.topics.get_mut(topic), id) else { return false };
        *topic.id.get_or_insert(now) != now
    }

    /// The fetch of a delivery with room for `max_bytes`.
    pub(super) fn fetch(&self, offset: i64, max_bytes: usize) -> Fetch {
        Fetch {
            offset,
            max_bytes: max_bytes.min(self.request.max_bytes),
            wait: Duration::ZERO,
            min_bytes: 0,
            max_records: self.request.max_records,
            fill: false,
            committed: self.request.committed,
            decode: self.request.decode,
            source: self.request.client,
        }
    }

    /// The records of a log, of those that were read, that the client gets. `is_shared`: other clients get the same ones.
    pub(super) fn select(&mut self, place: &Place, read: Chunk, is_shared: bool) -> Chunk {
        let none = Rows::none();
        let rows = self.topics.get(&place.topic).map_or(&none, |topic| &topic.rows);
        let all = self.held.is_some().then(|| read.messages.clone());
        let read_count = read.count;
        let (granted, work) = match is_shared {
            true => self.selections.select(read, rows),
            false => select_rows(read, rows),
        };
        let (granted_count, filters) = (granted.count, &self.request.filters);
        let (wanted, more_work) = match is_shared {
            true => self.selections.filter(granted, filters),
            false => filters.select(granted),
        };
        self.selection = (read_count > 0).then(|| Selection {
            topic: Arc::clone(&place.topic),
            delivered: wanted.count,
            hidden_by_rows: read_count.saturating_sub(granted_count),
            hidden_by_filters: granted_count.saturating_sub(wanted.count),
        });
        self.scanned = self.scanned.saturating_add(work).saturating_add(more_work);
        let (Some(held), Some(all)) = (&mut self.held, all) else { return wanted };
        self.scanned = self.scanned.saturating_add(all.len());
        let (next, ends) = (wanted.next_offset, wanted.ends);
        held.select((&place.topic, place.partition), &all, wanted).unwrap_or_else(|NoRoom| {
            self.items.push_back(Item::Ended { place: place.clone(), error: too_many_keys() });
            Chunk::nothing(next, ends)
        })
    }

    /// The records of the last read, once.
    pub(super) fn take_selection(&mut self) -> Option<Selection> {
        self.selection.take()
    }

    /// The client and its work, which is to be counted before it reads again. None: there is none, or items are told
    /// before.
    pub(super) fn uncounted(&self) -> Option<(ClientKey, usize)> {
        let is_due = self.items.is_empty() && self.scanned > 0;
        is_due.then_some((self.request.client, self.scanned))
    }

    /// The work was counted.
    pub(super) fn counted(&mut self) {
        self.scanned = 0;
    }
}

/// The records of a topic that a client is granted of `readable` ones.
pub(super) fn granted(readable: Option<&Topics>, topic: &str) -> Rows {
    readable.and_then(|readable| readable.rows(topic)).unwrap_or_else(Rows::none)
}

/// The error of a table whose client has more keys than there is room for.
fn too_many_keys() -> CommandError {
    let message = "too many keys in this client's tables with filters by header or value, or rows by header: filter by \
                   key as well";
    CommandError::new(Fault::Rejected, 0, message)
}

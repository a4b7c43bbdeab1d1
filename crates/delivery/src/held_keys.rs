//! The keys that a table's client has, where its filters or rows depend on more than the key.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use sluicegate_backend::{Chunk, System, table_entry};
use sluicegate_fair_share::{Holder, Permit, Permits};
use sluicegate_table::{Entry, FirstEntry};

/// The keys that a client has. It is told once that the newest record of a key is not for it any more.
///
/// Keys are known by 64-bit hashes of a secret seed: two of a client's million keys have the same one in a table of 40
/// million such clients.
#[derive(Debug)]
pub(super) struct HeldKeys {
    system: System,
    first: FirstEntry,
    hasher: RandomState,
    keys: HashSet<u64>,
    limit: Arc<Permits>,
    holder: Holder,
    permits: Vec<Permit>,
    /// The keys that the permits have room for.
    room: usize,
}

/// There is no room for more keys.
#[derive(Debug)]
pub(super) struct NoRoom;

impl HeldKeys {
    /// No keys yet. All of them count to the client in `limit`, in bytes.
    pub(super) fn new(system: System, limit: Arc<Permits>, holder: Holder) -> Self {
        Self {
            system,
            first: system.first_entry,
            hasher: RandomState::new(),
            keys: HashSet::new(),
            limit,
            holder,
            permits: Vec::new(),
            room: 0,
        }
    }

    /// The records for the client, of those that were `read` from a partition, of which these are `selected`: them, and
    /// removals of the keys that it has of others.
    pub(super) fn select(&mut self, log: (&str, i32), read: &[u8], selected: Chunk) -> Result<Chunk, NoRoom> {
        let (mut out, mut count) = (Vec::with_capacity(selected.messages.len()), 0_usize);
        let mut wanted: &[u8] = &selected.messages;
        let mut rest = read;
        while let Some((record, Entry { position, key, removes, .. }, after)) = split(self.first, rest) {
            rest = after;
            let is_wanted = split(self.first, wanted).filter(|(_, entry, _)| entry.position == position);
            if let Some((_, _, after)) = is_wanted {
                wanted = after;
            }
            let Some(key) = key else { continue };
            let hash = self.hasher.hash_one((log, key));
            if is_wanted.is_some() && !removes {
                self.insert(hash)?;
                out.extend_from_slice(record);
            } else if self.keys.remove(&hash) {
                match is_wanted {
                    Some(_) => out.extend_from_slice(record),
                    None => table_entry::put_removal(self.system, record, &mut out),
                }
            } else {
                continue;
            }
            count = count.saturating_add(1);
        }
        Ok(Chunk { messages: out.into(), count, ..selected })
    }

    fn insert(&mut self, hash: u64) -> Result<(), NoRoom> {
        if self.keys.len() >= self.room && !self.keys.contains(&hash) {
            let permit = self.limit.try_acquire(self.holder, KEYS.saturating_mul(KEY_BYTES));
            self.permits.push(permit.ok_or(NoRoom)?);
            self.room = self.room.saturating_add(KEYS);
        }
        self.keys.insert(hash);
        Ok(())
    }
}

/// The first record, and those after it.
fn split(first: FirstEntry, records: &[u8]) -> Option<(&[u8], Entry<'_>, &[u8])> {
    let entry = first(records)?;
    let (record, rest) = records.split_at_checked(entry.len)?;
    Some((record, entry, rest))
}

/// Keys are counted in groups.
const KEYS: usize = 1024;
/// The memory of a key: its hash and a byte, in a set that is half empty when it has just grown.
const KEY_BYTES: usize = 20;

#[cfg(test)]
mod tests {
    use sluicegate_fair_share::{ClientKey, Ledger};
    use sluicegate_protocol::KafkaMessage;
    use sluicegate_shared_log::Ends;

    use super::*;
    use crate::testing::records::{decode, encode, fetched};

    fn message(offset: i64, key: &str, value: Option<&'static str>) -> KafkaMessage {
        let (key, value) = (Some(key.to_owned().into()), value.map(Into::into));
        KafkaMessage { offset, key, value, ..Default::default() }
    }

    fn select(held: &mut HeldKeys, read: &[KafkaMessage], wanted: &[i64]) -> Vec<(i64, Option<String>)> {
        let mut selected = read.to_vec();
        selected.retain(|message| wanted.contains(&message.offset));
        let got = held.select(("t", 0), &encode(read), fetched(&selected, 0)).unwrap();
        let decoded = decode(&got.messages);
        assert_eq!(decoded.len(), got.count);
        let text = |value: bytes::Bytes| String::from_utf8(value.into()).unwrap();
        decoded.into_iter().map(|message| (message.offset, message.value.map(text))).collect()
    }

    #[test]
    fn key_that_matches_no_more_is_removed_once() {
        let limit = Permits::new(Ledger::of_one_cluster(1 << 20));
        let mut held = HeldKeys::new(System::Kafka, limit, Holder::default());
        let open = message(1, "a", Some("open"));
        assert_eq!(select(&mut held, &[open], &[1]), [(1, Some("open".to_owned()))]);
        let closed = [message(2, "a", Some("closed")), message(3, "a", Some("gone")), message(4, "b", None)];
        assert_eq!(select(&mut held, &closed, &[]), [(2, None)]);
        let again = [message(5, "a", Some("open")), message(6, "a", None)];
        assert_eq!(select(&mut held, &again, &[5, 6]), [(5, Some("open".to_owned())), (6, None)]);
        assert_eq!(select(&mut held, &[message(7, "a", None)], &[7]), [], "the client has no such key");
        // Keys of partitions are apart.
        assert_eq!(select(&mut held, &[message(8, "a", Some("x"))], &[8]).len(), 1);
        let read = encode(&[message(1, "a", Some("y"))]);
        let nothing = Chunk::nothing(2, Ends::UNKNOWN);
        assert_eq!(held.select(("t", 1), &read, nothing).unwrap().count, 0);
    }

    /// The number of keys that fit.
    fn fill(held: &mut HeldKeys) -> usize {
        let mut insert = |number: i64| {
            let read = [message(number, &number.to_string(), Some("x"))];
            held.select(("t", 0), &encode(&read), fetched(&read, 0)).is_ok()
        };
        (0..).take_while(|number| insert(*number)).count()
    }

    #[test]
    fn greedy_client_leaves_room_for_keys_of_others() {
        let limit = Permits::new(Ledger::of_one_cluster(16 * KEYS * KEY_BYTES));
        let table = |address: &[u8]| {
            HeldKeys::new(System::Kafka, Arc::clone(&limit), Holder::from(ClientKey::parse(address)))
        };
        let mut tables = [(); 4].map(|()| table(b"192.0.2.1"));
        let held: usize = tables.iter_mut().map(fill).sum();
        assert_eq!(held, 12 * KEYS, "three quarters");
        assert_eq!(fill(&mut table(b"192.0.2.2")), 3 * KEYS);
        drop(tables);
        assert_eq!(limit.used(), 0);
    }
}

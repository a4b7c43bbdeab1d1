//! Random logs, cut at every record, beside a map that is filled in order.

use proptest::prelude::*;

use super::*;

/// A record of a log: its key, and its value or none.
#[derive(Debug, Clone)]
struct Record {
    key: Option<u8>,
    value: Option<Vec<u8>>,
}

/// Its length, its position, its key and its value.
fn encode(position: i64, Record { key, value }: &Record) -> Vec<u8> {
    let mut entry = vec![u8::from(key.is_some()), key.unwrap_or_default(), u8::from(value.is_some())];
    entry.extend(position.to_le_bytes());
    entry.extend(value.iter().flatten());
    let len = u16::try_from(entry.len()).unwrap().to_le_bytes();
    [&len[..], &entry].concat()
}

fn first(bytes: &[u8]) -> Option<Entry<'_>> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let entry = rest.get(..u16::from_le_bytes(*len).into())?;
    let ([has_key, _, has_value], rest) = entry.split_first_chunk::<3>()?;
    let (position, _) = rest.split_first_chunk::<8>()?;
    Some(Entry {
        position: i64::from_le_bytes(*position),
        len: entry.len() + 2,
        key: (*has_key == 1).then_some(&entry[1..2]),
        removes: *has_value == 0,
    })
}

/// A table whose segments have a few entries each.
fn small() -> Table {
    Table { segment_bytes: 100, ..Table::new(0, first) }
}

/// The newest records of each key before `end`, as a client holds them.
fn replay(log: &[(i64, Record)], start: i64, end: i64) -> BTreeMap<u8, (i64, Vec<u8>)> {
    let mut map = BTreeMap::new();
    for (position, Record { key, value }) in log.iter().filter(|(position, _)| *position < end) {
        match (key, value) {
            (Some(key), Some(value)) => drop(map.insert(*key, (*position, value.clone()))),
            (Some(key), None) => drop(map.remove(key)),
            (None, _) => {}
        }
    }
    map.retain(|_, (position, _)| *position >= start);
    map
}

/// The entries of all pages, which are in the order of the log.
fn pages(table: &Table, end: i64, max_bytes: usize) -> Vec<Vec<u8>> {
    let (mut from, mut entries) = (i64::MIN, Vec::new());
    while from < end {
        let page = table.page(from, end, max_bytes, usize::MAX);
        assert!(page.next > from, "no progress");
        assert!(page.entries.len() <= max_bytes || page.count == 1);
        let (mut rest, mut count) = (&page.entries[..], 0);
        while let Some(entry) = first(rest) {
            assert!((from..page.next).contains(&entry.position));
            entries.push(rest[..entry.len].to_vec());
            (rest, count) = (&rest[entry.len..], count + 1);
        }
        assert_eq!((rest.len(), count), (0, page.count));
        from = page.next;
    }
    assert!(entries.is_sorted_by_key(|entry| first(entry).unwrap().position));
    entries
}

fn check(table: &Table, want: &BTreeMap<u8, (i64, Vec<u8>)>, max_bytes: usize) {
    let encoded = |(key, (position, value)): (&u8, &(i64, Vec<u8>))| {
        encode(*position, &Record { key: Some(*key), value: Some(value.clone()) })
    };
    let mut all: Vec<Vec<u8>> = want.iter().map(encoded).collect();
    all.sort_by_key(|entry| first(entry).unwrap().position);
    assert_eq!(pages(table, table.next(), max_bytes), all);
    assert_eq!((table.len(), table.is_empty()), (want.len(), want.is_empty()));
    for key in 0..=u8::MAX {
        assert_eq!(table.get(&[key]), want.get_key_value(&key).map(encoded).as_deref(), "{key}");
    }
}

fn records() -> impl Strategy<Value = Vec<(i64, Record)>> {
    // Few keys are replaced often, many live long.
    let key = prop_oneof![4 => 0..4_u8, 2 => any::<u8>()];
    let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..20));
    let record = (prop::option::weighted(0.9, key), value, 1..3_i64);
    prop::collection::vec(record, 0..120).prop_map(|records| {
        let mut position = 0;
        let place = |(key, value, gap): (Option<u8>, Option<Vec<u8>>, i64)| {
            position += gap;
            (position, Record { key, value })
        };
        records.into_iter().map(place).collect()
    })
}

proptest! {
    // Each looks at up to 120 states of a table.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn table_is_the_replay_after_every_record(log in records(), max_bytes in 1..200_usize) {
        let mut table = small();
        for (position, record) in &log {
            table.apply(&encode(*position, record), position + 1);
            check(&table, &replay(&log, 0, position + 1), max_bytes);
        }
        let skipped = log.iter().filter(|(_, record)| record.key.is_none()).count();
        prop_assert_eq!(table.skipped(), skipped as u64);
    }

    #[test]
    fn reads_that_overlap_change_nothing(log in records(), cuts in prop::collection::vec((0..120_usize, 0..20_usize), 1..20)) {
        let (mut table, mut read) = (small(), 0);
        for (to, back) in cuts.into_iter().chain([(usize::MAX, 0)]) {
            let to = to.min(log.len()).max(read);
            let entries: Vec<u8> =
                log[read.saturating_sub(back)..to].iter().flat_map(|(position, record)| encode(*position, record)).collect();
            table.apply(&entries, log[..to].last().map_or(0, |(position, _)| position + 1));
            read = to;
        }
        check(&table, &replay(&log, 0, i64::MAX), 100);
    }

    /// A client that reads pages while the table goes on, and then the log from the end on, has the replay.
    #[test]
    fn pages_of_a_table_that_goes_on_lead_to_the_replay(log in records(), begun in 0..120_usize, step in 1..4_usize) {
        let mut table = small();
        let begun = begun.min(log.len());
        let mut rest = log[begun..].iter();
        for (position, record) in &log[..begun] {
            table.apply(&encode(*position, record), position + 1);
        }
        let (end, mut from, mut held) = (table.next(), i64::MIN, BTreeMap::new());
        while from < end {
            let page = table.page(from, end, 60, usize::MAX);
            let mut entries = &page.entries[..];
            while let Some(entry) = first(entries) {
                held.insert(entry.key.unwrap()[0], entries[..entry.len].to_vec());
                entries = &entries[entry.len..];
            }
            from = page.next;
            for (position, record) in rest.by_ref().take(step) {
                table.apply(&encode(*position, record), position + 1);
            }
        }
        for (position, record) in log.iter().filter(|(position, _)| *position >= end) {
            match record {
                Record { key: Some(key), value: Some(_) } => drop(held.insert(*key, encode(*position, record))),
                Record { key: Some(key), value: None } => drop(held.remove(key)),
                Record { key: None, .. } => {}
            }
        }
        let want: BTreeMap<u8, Vec<u8>> = replay(&log, 0, i64::MAX).into_iter().map(|(key, (position, value))| {
            (key, encode(position, &Record { key: Some(key), value: Some(value) }))
        }).collect();
        prop_assert_eq!(held, want);
    }

    #[test]
    fn entries_before_the_start_are_removed(log in records(), start in 0..200_i64) {
        let mut table = small();
        for (position, record) in &log {
            table.apply(&encode(*position, record), position + 1);
        }
        table.remove_before(start);
        check(&table, &replay(&log, start, i64::MAX), 100);
    }
}

/// Memory follows what is alive, however long the log is.
#[test]
fn memory_is_that_of_the_newest_entries() {
    let mut table = Table::new(0, first);
    let record = |key: u8| Record { key: Some(key), value: Some(vec![b'v'; 100]) };
    for position in 0..200_000_i64 {
        // A few keys live for ever, between others that change all the time.
        let key = if position % 10_000 == 0 {
            u8::try_from(position / 10_000).unwrap()
        } else {
            200 + (position % 50) as u8
        };
        table.apply(&encode(position, &record(key)), position + 1);
    }
    assert_eq!(table.len(), 70);
    assert!(table.memory() < 4 * 1024 * 1024, "{}", table.memory());
}

#[test]
fn key_costs_less_than_its_share_of_a_hundred_bytes() {
    const KEYS: u32 = 200_000;
    let mut table = Table::new(0, |bytes| {
        let (key, rest) = bytes.split_first_chunk::<4>()?;
        let position = i64::from(u32::from_le_bytes(*key));
        (rest.len() >= 96).then_some(Entry { position, len: 100, key: Some(&bytes[..4]), removes: false })
    });
    for key in 0..KEYS {
        let mut entry = vec![0; 100];
        entry[..4].copy_from_slice(&key.to_le_bytes());
        table.apply(&entry, i64::from(key) + 1);
    }
    assert_eq!(table.len(), KEYS as usize);
    let beside_records = table.memory() / KEYS as usize - 100;
    assert!(beside_records < 60, "{beside_records} bytes for each key");
}

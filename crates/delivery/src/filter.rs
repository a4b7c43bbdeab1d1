//! Leaves out the records that a client does not want, or is not granted.
//!
//! [`value`] is about parts of values: [`json`] finds them, [`decimal`] compares their numbers.

mod decimal;
mod json;
mod value;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use sluicegate_backend::Chunk;
use sluicegate_backend::command::RecordFilter;
use sluicegate_protocol::Header;
use sluicegate_protocol::wire::number::{MESSAGE_HEADERS, MESSAGE_KEY, MESSAGE_VALUE, MESSAGES};
use sluicegate_protocol::wire::{self, Fields, Value};
use sluicegate_rights::Rows;
use sluicegate_rights::row::Marks;

pub use self::json::MAX_JSON_DEPTH;
use self::value::ValueFilter;

/// Records match if they match every filter. Without filters, all do.
///
/// The values of each are sorted, so that a comparison costs little however many there are, and of prefixes only those
/// are kept that begin with no other one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    filters: Arc<[Filter]>,
    hash: u64,
}

#[derive(Debug, Clone, Default)]
struct Filter {
    of: RecordFilter,
    /// Of a part of the value.
    value: Option<ValueFilter>,
}

impl Filters {
    /// # Errors
    /// One of them is invalid, or they are too large together; says what was expected.
    pub(crate) fn new(filters: Vec<RecordFilter>) -> Result<Self, String> {
        let bytes = filters.iter().map(bytes_of).fold(0, usize::saturating_add);
        if bytes > MAX_BYTES {
            return Err(format!("{bytes} bytes in filters: expected at most {MAX_BYTES}"));
        }
        let filter = |(index, mut of): (usize, RecordFilter)| {
            of.equals.sort_unstable();
            of.equals.dedup();
            of.prefixes.sort_unstable();
            of.prefixes.dedup_by(|next, kept| next.starts_with(kept));
            let value = of.value.as_ref().map(|part| ValueFilter::new(&of, part)).transpose();
            let value = value.map_err(|error| format!("filters[{index}]: {error}"))?;
            Ok(Filter { of, value })
        };
        Ok(Self::of(filters.into_iter().enumerate().map(filter).collect::<Result<_, String>>()?))
    }

    fn of(filters: Arc<[Filter]>) -> Self {
        let mut hasher = DefaultHasher::new();
        filters.iter().for_each(|filter| filter.of.hash(&mut hasher));
        Self { filters, hash: hasher.finish() }
    }

    /// The same for records of a table, which have keys.
    pub(crate) fn with_keys(&self) -> Self {
        Self::of(self.filters.iter().cloned().chain([Filter::default()]).collect())
    }

    /// The number of those that clients see, without that of tables.
    pub(crate) fn count(&self, is_table: bool) -> usize {
        self.filters.len().saturating_sub(usize::from(is_table))
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &RecordFilter> {
        self.filters.iter().map(|filter| &filter.of)
    }

    /// Whether all records match.
    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether records of the same key can differ in whether they match.
    pub(crate) fn look_beyond_keys(&self) -> bool {
        self.each().any(|filter| filter.header.is_some() || filter.value.is_some())
    }

    /// Whether they are about values, which takes more work than keys and headers.
    pub(crate) fn look_at_values(&self) -> bool {
        self.each().any(|filter| filter.value.is_some())
    }

    /// Their memory in bytes, estimated.
    pub(crate) fn memory(&self) -> usize {
        self.each().map(bytes_of).fold(size_of_val(&self.filters[..]), usize::saturating_add)
    }

    /// The records that match, and the work to find them. Values are gone through even if all match.
    pub(crate) fn select(&self, read: Chunk) -> (Chunk, usize) {
        let looks = self.filters.len().saturating_add(usize::from(self.look_at_values()));
        match looks {
            0 => (read, 0),
            looks => select(read, looks, |record| self.match_record(record)),
        }
    }

    fn match_record(&self, record: &Encoded<'_>) -> bool {
        self.filters.iter().all(|Filter { of, value }| match (value, &of.header) {
            (Some(filter), _) => {
                self::value(record.0, MESSAGE_VALUE).is_some_and(|value| filter.matches(value))
            }
            (None, None) => record.key().is_some_and(|key| matches(of, key)),
            (None, Some(wanted)) => record.headers().any(|(name, value)| {
                name == wanted.as_bytes() && value.is_some_and(|value| matches(of, value))
            }),
        })
    }
}

impl PartialEq for Filters {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && (Arc::ptr_eq(&self.filters, &other.filters) || self.each().eq(other.each()))
    }
}

impl Eq for Filters {}

impl Hash for Filters {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

fn bytes_of(RecordFilter { header, value, equals, prefixes }: &RecordFilter) -> usize {
    let values = equals.iter().chain(prefixes).map(Bytes::len);
    let texts = value.iter().flat_map(|part| [Some(&part.pointer), part.above.as_ref(), part.below.as_ref()]);
    let texts = texts.chain([header.as_ref()]).flatten().map(String::len);
    values.chain(texts).fold(0, usize::saturating_add)
}

/// The records that are among `rows`, and the work to find them.
pub(crate) fn select_rows(read: Chunk, rows: &Rows) -> (Chunk, usize) {
    if rows.is_all() {
        return (read, 0);
    }
    match rows.only_header() {
        None => select(read, rows.count(), |record| rows.have(record)),
        Some((name, value)) => {
            let header = EncodedHeader::new(name, value);
            select(read, 1, |record| record.has(&header) || rows.have(record))
        }
    }
}

/// The records with this key.
pub(crate) fn select_key(read: Chunk, key: &[u8]) -> Chunk {
    select(read, 1, |record| record.key() == Some(key)).0
}

/// A header of a row, as records have it.
struct EncodedHeader {
    encoded: Vec<u8>,
    /// The bytes of its name, with which other headers of the name begin.
    name: usize,
}

impl EncodedHeader {
    fn new(name: &str, value: &str) -> Self {
        let named = Header { key: name.to_owned(), value: None }.encode_to_vec();
        let value = Some(value.to_owned().into());
        let encoded = Header { key: name.to_owned(), value }.encode_to_vec();
        Self { encoded, name: named.len() }
    }
}

/// The wanted ones of the records that were read, which are copied only if some are left out. And the work to find them
/// in bytes: each of so many `looks` can go through all headers. One look at what is wanted is free.
fn select(read: Chunk, looks: usize, is_wanted: impl Fn(&Encoded<'_>) -> bool) -> (Chunk, usize) {
    let work = read.messages.len().saturating_mul(looks.max(1));
    let mut fields = Fields::of(&read.messages);
    let (mut selected, mut count) = (Vec::new(), 0);
    // Records from here to the last one that was looked at are wanted, and not copied yet.
    let mut wanted = fields.rest();
    loop {
        let before = fields.rest();
        let record = fields.next().and_then(content);
        if let Some((MESSAGES, record)) = record
            && is_wanted(&Encoded(record))
        {
            count = usize::saturating_add(count, 1);
            continue;
        }
        if before.is_empty() && count == read.count {
            let work = work.saturating_sub(read.messages.len());
            return (read, work);
        }
        let end = wanted.len().saturating_sub(before.len());
        selected.extend_from_slice(wanted.get(..end).unwrap_or_default());
        wanted = fields.rest();
        if before.is_empty() {
            break;
        }
    }
    let work = work.saturating_sub(selected.len());
    // Sessions and shared selections count its length.
    selected.shrink_to_fit();
    (Chunk { count, messages: selected.into(), ..read }, work)
}

/// An encoded record.
#[derive(Clone, Copy)]
struct Encoded<'a>(&'a [u8]);

impl Marks for Encoded<'_> {
    #[inline]
    fn key(&self) -> Option<&[u8]> {
        value(self.0, MESSAGE_KEY)
    }

    #[inline]
    fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.encoded_headers().map(wire::header)
    }
}

impl Encoded<'_> {
    /// Whether it has this header, and no other one of the name. Compares each header at once, which costs half of
    /// reading its name and value.
    fn has(self, EncodedHeader { encoded, name }: &EncodedHeader) -> bool {
        let (mut is_there, named) = (false, encoded.get(..*name).unwrap_or_default());
        let mut headers = self.encoded_headers();
        let is_other = headers.any(|header| {
            let is_equal = header == encoded.as_slice();
            is_there |= is_equal;
            !is_equal && header.starts_with(named)
        });
        is_there && !is_other
    }

    #[inline]
    fn encoded_headers(&self) -> impl Iterator<Item = &[u8]> {
        Fields::of(self.0).filter_map(|field| match field {
            Ok((MESSAGE_HEADERS, Value::Bytes(encoded))) => Some(encoded),
            _ => None,
        })
    }
}

fn matches(RecordFilter { equals, prefixes, .. }: &RecordFilter, value: &[u8]) -> bool {
    equals.is_empty() && prefixes.is_empty() || is_one_of(equals, prefixes, value)
}

/// Only the last prefix that does not sort after the value can be one of it: others that sort between them begin with
/// that one.
fn is_one_of(equals: &[Bytes], prefixes: &[Bytes], value: &[u8]) -> bool {
    let after = prefixes.partition_point(|prefix| **prefix <= *value);
    equals.binary_search_by(|wanted| (**wanted).cmp(value)).is_ok()
        || after
            .checked_sub(1)
            .and_then(|last| prefixes.get(last))
            .is_some_and(|last| value.starts_with(last))
}

fn value(message: &[u8], number: u32) -> Option<&[u8]> {
    Fields::of(message).filter_map(content).find(|(found, _)| *found == number).map(|(_, value)| value)
}

/// A field of bytes. The messages are our own encoding: none is malformed.
fn content<E>(field: Result<(u32, Value<'_>), E>) -> Option<(u32, &[u8])> {
    match field {
        Ok((number, Value::Bytes(content))) => Some((number, content)),
        Ok(_) | Err(_) => None,
    }
}

/// Filters of a subscription or a fetch.
pub const MAX_FILTERS: usize = 16;
/// Values of all of them.
pub const MAX_VALUES: usize = 100;
/// The size of all of them.
const MAX_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use sluicegate_protocol::KafkaMessage;
    use sluicegate_rights::Row;

    use super::*;
    use crate::testing::records::{fetched, keys, offsets, rows};

    fn messages() -> Vec<KafkaMessage> {
        let text = |text: Option<&'static str>| text.map(Bytes::from);
        let header = |key: &str, value| Header { key: key.into(), value: text(value) };
        let message =
            |offset, key, headers| KafkaMessage { offset, key: text(key), headers, ..Default::default() };
        vec![
            message(0, None, vec![]),
            message(1, Some(""), vec![header("type", None)]),
            message(2, Some("a-1"), vec![header("type", Some("new")), header("type", Some("old"))]),
            message(3, Some("b-1"), vec![header("", Some("x"))]),
        ]
    }

    fn filter(header: Option<&str>, equals: &[&'static str], prefixes: &[&'static str]) -> RecordFilter {
        let bytes = |values: &[&'static str]| values.iter().map(|value| Bytes::from(*value)).collect();
        let header = header.map(str::to_owned);
        RecordFilter { header, equals: bytes(equals), prefixes: bytes(prefixes), value: None }
    }

    #[track_caller]
    fn check(filters: &[RecordFilter], rows: &Rows, want: &[i64]) {
        let filters = Filters::new(filters.to_vec()).unwrap();
        let (granted, _) = select_rows(fetched(&messages(), 4), rows);
        let (Chunk { messages, count, next_offset, .. }, _) = filters.select(granted);
        let got = (&offsets(&messages)[..], count, next_offset);
        assert_eq!(got, (want, want.len(), 4), "{filters:?} {rows:?}");
    }

    #[test]
    fn records_match_by_key_and_header() {
        let all = Rows::default();
        check(&[], &all, &[0, 1, 2, 3]);
        check(&[filter(None, &[], &[])], &all, &[1, 2, 3]);
        check(&[filter(None, &["a-1", "x"], &[])], &all, &[2]);
        check(&[filter(None, &[""], &[])], &all, &[1]);
        check(&[filter(None, &[], &["a-", "b"])], &all, &[2, 3]);
        check(&[filter(None, &["b-1"], &["a"])], &all, &[2, 3]);
        check(&[filter(Some("type"), &[], &[])], &all, &[2]);
        check(&[filter(Some("type"), &["old"], &[])], &all, &[2]);
        check(&[filter(Some(""), &["x"], &[])], &all, &[3]);
        check(&[filter(Some("type"), &["old"], &[]), filter(None, &[], &["b"])], &all, &[]);
    }

    #[test]
    fn filters_narrow_rows() {
        let header = |name: &str, value: &str| rows([Row::Header { name: name.into(), value: value.into() }]);
        let a = rows([keys("a-")]);
        check(&[], &a, &[2]);
        check(&[], &rows([keys("")]), &[1, 2, 3]);
        check(&[], &header("type", "new"), &[]);
        check(&[], &header("", "x"), &[3]);
        check(&[filter(None, &[], &["b"])], &a, &[]);
        check(&[filter(None, &[], &["a"])], &a, &[2]);
        check(&[], &Rows::none(), &[]);
    }

    /// Compares with one after the other.
    #[test]
    fn sorted_values_match_as_each_one_does() {
        let texts: Vec<&'static str> = vec!["", "a", "aa", "ab", "abc", "abd", "b", "ba", "c\u{ff}", "c"];
        for chosen in 0..1_usize << texts.len() {
            let chosen: Vec<_> =
                (0..texts.len()).filter(|at| chosen >> at & 1 == 1).map(|at| texts[at]).collect();
            let (mut equals, mut prefixes) = (chosen.clone(), chosen.clone());
            equals.reverse();
            prefixes.rotate_left(chosen.len() / 2);
            for [equals, prefixes] in [[&equals[..], &[]], [&[], &prefixes]] {
                let filters = Filters::new(vec![filter(None, equals, prefixes)]).unwrap();
                for value in &texts {
                    let has_prefix = prefixes.iter().any(|prefix| value.starts_with(prefix));
                    let want = chosen.is_empty() || equals.contains(value) || has_prefix;
                    let is_match = matches(&filters.filters[0].of, value.as_bytes());
                    assert_eq!(is_match, want, "{value} of {chosen:?}");
                }
            }
        }
    }

    #[test]
    fn records_that_all_match_are_not_copied() {
        let all = fetched(&messages()[1..], 4);
        let (matching, work) = Filters::new(vec![filter(None, &[], &[""])]).unwrap().select(all.clone());
        let matching = matching.messages;
        assert_eq!(work, 0);
        assert_eq!((matching.as_ptr(), matching.len()), (all.messages.as_ptr(), all.messages.len()));
    }
}

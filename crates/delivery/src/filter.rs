//! Leaves out the records that a client does not want.

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint};
use sluicegate_protocol::wire::number::{HEADER_KEY, HEADER_VALUE, MESSAGE_HEADERS, MESSAGE_KEY, MESSAGES};
use sluicegate_protocol::wire::{Fields, Value};

use sluicegate_backend::command::RecordFilter;

/// Records match if they match every filter. Without filters, all do.
///
/// The values of each are sorted, so that a comparison costs little however many there are, and of prefixes only those
/// are kept that begin with no other one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters(Vec<RecordFilter>);

impl Filters {
    pub(crate) fn new(mut filters: Vec<RecordFilter>) -> Self {
        for RecordFilter { equals, prefixes, .. } in &mut filters {
            equals.sort_unstable();
            prefixes.sort_unstable();
            prefixes.dedup_by(|next, kept| next.starts_with(kept));
        }
        Self(filters)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The work to leave out records of so many bytes, in bytes: each filter looks through all headers.
    pub(super) fn work(&self, bytes: usize) -> usize {
        bytes.saturating_mul(self.0.len())
    }

    /// The matching ones of `count` encoded `messages`, and their number. They are copied only if some do not match.
    pub(super) fn matching(&self, messages: Bytes, count: usize) -> (Bytes, usize) {
        if self.is_empty() {
            return (messages, count);
        }
        let all = Fields::of(&messages).filter_map(content).filter(|(number, _)| *number == MESSAGES);
        let kept = all.map(|(_, message)| message).filter(|message| self.match_message(message));
        let kept: Vec<&[u8]> = kept.collect();
        if kept.len() == count {
            return (messages, count);
        }
        let mut matching = Vec::new();
        for message in &kept {
            encode_key(MESSAGES, WireType::LengthDelimited, &mut matching);
            encode_varint(message.len() as u64, &mut matching);
            matching.extend_from_slice(message);
        }
        (matching.into(), kept.len())
    }

    fn match_message(&self, message: &[u8]) -> bool {
        self.0.iter().all(|filter| match &filter.header {
            None => value(message, MESSAGE_KEY).is_some_and(|key| matches(filter, key)),
            Some(name) => {
                let headers = Fields::of(message).filter_map(content);
                let mut headers = headers.filter(|(number, _)| *number == MESSAGE_HEADERS);
                headers.any(|(_, header)| {
                    value(header, HEADER_KEY).unwrap_or_default() == name.as_bytes()
                        && value(header, HEADER_VALUE).is_some_and(|value| matches(filter, value))
                })
            }
        })
    }
}

/// Only the last prefix that does not sort after the value can be one of it: others that sort between them begin with
/// that one.
fn matches(RecordFilter { equals, prefixes, .. }: &RecordFilter, value: &[u8]) -> bool {
    let after = prefixes.partition_point(|prefix| **prefix <= *value);
    equals.is_empty() && prefixes.is_empty()
        || equals.binary_search_by(|wanted| (**wanted).cmp(value)).is_ok()
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

/// Filters of a subscription.
pub const MAX_FILTERS: usize = 16;
/// Values of all of them.
pub const MAX_VALUES: usize = 100;

#[cfg(test)]
mod tests {
    use prost::Message;
    use sluicegate_protocol::{Header, KafkaFetchResp, KafkaMessage};

    use super::*;

    fn messages() -> Vec<KafkaMessage> {
        let header = |key: &str, value: Option<&'static str>| Header {
            key: key.into(),
            value: value.map(Bytes::from),
        };
        let message = |offset, key: Option<&'static str>, headers| KafkaMessage {
            offset,
            key: key.map(Bytes::from),
            headers,
            ..Default::default()
        };
        vec![
            message(0, None, vec![]),
            message(1, Some(""), vec![header("type", None)]),
            message(2, Some("a-1"), vec![header("type", Some("new")), header("type", Some("old"))]),
            message(3, Some("b-1"), vec![header("", Some("x"))]),
        ]
    }

    fn encoded(messages: Vec<KafkaMessage>) -> Bytes {
        KafkaFetchResp { messages, ..Default::default() }.encode_to_vec().into()
    }

    fn filter(header: Option<&str>, equals: &[&'static str], prefixes: &[&'static str]) -> RecordFilter {
        let bytes = |values: &[&'static str]| values.iter().map(|value| Bytes::from(*value)).collect();
        RecordFilter { header: header.map(str::to_owned), equals: bytes(equals), prefixes: bytes(prefixes) }
    }

    #[track_caller]
    fn check(filters: &[RecordFilter], want: &[i64]) {
        let (matching, count) = Filters::new(filters.to_vec()).matching(encoded(messages()), 4);
        let offsets: Vec<i64> =
            KafkaFetchResp::decode(matching).unwrap().messages.iter().map(|message| message.offset).collect();
        assert_eq!((&offsets[..], count), (want, want.len()), "{filters:?}");
    }

    #[test]
    fn records_match_by_key_and_header() {
        check(&[], &[0, 1, 2, 3]);
        check(&[filter(None, &[], &[])], &[1, 2, 3]);
        check(&[filter(None, &["a-1", "x"], &[])], &[2]);
        check(&[filter(None, &[""], &[])], &[1]);
        check(&[filter(None, &[], &["a-", "b"])], &[2, 3]);
        check(&[filter(None, &["b-1"], &["a"])], &[2, 3]);
        check(&[filter(Some("type"), &[], &[])], &[2]);
        check(&[filter(Some("type"), &["old"], &[])], &[2]);
        check(&[filter(Some(""), &["x"], &[])], &[3]);
        check(&[filter(Some("type"), &["old"], &[]), filter(None, &[], &["b"])], &[]);
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
                let Filters(filters) = Filters::new(vec![filter(None, equals, prefixes)]);
                for value in &texts {
                    let is_any = chosen.is_empty();
                    let want = is_any
                        || equals.contains(value)
                        || prefixes.iter().any(|prefix| value.starts_with(prefix));
                    assert_eq!(matches(&filters[0], value.as_bytes()), want, "{value} of {chosen:?}");
                }
            }
        }
    }

    #[test]
    fn records_that_all_match_are_not_copied() {
        let all = encoded(messages().split_off(1));
        let (matching, _) = Filters::new(vec![filter(None, &[], &[""])]).matching(all.clone(), 3);
        assert_eq!((matching.as_ptr(), matching.len()), (all.as_ptr(), all.len()));
    }
}

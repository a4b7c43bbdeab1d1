//! Records of partitions, and the headers that say where to continue and where the logs end.

use std::fmt::Write as _;

use sluicegate_backend::command::Start;
use sluicegate_backend::{Chunk, Log, System};
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::Position;
use sluicegate_dialect::position;
use sluicegate_shared_log::Ends;

use super::super::response::Response;

/// The records of one partition.
pub(super) struct Part {
    pub(super) partition: i32,
    pub(super) fetched: Chunk,
}

impl Part {
    /// A partition that could not be read from this offset on.
    pub(super) fn unread(partition: i32, offset: i64) -> Self {
        Self { partition, fetched: Chunk::nothing(offset, Ends::UNKNOWN) }
    }
}

/// The headers of a read of one partition: an offset each. Those that are unknown are left out.
pub(super) fn with_offsets(response: Response, part: &Part, system: System) -> Response {
    let positions = dialect::of(system).words().positions.iter();
    let known = positions.filter_map(|Position { header, of }| Some((header, of(&part.fetched)?)));
    known.fold(response, |response, (header, offset)| response.header(header.clone(), offset.to_string()))
}

/// The headers of a read of many partitions: a list each, in the form of the parameter `offsets`. Partitions whose offset
/// is not known continue at their `unread` position. The ends of the logs are left out if all lists are longer than
/// [`MAX_BYTES`], and where to continue if that list is.
pub(super) fn with_lists(
    mut response: Response,
    parts: &[Part],
    unread: &[(Log<'_>, Start)],
    system: System,
) -> Response {
    let list = |Position { header, of }: &'static Position| {
        let mut list = String::new();
        for (partition, offset) in parts.iter().filter_map(|part| Some((part.partition, of(&part.fetched)?)))
        {
            let comma = if list.is_empty() { "" } else { "," };
            // Cannot fail: a `String` grows.
            let _ = write!(list, "{comma}{partition}:{offset}");
        }
        (header.clone(), list)
    };
    let mut lists: Vec<_> = dialect::of(system).words().positions.iter().map(list).collect();
    if let Some((_, next)) = lists.first_mut() {
        for (log, start) in unread {
            let comma = if next.is_empty() { "" } else { "," };
            let _ = write!(next, "{comma}{}:{}", log.partition, position::text(*start));
        }
    }
    let all = lists.iter().map(|(_, list)| list.len()).fold(0, usize::saturating_add);
    let count = if all > MAX_BYTES { 1 } else { lists.len() };
    for (name, list) in lists.into_iter().take(count) {
        if !list.is_empty() && list.len() <= MAX_BYTES {
            response = response.header(name, list);
        }
    }
    response
}

/// The lists of one response. nginx, in its default configuration, accepts 4 KiB of headers from the bridge.
const MAX_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn part(partition: i32, ends: Ends) -> Part {
        Part { partition, fetched: Chunk::nothing(7, ends) }
    }

    fn headers(response: Response) -> String {
        response.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    #[test]
    fn unknown_ends_are_left_out() {
        let response = || Response::empty(StatusCode::OK);
        let some = Ends { start: 0, stable: -1, end: 9 };
        let want =
            "sluicegate-next-offset: 7\nsluicegate-log-start-offset: 0\nsluicegate-high-watermark: 9\n";
        assert_eq!(headers(with_offsets(response(), &part(3, some), System::Kafka)), want);
        let want = "sluicegate-next-sequence: 7\nsluicegate-first-sequence: 0\nsluicegate-end: 9\n";
        assert_eq!(headers(with_offsets(response(), &part(0, some), System::Nats)), want);
        let want = "sluicegate-next-sequence: 7\n";
        assert_eq!(headers(with_offsets(response(), &part(0, Ends::UNKNOWN), System::Nats)), want);
        let parts = [part(3, some), part(4, Ends::UNKNOWN), part(0, Ends { start: 1, stable: 2, end: 3 })];
        let want = "sluicegate-next-offset: 3:7,4:7,0:7\nsluicegate-log-start-offset: 3:0,0:1\n\
                    sluicegate-last-stable-offset: 0:2\nsluicegate-high-watermark: 3:9,0:3\n";
        assert_eq!(headers(with_lists(response(), &parts, &[], System::Kafka)), want);
        let unread = [(Log { topic: "t", partition: 5 }, Start::BeforeEnd(2))];
        let want = "sluicegate-next-offset: 4:7,5:-2\n";
        assert_eq!(headers(with_lists(response(), &parts[1..2], &unread, System::Kafka)), want);
    }

    #[test]
    fn long_lists_are_left_out() {
        let ends = Ends { start: 1, stable: i64::MAX, end: i64::MAX };
        let names = |partitions: i32| {
            let parts: Vec<Part> = (0..partitions).map(|partition| part(partition, ends)).collect();
            let response = with_lists(Response::empty(StatusCode::OK), &parts, &[], System::Kafka);
            assert!(response.headers.iter().map(|(_, list)| list.len()).sum::<usize>() <= MAX_BYTES);
            response.headers.len()
        };
        assert_eq!([30, 60, 256].map(names), [4, 1, 1]);
        let parts: Vec<Part> = (0..256).map(|_| Part::unread(i32::MAX, i64::MAX)).collect();
        assert_eq!(headers(with_lists(Response::empty(StatusCode::OK), &parts, &[], System::Kafka)), "");
    }
}

//! Reads a log from one offset to its end, and compares every answer.

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, Isolation, Reason};
use sluicegate_stack::random::Random;
use sluicegate_stack::socket::Socket;

use super::log::Log;
use crate::reading::assert_same;

/// Reads on at `next_offset`, with random bounds and waits. An offset that the log does not have is out of range.
pub(super) async fn check(
    socket: &mut Socket,
    log: &Log,
    start: i64,
    isolation: Isolation,
    random: &mut Random,
    what: &str,
) {
    let (want, limit) = log.visible(isolation);
    let limit = limit.max(start);
    let mut rest = &want[want.partition_point(|message| message.offset < start)..];
    let mut offset = start;
    loop {
        let max_records = [0, 1, 20][random.below(3)];
        let (wait, min_bytes) = [(0, 0), (0, 0), (SHORT, 0), (SHORT, 5_000)][random.below(4)];
        let fetch = CmdKafkaFetch {
            topic: log.topic.clone(),
            offset,
            max_wait_ms: Some(wait),
            min_bytes,
            max_bytes: [0, 1, 500][random.below(3)],
            max_records,
            isolation: isolation.into(),
            ..Default::default()
        };
        let answer = match socket.ask(Req::CmdKafkaFetch(fetch)).await {
            Resp::KafkaFetchResp(answer) => answer,
            Resp::ErrorResp(error) => {
                assert!(!(log.start..=log.end).contains(&offset), "{what}: {error:?}");
                assert_eq!((error.code, error.reason()), (1, Reason::OffsetOutOfRange), "{what}: {error:?}");
                let ends = (error.earliest_offset, error.latest_offset);
                return assert_eq!(ends, (Some(log.start), Some(log.end)), "{what}");
            }
            other => panic!("{what}: {other:?} instead of messages"),
        };
        assert!((log.start..=log.end).contains(&offset), "{what} is not out of range");
        let ends = (answer.log_start_offset, answer.last_stable_offset, answer.high_watermark);
        assert_eq!(ends, (Some(log.start), Some(log.stable), Some(log.end)), "{what}, at {offset}");
        let count = answer.messages.len();
        assert!(max_records == 0 || count <= max_records as usize, "{what}: {count} messages");
        let (read, left) = rest.split_at(count.min(rest.len()));
        assert_same(&answer.messages, read, &format!("{what}, at {offset}"));
        // After the last message and the gap that follows it, and not after the next message.
        let after = read.last().map_or(offset, |message| message.offset + 1);
        let before = left.first().map_or(limit, |message| message.offset);
        let next = answer.next_offset;
        assert!((after..=before).contains(&next), "{what}: from {offset}, {next} is not {after} to {before}");
        if next == offset {
            assert_eq!((left.len(), next), (0, limit), "{what}: the walk ends too early");
            return;
        }
        (rest, offset) = (left, next);
    }
}

/// Milliseconds. Nothing is written meanwhile.
const SHORT: u32 = 10;

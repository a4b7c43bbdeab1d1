//! The command `list_sequences`, and its answer.

use serde::{Deserialize, Serialize};
use sluicegate_backend::command::{Command, LogName};
use sluicegate_backend::{CommandError, ListedOffset};
use sluicegate_protocol as wire;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdNatsListSequences, ListedSequence, NatsListSequencesResp};

use super::SYSTEM;
use crate::json::list::List;
use crate::session::answer::{Answer, Encoding};
use crate::session::bounds::MAX_OFFSETS;
use crate::session::error::{MAX_RECORD_ERROR_BYTES, error_resp};
use crate::session::members::{Object, Time};
use crate::session::text::results;

pub(super) fn of_protobuf(command: CmdNatsListSequences) -> Command {
    let asked = |wire::StreamTime { stream, timestamp }| (LogName::of_stream(stream), timestamp);
    Command::ListOffsets { asked: command.times.into_iter().map(asked).collect(), committed: false }
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListSequences {
    times: List<Object<StreamTime>, MAX_OFFSETS>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamTime {
    stream: String,
    timestamp: Time,
}

impl From<ListSequences> for Command {
    fn from(ListSequences { times }: ListSequences) -> Self {
        let asked = |Object(StreamTime { stream, timestamp })| (LogName::of_stream(stream), timestamp.0);
        Self::ListOffsets { asked: times.0.into_iter().map(asked).collect(), committed: false }
    }
}

/// The answer with the sequence of each time.
pub(super) fn answer(
    sequence: i64,
    listed: Vec<Result<ListedOffset, CommandError>>,
    encoding: Encoding,
) -> Answer {
    match encoding {
        Encoding::Protobuf => {
            let results = listed.into_iter().map(result).collect();
            Answer::new(sequence, Resp::NatsListSequencesResp(NatsListSequencesResp { results }))
        }
        Encoding::Json(_) => {
            let place = |ListedOffset { offset, timestamp }| Sequence { sequence: offset, timestamp };
            Answer::Text(results(sequence, SYSTEM, listed.into_iter().map(|result| result.map(place))))
        }
    }
}

fn result(result: Result<ListedOffset, CommandError>) -> ListedSequence {
    match result {
        Ok(ListedOffset { offset, timestamp }) => ListedSequence { sequence: offset, timestamp, error: None },
        Err(error) => ListedSequence {
            error: Some(error_resp(error, SYSTEM, MAX_RECORD_ERROR_BYTES)),
            ..Default::default()
        },
    }
}

/// The sequence of a time.
#[derive(Serialize)]
struct Sequence {
    sequence: i64,
    timestamp: i64,
}

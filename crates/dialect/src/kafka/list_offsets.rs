//! The commands `list_offset` and `list_offsets`, and the answer to the latter.

use serde::{Deserialize, Serialize};
use sluicegate_backend::command::{Command, LogName};
use sluicegate_backend::{CommandError, ListedOffset};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaListOffset, CmdKafkaListOffsets, Isolation, KafkaListOffsetsResp, ListedOffset as WireOffset,
};

use super::SYSTEM;
use super::fetch::IsolationName;
use crate::json::list::List;
use crate::session::answer::{Answer, Encoding};
use crate::session::bounds::MAX_OFFSETS;
use crate::session::error::{MAX_RECORD_ERROR_BYTES, error_resp};
use crate::session::members::{Object, Time, or_default};
use crate::session::text::results;

pub(super) fn one_of_protobuf(
    CmdKafkaListOffset { topic, partition, timestamp }: CmdKafkaListOffset,
) -> Command {
    Command::ListOffset { log: LogName { topic, partition }, timestamp }
}

pub(super) fn of_protobuf(command: CmdKafkaListOffsets) -> Command {
    let committed = command.isolation() == Isolation::ReadCommitted;
    let asked =
        |CmdKafkaListOffset { topic, partition, timestamp }| (LogName { topic, partition }, timestamp);
    Command::ListOffsets { asked: command.offsets.into_iter().map(asked).collect(), committed }
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListOffset {
    topic: String,
    partition: i32,
    timestamp: Time,
}

impl From<ListOffset> for Command {
    fn from(ListOffset { topic, partition, timestamp }: ListOffset) -> Self {
        Self::ListOffset { log: LogName { topic, partition }, timestamp: timestamp.0 }
    }
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListOffsets {
    offsets: List<Object<ListOffset>, MAX_OFFSETS>,
    #[serde(default, deserialize_with = "or_default")]
    isolation: IsolationName,
}

impl From<ListOffsets> for Command {
    fn from(ListOffsets { offsets, isolation }: ListOffsets) -> Self {
        let asked =
            |Object(ListOffset { topic, partition, timestamp })| (LogName { topic, partition }, timestamp.0);
        Self::ListOffsets {
            asked: offsets.0.into_iter().map(asked).collect(),
            committed: isolation.is_committed(),
        }
    }
}

/// The answer with the offset of each log.
pub(super) fn answer(
    sequence: i64,
    listed: Vec<Result<ListedOffset, CommandError>>,
    encoding: Encoding,
) -> Answer {
    match encoding {
        Encoding::Protobuf => {
            let results = listed.into_iter().map(result).collect();
            Answer::new(sequence, Resp::KafkaListOffsetsResp(KafkaListOffsetsResp { results }))
        }
        Encoding::Json(_) => {
            let offset = |ListedOffset { offset, timestamp }| Offset { offset, timestamp };
            Answer::Text(results(sequence, SYSTEM, listed.into_iter().map(|result| result.map(offset))))
        }
    }
}

fn result(result: Result<ListedOffset, CommandError>) -> WireOffset {
    match result {
        Ok(ListedOffset { offset, timestamp }) => WireOffset { offset, timestamp, error: None },
        Err(error) => WireOffset {
            error: Some(error_resp(error, SYSTEM, MAX_RECORD_ERROR_BYTES)),
            ..WireOffset::default()
        },
    }
}

#[derive(Serialize)]
struct Offset {
    offset: i64,
    timestamp: i64,
}

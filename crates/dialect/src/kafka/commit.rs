//! The command `commit`, and its answer.

use serde::{Deserialize, Serialize};
use sluicegate_backend::CommandError;
use sluicegate_backend::command::Command;
use sluicegate_backend::groups::{Commit, GroupLog};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaCommit, KafkaCommitResp, KafkaCommitResult, PartitionOffset};

use super::SYSTEM;
use super::multi_fetch::Place;
use crate::json::list::List;
use crate::session::answer::{Answer, Encoding};
use crate::session::bounds::MAX_OFFSETS;
use crate::session::error::{Error, MAX_RECORD_ERROR_BYTES, error_resp};
use crate::session::members::{Object, or_default};
use crate::session::text::text;

pub(super) fn of_protobuf(CmdKafkaCommit { subscription, offsets, assignment }: CmdKafkaCommit) -> Command {
    let commits = offsets
        .into_iter()
        .map(|PartitionOffset { topic, partition, offset }| commit(topic, partition, offset));
    command(subscription, assignment, commits)
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commits {
    /// The `id` of its command.
    subscription: i64,
    #[serde(default, deserialize_with = "or_default")]
    assignment: u64,
    offsets: List<Object<Place>, MAX_OFFSETS>,
}

impl From<Commits> for Command {
    fn from(Commits { subscription, assignment, offsets }: Commits) -> Self {
        let commits = offsets
            .0
            .into_iter()
            .map(|Object(Place { topic, partition, offset })| commit(topic, partition, offset.0));
        command(subscription, assignment, commits)
    }
}

/// Without the number of an assignment, it is 0.
fn command(subscription: i64, assignment: u64, commits: impl Iterator<Item = Commit>) -> Command {
    let assignment = (assignment > 0).then_some(assignment);
    Command::Commit { subscription, assignment, commits: commits.collect() }
}

fn commit(topic: String, partition: i32, offset: i64) -> Commit {
    Commit { log: (topic.into(), partition), offset, metadata: "".into() }
}

impl Answer {
    /// The answer with the result of each commit. Its topics have names of at most 249 bytes.
    pub fn committed(
        sequence: i64,
        logs: impl Iterator<Item = GroupLog>,
        results: Vec<Result<(), CommandError>>,
        encoding: Encoding,
    ) -> Self {
        let error = |error| error_resp(error, SYSTEM, MAX_RECORD_ERROR_BYTES);
        let results: Vec<KafkaCommitResult> = logs
            .zip(results)
            .map(|((topic, partition), result)| KafkaCommitResult {
                topic: topic.to_string(),
                partition,
                error: result.err().map(error),
            })
            .collect();
        match encoding {
            Encoding::Protobuf => Self::new(sequence, Resp::KafkaCommitResp(KafkaCommitResp { results })),
            Encoding::Json(_) => {
                let results = results.iter().map(|KafkaCommitResult { topic, partition, error }| Committed {
                    topic,
                    partition: *partition,
                    error: error.as_ref().map(Error::of_result),
                });
                Self::Text(text(sequence, &Results { results: results.collect() }))
            }
        }
    }
}

#[derive(Serialize)]
struct Results<'a> {
    results: Vec<Committed<'a>>,
}

#[derive(Serialize)]
struct Committed<'a> {
    topic: &'a str,
    partition: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

//! Answers that are not what was asked for, or that fail in part.

use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{ErrorResp, PartitionFetched};

use crate::Error;

/// The error about an answer of another kind.
pub(crate) fn mismatch(wanted: &str, got: &Resp) -> Error {
    let got = match got {
        Resp::ErrorResp(_) => "an error",
        Resp::PongResp(_) => "a pong",
        Resp::SessionResp(_) => "the limits of the session",
        Resp::AuthResp(_) | Resp::SessionExpiringResp(_) => "the expiry of an identity",
        Resp::KafkaFetchResp(_) | Resp::NatsFetchResp(_) => "messages",
        Resp::KafkaListOffsetResp(_) => "an offset",
        Resp::KafkaProduceResp(_) | Resp::NatsPublishResp(_) => "results",
        Resp::KafkaMultiFetchResp(_) => "messages of many partitions",
        Resp::KafkaListOffsetsResp(_) => "offsets of many partitions",
        Resp::KafkaMetadataResp(_) => "topics",
        Resp::KafkaCommitResp(_) => "commits",
        Resp::NatsListSequencesResp(_) => "sequences",
        Resp::KafkaSubscribedResp(_)
        | Resp::KafkaDeliveryResp(_)
        | Resp::KafkaSubscriptionEvent(_)
        | Resp::NatsSubscribedResp(_)
        | Resp::NatsDeliveryResp(_)
        | Resp::NatsSubscriptionEvent(_) => "a subscription's message",
        Resp::UnsubscribedResp(_) => "the end of a subscription",
        Resp::Control(_) => "a gateway's control message",
    };
    Error::Protocol { detail: format!("it answered with {got} where {wanted} was asked for") }
}

/// Fails if an answer does not have a result for each part of its command.
pub(crate) fn check_count(results: usize, asked: usize) -> Result<(), Error> {
    if results == asked {
        return Ok(());
    }
    Err(Error::Protocol {
        detail: format!("it answered with {results} results where {asked} were asked for"),
    })
}

/// Reads a number of the protocol, in which -1 is unknown or none.
pub(crate) fn known(number: i64) -> Option<i64> {
    (number >= 0).then_some(number)
}

/// The error for which an answer is worth another attempt, although the command as a whole succeeded.
pub(crate) fn partial_failure(answer: &Resp) -> Option<Error> {
    let has_messages = |result: &PartitionFetched| {
        result.fetched.as_ref().is_some_and(|fetched| !fetched.messages.is_empty())
    };
    let retriable = |error: &&ErrorResp| error.retriable;
    let error = match answer {
        // Messages are delivered without a delay.
        Resp::KafkaMultiFetchResp(answer) if answer.results.iter().any(has_messages) => None,
        Resp::KafkaMultiFetchResp(answer) => {
            answer.results.iter().filter_map(|result| result.error.as_ref()).find(retriable)
        }
        Resp::KafkaListOffsetsResp(answer) => {
            answer.results.iter().filter_map(|result| result.error.as_ref()).find(retriable)
        }
        Resp::KafkaMetadataResp(answer) => {
            answer.topics.iter().filter_map(|topic| topic.error.as_ref()).find(retriable)
        }
        Resp::NatsListSequencesResp(answer) => {
            answer.results.iter().filter_map(|result| result.error.as_ref()).find(retriable)
        }
        _ => None,
    };
    error.cloned().map(Error::command)
}

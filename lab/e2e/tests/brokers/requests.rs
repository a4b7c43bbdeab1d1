//! Reads the requests that nodes received from their request logs.

use std::fs;

use serde_json::Value;
use sluicegate_stack::kafka::Kafka;

/// A node's answers to the fetches of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetches {
    pub(crate) answers: u64,
    /// Of records, in all answers.
    pub(crate) bytes: u64,
    /// For how long the client was told to ask nothing, in all answers.
    pub(crate) throttled_ms: u64,
}

/// The fetches of the client of this id at each node.
pub(crate) fn fetches(kafka: &Kafka, client_id: &str) -> Vec<Fetches> {
    let of =
        |log: String| log.lines().filter_map(|line| answer(line, client_id)).fold(Fetches::default(), add);
    kafka.nodes.iter().map(|node| of(fs::read_to_string(node.process.log()).unwrap())).collect()
}

fn add(sum: Fetches, one: Fetches) -> Fetches {
    Fetches {
        answers: sum.answers + one.answers,
        bytes: sum.bytes + one.bytes,
        throttled_ms: sum.throttled_ms + one.throttled_ms,
    }
}

/// A fetch that was answered, as a line of the log describes it.
fn answer(line: &str, client_id: &str) -> Option<Fetches> {
    let (_, request) = line.split_once("Completed request:")?;
    // Most are others', and long.
    if !request.contains(client_id) {
        return None;
    }
    let request: Value = serde_json::from_str(request).ok()?;
    let header = &request["requestHeader"];
    if header["requestApiKeyName"] != "FETCH" || header["clientId"] != client_id {
        return None;
    }
    let response = &request["response"];
    let topics = response["responses"].as_array()?.iter();
    let partitions = topics.flat_map(|topic| topic["partitions"].as_array().into_iter().flatten());
    let bytes = partitions.filter_map(|partition| partition["recordsSizeInBytes"].as_u64()).sum();
    let throttled_ms = response["throttleTimeMs"].as_u64()?;
    Some(Fetches { answers: 1, bytes, throttled_ms })
}

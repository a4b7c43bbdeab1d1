//! The partitions of a topic, and the offsets of logs. Servers that are too old to know many at once are asked for
//! each.

use std::fmt::Display;
use std::iter::once;

use futures_util::stream::{self, StreamExt as _};
use sluicegate_client::nats::SequenceQuery;
use sluicegate_client::{At, Client, Error, Isolation, OffsetQuery};
use sluicegate_protocol::error_code::UNKNOWN_TOPIC_OR_PARTITION;

use crate::args::Name;
use crate::log::Log;
use crate::position::Position;

/// The numbers of the partitions of `topic`, in order.
async fn find(client: &Client, topic: &str) -> Result<Vec<i32>, Error> {
    let topics = match client.metadata(&[topic], &[]).await {
        Err(Error::CommandUnsupported { .. }) => return probe(client, topic).await,
        topics => topics?,
    };
    let found = topics.into_iter().next().map(|topic| topic.partitions);
    let found = found.unwrap_or_else(|| Err(Error::Protocol { detail: "it describes no topic".into() }));
    let found = found.map_err(|error| failed_to(format_args!("describe topic {topic}"), error))?;
    Ok(found.iter().map(|partition| partition.partition).collect())
}

/// Finds partitions by their offsets, up to the first that does not exist.
async fn probe(client: &Client, topic: &str) -> Result<Vec<i32>, Error> {
    for partition in 0..MAX_PARTITIONS {
        match client.list_offset(topic, partition, At::Latest).await {
            Err(Error::Command { code: UNKNOWN_TOPIC_OR_PARTITION, .. }) if partition > 0 => {
                return Ok((0..partition).collect());
            }
            listed => listed?,
        };
    }
    Err(Error::Protocol { detail: format!("it has more than {MAX_PARTITIONS} partitions") })
}

/// The log of a stream, or those of these partitions of a topic, or of all if none is given.
pub(crate) async fn logs(client: &Client, name: Name<'_>, partitions: &[i32]) -> Result<Vec<Log>, Error> {
    let topic = match name {
        Name::Stream(stream) => return Ok(vec![Log::Stream(stream.to_owned())]),
        Name::Topic(topic) => topic,
    };
    let found = if partitions.is_empty() { find(client, topic).await? } else { partitions.to_vec() };
    Ok(found.into_iter().map(|number| Log::partition(topic, number)).collect())
}

/// The offset or sequence of each of `logs`, of the same system, for each of `wanted`; `None` if every message is older
/// than the time.
pub(crate) async fn offsets(
    client: &Client,
    logs: &[Log],
    wanted: &[At],
    isolation: Isolation,
) -> Result<Vec<Result<Option<i64>, Error>>, Error> {
    let (mut partitions, mut streams) = (Vec::new(), Vec::new());
    for (log, &at) in logs.iter().flat_map(|log| wanted.iter().map(move |at| (log, at))) {
        match log {
            Log::Partition { topic, number } => {
                partitions.push(OffsetQuery { topic: topic.clone(), partition: *number, at });
            }
            Log::Stream(stream) => streams.push(SequenceQuery { stream: stream.clone(), at }),
        }
    }
    let listed: Vec<Result<Option<i64>, Error>> = if streams.is_empty() {
        match client.list_offsets(&partitions, isolation).await {
            Err(Error::CommandUnsupported { .. }) if isolation == Isolation::ReadCommitted => {
                return Err(Error::IsolationUnsupported);
            }
            Err(Error::CommandUnsupported { .. }) => {
                let ask = |OffsetQuery { topic, partition, at }| async move {
                    client.list_offset(&topic, partition, at).await
                };
                return Ok(stream::iter(partitions.into_iter().map(ask)).buffered(IN_FLIGHT).collect().await);
            }
            listed => listed?.into_iter().map(|listed| listed.map(|listed| listed.offset)).collect(),
        }
    } else {
        let listed = client.nats().list_sequences(&streams).await?;
        listed.into_iter().map(|listed| listed.map(|listed| listed.sequence)).collect()
    };
    let asked = logs.iter().flat_map(|log| wanted.iter().map(move |_| log));
    let result = |(listed, log): (Result<Option<i64>, Error>, &Log)| {
        listed.map_err(|error| failed_to(format_args!("list {}, {}", log.unit(), log.described()), error))
    };
    Ok(listed.into_iter().zip(asked).map(result).collect())
}

/// A log, and where a read of it begins.
#[derive(Debug, Clone)]
pub(crate) struct Begin {
    pub(crate) log: Log,
    pub(crate) from: i64,
    /// The log end now.
    pub(crate) end: i64,
}

/// Where a read of `logs` from `position` on begins.
pub(crate) async fn begins(
    client: &Client,
    logs: Vec<Log>,
    position: Position,
    isolation: Isolation,
) -> Result<Vec<Begin>, Error> {
    let wanted: Vec<At> = once(At::Latest).chain(position.query()).collect();
    let listed = offsets(client, &logs, &wanted, isolation).await?;
    let listed = listed.into_iter().collect::<Result<Vec<Option<i64>>, Error>>()?;
    let begin = |(log, offsets): (Log, &[Option<i64>])| {
        let end = offsets.first().copied().flatten();
        let end = end.ok_or_else(|| Error::Protocol { detail: "it knows no log end".into() })?;
        let from = position.resolve(offsets.get(1).copied().flatten(), end);
        Ok(Begin { log, from, end })
    };
    logs.into_iter().zip(listed.chunks(wanted.len())).map(begin).collect()
}

/// Says in the error of one result of many what failed, as the server does in the error of a command.
pub(crate) fn failed_to(what: impl Display, mut error: Error) -> Error {
    if let Error::Command { message, .. } = &mut error {
        *message = format!("failed to {what}, err: {message}");
    }
    error
}

/// Far more than topics have: stops at a server that claims to have every partition.
const MAX_PARTITIONS: i32 = 100_000;
/// Concurrent commands to a server that takes one for each partition.
const IN_FLIGHT: usize = 8;

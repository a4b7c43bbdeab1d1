//! The partitions of a topic, and their offsets. Servers that are too old to know many at once are asked for each.

use std::fmt::Display;
use std::iter::once;

use futures_util::stream::{self, StreamExt as _};
use sluicegate_client::{At, Client, Error, Isolation, ListedOffset, OffsetQuery};
use sluicegate_protocol::error_code::UNKNOWN_TOPIC_OR_PARTITION;

use crate::position::Position;

/// The numbers of the partitions of `topic`, in order.
pub(crate) async fn find(client: &Client, topic: &str) -> Result<Vec<i32>, Error> {
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

/// The offset for each of `queries`, a partition of `topic` each; `None` if every message is older than the time.
pub(crate) async fn offsets(
    client: &Client,
    topic: &str,
    queries: impl Iterator<Item = (i32, At)>,
    isolation: Isolation,
) -> Result<Vec<Result<Option<i64>, Error>>, Error> {
    let query = |(partition, at)| OffsetQuery { topic: topic.to_owned(), partition, at };
    let queries: Vec<OffsetQuery> = queries.map(query).collect();
    let listed = match client.list_offsets(&queries, isolation).await {
        Err(Error::CommandUnsupported { .. }) if isolation == Isolation::ReadCommitted => {
            return Err(Error::IsolationUnsupported);
        }
        Err(Error::CommandUnsupported { .. }) => {
            let ask = |query: &OffsetQuery| client.list_offset(topic, query.partition, query.at);
            return Ok(stream::iter(queries.iter().map(ask)).buffered(IN_FLIGHT).collect().await);
        }
        listed => listed?,
    };
    let result = |(listed, query): (Result<ListedOffset, Error>, &OffsetQuery)| match listed {
        Ok(listed) => Ok(listed.offset),
        Err(error) => Err(failed_to(at_partition("list offset", topic, query.partition), error)),
    };
    Ok(listed.into_iter().zip(&queries).map(result).collect())
}

/// A partition, and where a read of it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begin {
    pub(crate) partition: i32,
    pub(crate) from: i64,
    /// The log end now.
    pub(crate) end: i64,
}

/// Where a read from `position` on begins in these partitions of `topic`, or in all if none is given.
pub(crate) async fn begins(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    position: Position,
    isolation: Isolation,
) -> Result<Vec<Begin>, Error> {
    let found = if partitions.is_empty() { find(client, topic).await? } else { partitions.to_vec() };
    let wanted: Vec<At> = once(At::Latest).chain(position.query()).collect();
    let queries = found.iter().flat_map(|partition| wanted.iter().map(|at| (*partition, *at)));
    let listed = offsets(client, topic, queries, isolation).await?;
    let listed = listed.into_iter().collect::<Result<Vec<Option<i64>>, Error>>()?;
    let begin = |(partition, offsets): (i32, &[Option<i64>])| {
        let end = offsets.first().copied().flatten();
        let end = end.ok_or_else(|| Error::Protocol { detail: "it knows no log end".into() })?;
        let from = position.resolve(offsets.get(1).copied().flatten(), end);
        Ok(Begin { partition, from, end })
    };
    found.into_iter().zip(listed.chunks(wanted.len())).map(begin).collect()
}

/// Says in the error of one result of many what failed, as the server does in the error of a command.
pub(crate) fn failed_to(what: impl Display, mut error: Error) -> Error {
    if let Error::Command { message, .. } = &mut error {
        *message = format!("failed to {what}, err: {message}");
    }
    error
}

pub(crate) fn at_partition(what: &str, topic: &str, partition: i32) -> impl Display {
    format!("{what}, topic: {topic}, partition: {partition}")
}

/// Far more than topics have: stops at a server that claims to have every partition.
const MAX_PARTITIONS: i32 = 100_000;
/// Concurrent commands to a server that takes one for each partition.
const IN_FLIGHT: usize = 8;

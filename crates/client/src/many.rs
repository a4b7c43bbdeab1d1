//! Commands for many partitions or topics.

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, Isolation, KafkaMetadataResp,
    PartitionFetched, PartitionMetadata, PartitionOffset, TopicMetadata,
};

use crate::answer::{check_count, known, mismatch};
use crate::fetch::NO_WAIT;
use crate::{At, Client, Error, FetchOptions, Fetched};

/// The offset that [`Client::list_offsets`] is to find in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetQuery {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset to find.
    pub at: At,
}

/// An offset that [`Client::list_offsets`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedOffset {
    /// `None` if every message is older than the time.
    pub offset: Option<i64>,
    /// The timestamp of the message at this offset. `None` at either end of the log, or if no message matches.
    pub timestamp: Option<i64>,
}

/// A topic that [`Client::metadata`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its partitions, in the order of their numbers; or why the server cannot describe them, an [`Error::Command`].
    pub partitions: Result<Vec<Partition>, Error>,
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it, if there is one.
    pub leader: Option<i32>,
    /// The brokers that keep it.
    pub replicas: Vec<Replica>,
}

/// A broker that keeps a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "rest", derive(serde::Deserialize))]
#[non_exhaustive]
pub struct Replica {
    /// Its id.
    pub broker: i32,
    /// Whether it has all of the partition's acknowledged records.
    pub in_sync: bool,
}

impl Client {
    /// Messages of many partitions, from the offset of each on; at least 1 partition, at most 256. The results are in
    /// the order of `places`. The server waits once for all of them: until there are messages, an error, or the time is
    /// up.
    ///
    /// The sizes of `options` are those of all messages together; each partition has a fair part.
    /// [`max_records`](FetchOptions::max_records) is the number of each partition. A partition without messages need
    /// not be at its end: there may have been no room.
    ///
    /// # Cancel safety
    /// The same as for [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// [`Error`], [`Error::CommandUnsupported`] included, if the command fails as a whole. The error of a single
    /// partition is that of a [`fetch`](Self::fetch). Temporary errors are [retried](crate::Builder::max_retries),
    /// those of single partitions while no other has messages.
    pub async fn multi_fetch(
        &self,
        places: &[PartitionOffset],
        options: FetchOptions,
    ) -> Result<Vec<Result<Fetched, Error>>, Error> {
        let command = Req::CmdKafkaMultiFetch(options.multi_command(places.to_vec()));
        let answer = match self.read(command, options.wait()).await? {
            Resp::KafkaMultiFetchResp(answer) => answer,
            other => return Err(mismatch("messages of many partitions", &other)),
        };
        check_count(answer.results.len(), places.len())?;
        let result = |(result, place): (PartitionFetched, &PartitionOffset)| match result {
            PartitionFetched { error: Some(error), .. } => Ok(Err(Error::command(error))),
            PartitionFetched { fetched: Some(fetched), error: None } => {
                options.accept(place.offset, fetched).map(Ok)
            }
            PartitionFetched { fetched: None, error: None } => {
                Err(Error::Protocol { detail: "it answered with an empty result".into() })
            }
        };
        answer.results.into_iter().zip(places).map(result).collect()
    }

    /// Offsets of any number of partitions, 1,000 to a command. The results are in the order of `queries`. With
    /// [`Isolation::ReadCommitted`], the latest offset is where the first open transaction begins.
    ///
    /// # Cancel safety
    /// The same as for [`list_offset`](Self::list_offset).
    ///
    /// # Errors
    /// [`Error`], [`Error::CommandUnsupported`] included, if a command fails as a whole. The error of a single
    /// partition is that of [`list_offset`](Self::list_offset). Temporary errors of either are
    /// [retried](crate::Builder::max_retries).
    pub async fn list_offsets(
        &self,
        queries: &[OffsetQuery],
        isolation: Isolation,
    ) -> Result<Vec<Result<ListedOffset, Error>>, Error> {
        let mut listed = Vec::with_capacity(queries.len());
        for queries in queries.chunks(MAX_OFFSETS) {
            let query = |OffsetQuery { topic, partition, at }: &OffsetQuery| CmdKafkaListOffset {
                topic: topic.clone(),
                partition: *partition,
                timestamp: at.timestamp(),
            };
            let offsets = queries.iter().map(query).collect();
            let command = CmdKafkaListOffsets { offsets, isolation: isolation.into() };
            let answer = match self.read(Req::CmdKafkaListOffsets(command), NO_WAIT).await? {
                Resp::KafkaListOffsetsResp(answer) => answer,
                other => return Err(mismatch("offsets of many partitions", &other)),
            };
            check_count(answer.results.len(), queries.len())?;
            listed.extend(answer.results.into_iter().map(|result| match result.error {
                Some(error) => Err(Error::command(error)),
                None => Ok(ListedOffset { offset: known(result.offset), timestamp: known(result.timestamp) }),
            }));
        }
        Ok(listed)
    }

    /// The topics with these names, and those whose names begin with one of `prefixes`, in the order of their names; if
    /// both lists are empty, all topics that the route allows, without Kafka's internal ones. At most 1,000 names and
    /// 100 prefixes.
    ///
    /// Takes several commands if there are more topics than fit in an answer.
    ///
    /// # Cancel safety
    /// The commands may or may not have been sent; their answers are dropped.
    ///
    /// # Errors
    /// [`Error`], [`Error::CommandUnsupported`] included, if a command fails as a whole. A missing topic is among the
    /// results, with its error. Temporary errors of either are [retried](crate::Builder::max_retries).
    pub async fn metadata(&self, topics: &[&str], prefixes: &[&str]) -> Result<Vec<Topic>, Error> {
        let owned = |names: &[&str]| names.iter().copied().map(str::to_owned).collect();
        let mut command =
            CmdKafkaMetadata { topics: owned(topics), prefixes: owned(prefixes), after: String::new() };
        let mut found: Vec<Topic> = Vec::new();
        loop {
            let page = Req::CmdKafkaMetadata(command.clone());
            let KafkaMetadataResp { topics, more } = match self.read(page, NO_WAIT).await? {
                Resp::KafkaMetadataResp(answer) => answer,
                other => return Err(mismatch("topics", &other)),
            };
            found.extend(topics.into_iter().map(topic));
            if !more {
                return Ok(found);
            }
            let last = found.last().map(|topic| &topic.name).filter(|last| **last > command.after);
            let no_progress = || Error::Protocol { detail: "its list of topics does not advance".into() };
            command.after.clone_from(last.ok_or_else(no_progress)?);
        }
    }
}

fn topic(TopicMetadata { name, partitions, error }: TopicMetadata) -> Topic {
    let partitions = match error {
        Some(error) => Err(Error::command(error)),
        None => Ok(partitions.into_iter().map(partition).collect()),
    };
    Topic { name, partitions }
}

fn partition(partition: PartitionMetadata) -> Partition {
    let PartitionMetadata { partition, leader, replicas, in_sync_replicas } = partition;
    let replica = |broker| Replica { broker, in_sync: in_sync_replicas.contains(&broker) };
    Partition {
        partition,
        leader: (leader >= 0).then_some(leader),
        replicas: replicas.into_iter().map(replica).collect(),
    }
}

/// Offsets of one command, or sequences.
pub(crate) const MAX_OFFSETS: usize = 1000;

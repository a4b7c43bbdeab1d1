//! Kafka's commands and results in protobuf.

use std::time::Duration;

use sluicegate_backend::command::{
    Command, LogName, ReadBounds, Record, Source, Start, SubscribeCommand, TopicNames,
};
use sluicegate_backend::{CommandError, DeliveryReport, ListedOffset, Written};
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, CmdKafkaMultiFetch,
    CmdKafkaProduce, CmdKafkaSubscribe, Isolation, KafkaFetchResp, KafkaSource, ListedOffset as WireOffset,
    OnLag, PartitionNext, PartitionOffset, ProduceRecord, Produced, kafka_source,
};
use sluicegate_shared_log::Ends;

use crate::Subscribed;
use crate::error::{MAX_RECORD_ERROR_BYTES, error_resp};
use crate::kafka::SYSTEM;
use crate::protobuf::{bounds, header, record_filter, size, table, topic_id};

pub(super) fn fetch(command: CmdKafkaFetch) -> Command {
    let isolation = command.isolation();
    let CmdKafkaFetch { topic, partition, offset, max_wait_ms, min_bytes, max_bytes, max_records, .. } =
        command;
    let max_records = size(max_records);
    let committed = isolation == Isolation::ReadCommitted;
    // Clients of APISIX know no `next_offset`.
    let reads_on = true;
    let bounds = ReadBounds { max_records, committed, reads_on, ..bounds(max_wait_ms, min_bytes, max_bytes) };
    Command::Fetch { log: LogName { topic, partition }, offset, bounds }
}

pub(super) fn multi_fetch(command: CmdKafkaMultiFetch) -> Command {
    let isolation = command.isolation();
    let CmdKafkaMultiFetch { partitions, max_wait_ms, min_bytes, max_bytes, .. } = command;
    let place = |PartitionOffset { topic, partition, offset }| (LogName { topic, partition }, offset);
    let places = partitions.into_iter().map(place).collect();
    let committed = isolation == Isolation::ReadCommitted;
    Command::MultiFetch {
        places,
        bounds: ReadBounds { committed, ..bounds(max_wait_ms, min_bytes, max_bytes) },
    }
}

pub(super) fn list_offset(CmdKafkaListOffset { topic, partition, timestamp }: CmdKafkaListOffset) -> Command {
    Command::ListOffset { log: LogName { topic, partition }, timestamp }
}

pub(super) fn list_offsets(command: CmdKafkaListOffsets) -> Command {
    let committed = command.isolation() == Isolation::ReadCommitted;
    let asked =
        |CmdKafkaListOffset { topic, partition, timestamp }| (LogName { topic, partition }, timestamp);
    Command::ListOffsets { asked: command.offsets.into_iter().map(asked).collect(), committed }
}

pub(super) fn metadata(CmdKafkaMetadata { topics, prefixes, after }: CmdKafkaMetadata) -> Command {
    Command::Describe(TopicNames { topics, prefixes, after })
}

pub(super) fn produce(command: CmdKafkaProduce) -> Command {
    Command::Produce(command.records.into_iter().map(record).collect())
}

fn record(ProduceRecord { topic, partition, key, value, headers, timestamp }: ProduceRecord) -> Record {
    let headers = headers.into_iter().map(header).collect();
    Record { topic, partition, key, value, headers, timestamp }
}

/// The subscription.
///
/// # Errors
/// A topic's id is invalid.
pub(super) fn subscribe(command: CmdKafkaSubscribe) -> Result<Subscribed, String> {
    let (isolation, on_lag, table) =
        (command.isolation(), command.on_lag(), table(command.snapshot(), command.away_ms));
    let CmdKafkaSubscribe { sources, filters, max_batch_bytes, max_batch_records, linger_ms, credit, .. } =
        command;
    let command = SubscribeCommand {
        sources: sources.into_iter().map(source).collect::<Result<_, _>>()?,
        committed: isolation == Isolation::ReadCommitted,
        filters: filters.into_iter().map(record_filter).collect(),
        max_bytes: size(max_batch_bytes),
        max_records: size(max_batch_records),
        linger: Duration::from_millis(linger_ms.into()),
        skips: on_lag == OnLag::Skip,
        table,
    };
    Ok(Subscribed { command, credit })
}

fn source(
    KafkaSource { topic, partitions, from, next, topic_id: id }: KafkaSource,
) -> Result<Source, String> {
    let from = match from {
        None => Start::default(),
        Some(kafka_source::From::Timestamp(timestamp)) => Start::Timestamp(timestamp),
        Some(kafka_source::From::Offset(offset)) => Start::Offset(offset),
    };
    let next = next.into_iter().map(|PartitionNext { partition, offset }| (partition, offset)).collect();
    Ok(Source { topic_id: topic_id(&id, "topic", &topic)?, topic, partitions, from, next })
}

/// Everything of a `KafkaFetchResp` but its messages.
pub(super) fn fetched(next_offset: i64, Ends { start, stable, end }: Ends) -> KafkaFetchResp {
    KafkaFetchResp {
        messages: Vec::new(),
        next_offset,
        high_watermark: Some(end),
        last_stable_offset: Some(stable),
        log_start_offset: Some(start),
    }
}

/// The result of one partition.
pub(super) fn listed(result: Result<ListedOffset, CommandError>) -> WireOffset {
    match result {
        Ok(ListedOffset { offset, timestamp }) => WireOffset { offset, timestamp, error: None },
        Err(error) => WireOffset {
            error: Some(error_resp(error, SYSTEM, MAX_RECORD_ERROR_BYTES)),
            ..WireOffset::default()
        },
    }
}

/// The result of one record.
pub(super) fn produced(report: DeliveryReport) -> Produced {
    match report {
        Ok(Written { partition, offset, timestamp, .. }) => {
            Produced { partition, offset, timestamp, error: None }
        }
        Err(error) => {
            let error = Some(error_resp(error, SYSTEM, MAX_RECORD_ERROR_BYTES));
            Produced { error, ..Produced::default() }
        }
    }
}

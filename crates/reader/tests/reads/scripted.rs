//! A broker that follows a script, and records its requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use kafka_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    FetchRequest, ListOffsetsRequest, MetadataRequest, RequestKind, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, StrBytes, decode_request_header_from_buffer,
};
use sluicegate_reader::Reader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::batches::one_record;
use crate::support;

/// The broker's reaction to a request.
pub(crate) enum Step {
    Answer(Bytes),
    /// These raw bytes.
    Raw(Vec<u8>),
    /// These raw bytes, then the end of the connection.
    RawThenClose(Vec<u8>),
    /// A response after a while; later requests of the connection wait, as in Kafka.
    Later(Duration, Bytes),
    /// No response, to this and all later requests of the connection.
    Silence,
}

/// A received request.
pub(crate) struct Asked {
    pub(crate) kind: RequestKind,
    pub(crate) version: i16,
    pub(crate) id: i32,
}

pub(crate) type Script = dyn Fn(&Asked, SocketAddr) -> Step + Send + Sync;

/// Listens until it is dropped.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    script: Box<Script>,
    connections: AtomicUsize,
    metadata: Mutex<Vec<MetadataRequest>>,
    fetched: Mutex<Vec<i64>>,
    listed: AtomicUsize,
}

impl Broker {
    /// A broker that follows `script`. Most scripts fall back to [`usual`].
    pub(crate) async fn start(script: impl Fn(&Asked, SocketAddr) -> Step + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), script).await
    }

    /// A broker of one log with `end` records, one in each answer, which tells that it ends at `told`. At the end,
    /// fetches wait as long as they say.
    pub(crate) async fn of_log(end: i64, told: i64) -> Self {
        Self::start(move |asked, address| match &asked.kind {
            RequestKind::ListOffsets(_) => Step::Answer(listed(asked, 0, told)),
            RequestKind::Fetch(request) => {
                let offset = request.topics[0].partitions[0].fetch_offset;
                let records = if offset < end { one_record(offset, b'x') } else { Vec::new() };
                let wait = if offset < end { 0 } else { request.max_wait_ms };
                let answer = fetched(asked, 0, told, &records);
                Step::Later(Duration::from_millis(wait.try_into().expect("a wait")), answer)
            }
            _ => usual(asked, address),
        })
        .await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        script: impl Fn(&Asked, SocketAddr) -> Step + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            connections: AtomicUsize::new(0),
            metadata: Mutex::default(),
            fetched: Mutex::default(),
            listed: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, address, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// The number of accepted connections.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The received metadata requests.
    pub(crate) fn metadata(&self) -> Vec<MetadataRequest> {
        self.shared.metadata.lock().expect("no panic").clone()
    }

    /// The number of received requests for offsets.
    pub(crate) fn listed(&self) -> usize {
        self.shared.listed.load(Ordering::SeqCst)
    }

    /// The offsets of the received fetches.
    pub(crate) fn fetched(&self) -> Vec<i64> {
        self.shared.fetched.lock().expect("no panic").clone()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    // Dropped, and thereby ended, with the listener.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        shared.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(serve(stream, address, Arc::clone(&shared)));
    }
}

async fn serve(mut stream: TcpStream, address: SocketAddr, shared: Arc<Shared>) {
    while let Ok(len) = stream.read_i32().await {
        let mut frame = vec![0; usize::try_from(len).expect("a length")];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let asked = parse(Bytes::from(frame));
        match &asked.kind {
            RequestKind::Metadata(request) => {
                shared.metadata.lock().expect("no panic").push(request.clone());
            }
            RequestKind::Fetch(request) => {
                let offset = request.topics[0].partitions[0].fetch_offset;
                shared.fetched.lock().expect("no panic").push(offset);
            }
            RequestKind::ListOffsets(_) => {
                shared.listed.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        let (bytes, close) = match (shared.script)(&asked, address) {
            Step::Answer(bytes) => (bytes.to_vec(), false),
            Step::Raw(bytes) => (bytes, false),
            Step::RawThenClose(bytes) => (bytes, true),
            Step::Later(after, bytes) => {
                tokio::time::sleep(after).await;
                (bytes.to_vec(), false)
            }
            Step::Silence => return std::future::pending().await,
        };
        if stream.write_all(&bytes).await.is_err() || close {
            return;
        }
    }
}

fn parse(mut frame: Bytes) -> Asked {
    let header = decode_request_header_from_buffer(&mut frame).expect("a header");
    let version = header.request_api_version;
    let kind = match header.request_api_key {
        1 => RequestKind::Fetch(FetchRequest::decode(&mut frame, version).expect("a request")),
        2 => RequestKind::ListOffsets(ListOffsetsRequest::decode(&mut frame, version).expect("a request")),
        3 => RequestKind::Metadata(MetadataRequest::decode(&mut frame, version).expect("a request")),
        17 => RequestKind::SaslHandshake(Decodable::decode(&mut frame, version).expect("a request")),
        36 => RequestKind::SaslAuthenticate(Decodable::decode(&mut frame, version).expect("a request")),
        18 => RequestKind::ApiVersions(Decodable::decode(&mut frame, version).expect("a request")),
        other => panic!("a request of kind {other}"),
    };
    assert!(frame.is_empty(), "{} bytes left of a request", frame.len());
    Asked { kind, version, id: header.correlation_id }
}

/// A broker of Kafka 4 that leads partition 0 of every topic. All logs are empty and end at 0.
pub(crate) fn usual(asked: &Asked, address: SocketAddr) -> Step {
    match &asked.kind {
        RequestKind::ApiVersions(_) => Step::Answer(versions(asked, 4, 18)),
        RequestKind::Metadata(_) => Step::Answer(metadata(asked, &[address], 0)),
        RequestKind::Fetch(_) => Step::Answer(fetched(asked, 0, 0, b"")),
        RequestKind::ListOffsets(_) => Step::Answer(listed(asked, 0, 0)),
        _ => Step::Silence,
    }
}

/// A reader of scripted brokers, whose calls take 2 s at most.
pub(crate) fn reader(servers: &[SocketAddr]) -> Reader {
    reader_within(servers, "2000")
}

/// A reader of scripted brokers, whose calls take that many milliseconds at most.
pub(crate) fn reader_within(servers: &[SocketAddr], timeout_ms: &str) -> Reader {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    support::reader(&[
        ("bootstrap.servers", &servers.join(",")),
        ("client.rack", "here"),
        ("socket.timeout.ms", timeout_ms),
        ("socket.connection.setup.timeout.ms", "900"),
        ("reconnect.backoff.ms", "10"),
        ("reconnect.backoff.max.ms", "50"),
    ])
}

pub(crate) fn versions(asked: &Asked, min_fetch: i16, max_fetch: i16) -> Bytes {
    let speaks =
        |key, min, max| ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max);
    let others = [speaks(2, 1, 11), speaks(3, 0, 13), speaks(17, 0, 1), speaks(18, 0, 4), speaks(36, 0, 2)];
    let keys = [&[speaks(1, min_fetch, max_fetch)], &others[..]].concat();
    answer(asked, &ApiVersionsResponse::default().with_api_keys(keys))
}

/// Brokers 1, 2, … at `brokers`. The broker at index `leader` leads partition 0 of each requested topic, in epoch
/// [`EPOCH`].
pub(crate) fn metadata(asked: &Asked, brokers: &[SocketAddr], leader: usize) -> Bytes {
    metadata_of(asked, brokers, leader, 1)
}

/// As [`metadata`], for topics with that id.
pub(crate) fn metadata_of(asked: &Asked, brokers: &[SocketAddr], leader: usize, id: u128) -> Bytes {
    metadata_in(asked, brokers, leader, id, EPOCH)
}

/// As [`metadata_of`], in that leader epoch.
pub(crate) fn metadata_in(
    asked: &Asked,
    brokers: &[SocketAddr],
    leader: usize,
    id: u128,
    epoch: i32,
) -> Bytes {
    let id = Uuid::from_u128(if asked.version >= 10 { id } else { 0 });
    let node = |index: usize| i32::try_from(index + 1).expect("few brokers");
    let topics = names(asked).into_iter().map(|name| {
        let partition = MetadataResponsePartition::default()
            .with_leader_id(node(leader).into())
            .with_leader_epoch(if asked.version >= 7 { epoch } else { -1 });
        MetadataResponseTopic::default()
            .with_name(Some(name))
            .with_topic_id(id)
            .with_partitions(vec![partition])
    });
    let brokers = brokers.iter().enumerate().map(|(index, address)| {
        MetadataResponseBroker::default()
            .with_node_id(node(index).into())
            .with_host(StrBytes::from_string(address.ip().to_string()))
            .with_port(address.port().into())
    });
    let response = MetadataResponse::default().with_brokers(brokers.collect()).with_topics(topics.collect());
    answer(asked, &response)
}

/// The broker at `address`, and topics with these names and errors; the flag marks internal ones.
pub(crate) fn all_topics(asked: &Asked, address: SocketAddr, topics: &[(&str, i16, bool)]) -> Bytes {
    let topics = topics.iter().map(|(name, error, internal)| {
        MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_string((*name).to_owned()))))
            .with_error_code(*error)
            .with_is_internal(*internal)
    });
    let broker = MetadataResponseBroker::default()
        .with_node_id(1.into())
        .with_host(StrBytes::from_string(address.ip().to_string()))
        .with_port(address.port().into());
    answer(asked, &MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics.collect()))
}

/// The metadata of a broker that has just started and knows no broker yet.
pub(crate) fn knows_nobody(asked: &Asked) -> Bytes {
    let topics = names(asked)
        .into_iter()
        .map(|name| MetadataResponseTopic::default().with_name(Some(name)).with_error_code(3));
    answer(asked, &MetadataResponse::default().with_topics(topics.collect()))
}

/// The broker at `address`, and none of the requested topics.
pub(crate) fn missing(asked: &Asked, address: SocketAddr) -> Bytes {
    let topics = names(asked)
        .into_iter()
        .map(|name| MetadataResponseTopic::default().with_name(Some(name)).with_error_code(3));
    let broker = MetadataResponseBroker::default()
        .with_node_id(1.into())
        .with_host(StrBytes::from_string(address.ip().to_string()))
        .with_port(address.port().into());
    answer(asked, &MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics.collect()))
}

pub(crate) fn fetched(asked: &Asked, error: i16, high_watermark: i64, records: &[u8]) -> Bytes {
    let data = PartitionData::default()
        .with_error_code(error)
        .with_high_watermark(high_watermark)
        .with_records(Some(Bytes::copy_from_slice(records)));
    answer(asked, &of_partition(asked, data))
}

/// A fetch without records, of a log with these ends: its start, the place of an open transaction, and its end.
pub(crate) fn nothing(asked: &Asked, (start, stable, end): (i64, i64, i64)) -> Bytes {
    let data = PartitionData::default()
        .with_log_start_offset(start)
        .with_last_stable_offset(stable)
        .with_high_watermark(end)
        .with_records(Some(Bytes::new()));
    answer(asked, &of_partition(asked, data))
}

/// A redirect to the preferred replica `node`.
pub(crate) fn redirect(asked: &Asked, node: i32) -> Bytes {
    answer(asked, &of_partition(asked, PartitionData::default().with_preferred_read_replica(node.into())))
}

/// A throttled fetch: no partition, and the throttle time.
pub(crate) fn throttled(asked: &Asked, throttle_time: i32) -> Bytes {
    answer(asked, &FetchResponse::default().with_throttle_time_ms(throttle_time))
}

fn of_partition(asked: &Asked, data: PartitionData) -> FetchResponse {
    let RequestKind::Fetch(request) = &asked.kind else { panic!("no fetch") };
    let topic = &request.topics[0];
    let data = data.with_partition_index(topic.partitions[0].partition);
    let topic = FetchableTopicResponse::default()
        .with_topic(topic.topic.clone())
        .with_topic_id(topic.topic_id)
        .with_partitions(vec![data]);
    FetchResponse::default().with_responses(vec![topic])
}

pub(crate) fn listed(asked: &Asked, error: i16, offset: i64) -> Bytes {
    listed_throttled(asked, error, |_| offset, 0)
}

/// As [`listed`], with the offset of each timestamp, and a throttle time in milliseconds.
pub(crate) fn listed_throttled(
    asked: &Asked,
    error: i16,
    offset: impl Fn(i64) -> i64,
    throttle_time: i32,
) -> Bytes {
    let RequestKind::ListOffsets(request) = &asked.kind else { panic!("no list offsets") };
    let partition = |asked: &ListOffsetsPartition| {
        ListOffsetsPartitionResponse::default()
            .with_partition_index(asked.partition_index)
            .with_error_code(error)
            .with_offset(offset(asked.timestamp))
    };
    let topic = |asked: &ListOffsetsTopic| {
        ListOffsetsTopicResponse::default()
            .with_name(asked.name.clone())
            .with_partitions(asked.partitions.iter().map(partition).collect())
    };
    let response = ListOffsetsResponse::default().with_throttle_time_ms(throttle_time);
    answer(asked, &response.with_topics(request.topics.iter().map(topic).collect()))
}

/// The leader epoch of all partitions.
pub(crate) const EPOCH: i32 = 7;

fn names(asked: &Asked) -> Vec<TopicName> {
    let RequestKind::Metadata(request) = &asked.kind else { panic!("no metadata") };
    request.topics.iter().flatten().filter_map(|topic| topic.name.clone()).collect()
}

pub(crate) fn answer<R: Encodable + HeaderVersion>(asked: &Asked, response: &R) -> Bytes {
    let mut body = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(asked.id);
    header.encode(&mut body, R::header_version(asked.version)).expect("a header");
    response.encode(&mut body, asked.version).expect("a response");
    let len = i32::try_from(body.len()).expect("a short response");
    Bytes::from([&len.to_be_bytes()[..], &body].concat())
}

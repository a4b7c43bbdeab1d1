//! A broker that follows a script, and records its requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
pub(crate) use kafka_protocol::messages::{ApiKey as Key, RequestKind};
use kafka_protocol::messages::{
    FetchRequest, FindCoordinatorResponse, HeartbeatResponse, ListOffsetsRequest, MetadataRequest,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes, decode_request_header_from_buffer};
use parking_lot::Mutex;
use sluicegate_reader::Reader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::batches::one_record;
use crate::support::{self, PATIENT};

/// The broker's reaction to a request.
pub(crate) enum Step {
    /// These bytes, after a while; later requests of the connection wait, as in Kafka.
    Send(Duration, Vec<u8>),
    /// These bytes, then the end of the connection.
    Close(Vec<u8>),
    /// No response, to this and all later requests of the connection.
    Silence,
}

impl Step {
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self::Send(Duration::ZERO, bytes.to_vec())
    }

    pub(crate) fn after(self, pause: Duration) -> Self {
        match self {
            Self::Send(_, bytes) => Self::Send(pause, bytes),
            other => other,
        }
    }
}

/// A received request.
pub(crate) struct Asked {
    pub(crate) key: Key,
    pub(crate) kind: RequestKind,
    pub(crate) version: i16,
    pub(crate) id: i32,
    /// The broker that has received it.
    pub(crate) broker: SocketAddr,
}

/// Listens until it is dropped.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

struct Shared {
    script: Box<dyn Fn(&Asked) -> Step + Send + Sync>,
    connections: AtomicUsize,
    asked: Mutex<Vec<Arc<Asked>>>,
}

impl Broker {
    /// A broker that follows `script`. Most scripts fall back to [`Asked::usual`].
    pub(crate) async fn start(script: impl Fn(&Asked) -> Step + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), script).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        script: impl Fn(&Asked) -> Step + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (connections, asked) = (AtomicUsize::new(0), Mutex::default());
        let shared = Arc::new(Shared { script: Box::new(script), connections, asked });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, address, Arc::clone(&shared)));
        Self { address, shared, _accepting: accepting }
    }

    /// A broker that answers requests of this kind as `script` says.
    pub(crate) async fn of(key: Key, script: impl Fn(&Asked) -> Step + Send + Sync + 'static) -> Self {
        Self::start(move |asked| if asked.key == key { script(asked) } else { asked.usual() }).await
    }

    /// A broker that answers fetches that may wait as `script` says, and others with an empty log.
    pub(crate) async fn of_waits(script: impl Fn(&Asked) -> Step + Send + Sync + 'static) -> Self {
        let script = move |asked: &Asked| if asked.wait().is_zero() { asked.usual() } else { script(asked) };
        Self::of(Key::Fetch, script).await
    }

    /// A broker of one log with `end` records, one in each answer, which tells that it ends at `told`. At the end,
    /// fetches wait as long as they say.
    pub(crate) async fn of_log(end: i64, told: i64) -> Self {
        Self::start(move |asked| match &asked.kind {
            RequestKind::ListOffsets(_) => asked.listed(told),
            RequestKind::Fetch(_) if asked.offset() < end => asked.record(told, b'x'),
            RequestKind::Fetch(_) => asked.fetched(told, b"").after(asked.wait()),
            _ => asked.usual(),
        })
        .await
    }

    /// A reader whose calls take 2 s at most.
    pub(crate) fn reader(&self) -> Reader {
        support::reader(&[self.address])
    }

    /// A reader whose calls take 20 s at most.
    pub(crate) fn patient_reader(&self) -> Reader {
        support::reader_with(&[self.address], &[PATIENT])
    }

    /// The number of accepted connections.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Requests of one kind, as received so far.
    pub(crate) fn asked<T>(&self, key: Key, what: impl Fn(&Asked) -> T) -> Vec<T> {
        let asked = self.shared.asked.lock();
        asked.iter().filter(|asked| asked.key == key).map(|asked| what(asked)).collect()
    }

    /// The number of requests of one kind.
    pub(crate) fn count(&self, key: Key) -> usize {
        self.asked(key, |_| ()).len()
    }

    /// The times of the requests for offsets, of the first partition of each.
    pub(crate) fn listed(&self) -> Vec<i64> {
        self.asked(Key::ListOffsets, Asked::timestamp)
    }

    /// The offsets of the fetches.
    pub(crate) fn fetched(&self) -> Vec<i64> {
        self.asked(Key::Fetch, Asked::offset)
    }

    /// For how long the fetches may wait.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.asked(Key::Fetch, Asked::wait)
    }
}

async fn accept(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    // Dropped, and thereby ended, with the listener.
    let mut connections = JoinSet::new();
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
        let asked = Arc::new(parse(Bytes::from(frame), address));
        shared.asked.lock().push(Arc::clone(&asked));
        let (pause, bytes, close) = match (shared.script)(&asked) {
            Step::Send(pause, bytes) => (pause, bytes, false),
            Step::Close(bytes) => (Duration::ZERO, bytes, true),
            Step::Silence => return std::future::pending().await,
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if stream.write_all(&bytes).await.is_err() || close {
            return;
        }
    }
}

fn parse(mut frame: Bytes, broker: SocketAddr) -> Asked {
    let header = decode_request_header_from_buffer(&mut frame).expect("a header");
    let (key, version) = (Key::try_from(header.request_api_key), header.request_api_version);
    let key = key.expect("a key of Kafka");
    let kind = RequestKind::decode(key, &mut frame, version).expect("a request");
    assert!(frame.is_empty(), "{} bytes left of a request", frame.len());
    Asked { key, kind, version, id: header.correlation_id, broker }
}

/// The request.
impl Asked {
    pub(crate) fn fetch(&self) -> &FetchRequest {
        let RequestKind::Fetch(request) = &self.kind else { panic!("no fetch") };
        request
    }

    /// The offset of a fetch.
    pub(crate) fn offset(&self) -> i64 {
        self.fetch().topics[0].partitions[0].fetch_offset
    }

    /// For how long a fetch may wait.
    pub(crate) fn wait(&self) -> Duration {
        Duration::from_millis(self.fetch().max_wait_ms.try_into().expect("a wait"))
    }

    pub(crate) fn list(&self) -> &ListOffsetsRequest {
        let RequestKind::ListOffsets(request) = &self.kind else { panic!("no list offsets") };
        request
    }

    /// The time of a request for offsets.
    pub(crate) fn timestamp(&self) -> i64 {
        self.list().topics[0].partitions[0].timestamp
    }

    /// Whether all topics are asked for.
    pub(crate) fn is_list_of_topics(&self) -> bool {
        matches!(&self.kind, RequestKind::Metadata(MetadataRequest { topics: None, .. }))
    }

    /// The topics that metadata is asked for.
    pub(crate) fn topics(&self) -> Vec<String> {
        let RequestKind::Metadata(request) = &self.kind else { panic!("no metadata") };
        let names = request.topics.iter().flatten().filter_map(|topic| topic.name.clone());
        names.map(|name| name.0.to_string()).collect()
    }
}

/// Metadata of each requested topic.
pub(crate) struct Topic {
    /// The index of the broker that leads all partitions.
    pub(crate) leader: usize,
    pub(crate) partitions: i32,
}

/// The leader epoch of all partitions.
pub(crate) const EPOCH: i32 = 7;

pub(crate) const TOPIC: Topic = Topic { leader: 0, partitions: 1 };

/// Answers.
impl Asked {
    /// As a broker of Kafka 4 that leads partition 0 of every topic and coordinates all groups. All logs are empty and
    /// end at 0.
    pub(crate) fn usual(&self) -> Step {
        match &self.kind {
            RequestKind::ApiVersions(_) => self.versions(),
            RequestKind::Metadata(_) => self.metadata(&[self.broker], TOPIC),
            RequestKind::Fetch(_) => self.fetched(0, b""),
            RequestKind::ListOffsets(_) => self.listed(0),
            RequestKind::FindCoordinator(_) => self.coordinator(0, self.broker),
            RequestKind::Heartbeat(_) => self.answer(&HeartbeatResponse::default()),
            _ => Step::Silence,
        }
    }

    fn versions(&self) -> Step {
        let reads = [(1, 4, 18), (2, 1, 11), (3, 0, 13), (17, 0, 1), (18, 0, 4), (36, 0, 2)];
        let groups = [(8, 2, 10), (10, 0, 6), (11, 2, 9), (12, 0, 4)];
        let keys = reads.into_iter().chain(groups).map(|(key, min, max)| {
            ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
        });
        self.answer(&ApiVersionsResponse::default().with_api_keys(keys.collect()))
    }

    /// The coordinator of a group, or an error.
    pub(crate) fn coordinator(&self, error: i16, at: SocketAddr) -> Step {
        let found = FindCoordinatorResponse::default().with_error_code(error);
        let host = StrBytes::from_string(at.ip().to_string());
        self.answer(&found.with_host(host).with_port(at.port().into()))
    }

    /// Brokers 1, 2, … at `brokers`, and the requested topics.
    pub(crate) fn metadata(&self, brokers: &[SocketAddr], topic: Topic) -> Step {
        let partition = |index| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(node(topic.leader).into())
                .with_leader_epoch(if self.version >= 7 { EPOCH } else { -1 })
        };
        let id = Uuid::from_u128((self.version >= 10).into());
        let topics = self.topics().into_iter().map(|name| {
            let partitions = (0..topic.partitions).map(partition).collect();
            named(name).with_topic_id(id).with_partitions(partitions)
        });
        self.cluster(brokers, topics.collect())
    }

    /// This broker, and topics with these names and errors; the flag marks internal ones.
    pub(crate) fn all_topics(&self, topics: &[(&str, i16, bool)]) -> Step {
        let topics = topics.iter().map(|(name, error, internal)| {
            named((*name).to_owned()).with_error_code(*error).with_is_internal(*internal)
        });
        self.cluster(&[self.broker], topics.collect())
    }

    /// These brokers, and none of the requested topics. One that has just started knows no broker either.
    pub(crate) fn missing(&self, brokers: &[SocketAddr]) -> Step {
        let topics = self.topics().into_iter().map(|name| named(name).with_error_code(3));
        self.cluster(brokers, topics.collect())
    }

    fn cluster(&self, brokers: &[SocketAddr], topics: Vec<MetadataResponseTopic>) -> Step {
        let brokers = brokers.iter().enumerate().map(|(index, address)| {
            MetadataResponseBroker::default()
                .with_node_id(node(index).into())
                .with_host(StrBytes::from_string(address.ip().to_string()))
                .with_port(address.port().into())
        });
        self.answer(&MetadataResponse::default().with_brokers(brokers.collect()).with_topics(topics))
    }

    /// Records of a log that ends at `end`.
    pub(crate) fn fetched(&self, end: i64, records: &[u8]) -> Step {
        self.fetched_of((-1, -1, end), records)
    }

    /// Records of a log with these ends: its start, the place of an open transaction, and its end.
    pub(crate) fn fetched_of(&self, (start, stable, end): (i64, i64, i64), records: &[u8]) -> Step {
        let data = PartitionData::default()
            .with_log_start_offset(start)
            .with_last_stable_offset(stable)
            .with_high_watermark(end)
            .with_records(Some(Bytes::copy_from_slice(records)));
        self.partitions(|_| data.clone())
    }

    /// One record, at the offset that was asked for.
    pub(crate) fn record(&self, end: i64, value: u8) -> Step {
        self.fetched(end, &one_record(self.offset(), value))
    }

    /// A redirect to the preferred replica `node`.
    pub(crate) fn redirect(&self, node: i32) -> Step {
        self.partitions(|_| PartitionData::default().with_preferred_read_replica(node.into()))
    }

    /// A throttled fetch: no partition, and the throttle time in milliseconds.
    pub(crate) fn throttled(&self, throttle_time: i32) -> Step {
        self.answer(&FetchResponse::default().with_throttle_time_ms(throttle_time))
    }

    /// The answer to a fetch from partitions of one topic.
    pub(crate) fn partitions(&self, data: impl Fn(&FetchPartition) -> PartitionData) -> Step {
        let topic = &self.fetch().topics[0];
        let partitions = topic.partitions.iter();
        let topic = FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.map(|of| data(of).with_partition_index(of.partition)).collect());
        self.answer(&FetchResponse::default().with_responses(vec![topic]))
    }

    pub(crate) fn listed(&self, offset: i64) -> Step {
        self.listed_by(|_| offset, 0)
    }

    /// The offset of each time, and a throttle time in milliseconds.
    pub(crate) fn listed_by(&self, offset: impl Fn(i64) -> i64, throttle_time: i32) -> Step {
        self.offsets(throttle_time, |timestamp| (0, offset(timestamp)))
    }

    /// An error for each partition of a fetch, or of a request for offsets.
    pub(crate) fn rejected(&self, error: i16) -> Step {
        if self.key == Key::ListOffsets {
            return self.offsets(0, |_| (error, -1));
        }
        self.partitions(|_| PartitionData::default().with_error_code(error).with_high_watermark(-1))
    }

    fn offsets(&self, throttle_time: i32, answer: impl Fn(i64) -> (i16, i64)) -> Step {
        let partition = |asked: &ListOffsetsPartition| {
            let (error, offset) = answer(asked.timestamp);
            let partition =
                ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            partition.with_error_code(error).with_offset(offset)
        };
        let topic = |asked: &ListOffsetsTopic| {
            ListOffsetsTopicResponse::default()
                .with_name(asked.name.clone())
                .with_partitions(asked.partitions.iter().map(partition).collect())
        };
        let topics = self.list().topics.iter().map(topic).collect();
        self.answer(&ListOffsetsResponse::default().with_throttle_time_ms(throttle_time).with_topics(topics))
    }

    pub(crate) fn answer<R: Encodable + HeaderVersion>(&self, response: &R) -> Step {
        let mut body = BytesMut::new();
        let header = ResponseHeader::default().with_correlation_id(self.id);
        header.encode(&mut body, R::header_version(self.version)).expect("a header");
        response.encode(&mut body, self.version).expect("a response");
        frame(&body)
    }

    /// An answer of these bytes.
    pub(crate) fn raw(&self, body: &[u8]) -> Step {
        frame(&[&self.id.to_be_bytes(), body].concat())
    }
}

fn frame(body: &[u8]) -> Step {
    let len = i32::try_from(body.len()).expect("a short response");
    Step::raw(&[&len.to_be_bytes()[..], body].concat())
}

fn named(name: String) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_name(Some(TopicName(StrBytes::from_string(name))))
}

fn node(index: usize) -> i32 {
    i32::try_from(index + 1).expect("few brokers")
}

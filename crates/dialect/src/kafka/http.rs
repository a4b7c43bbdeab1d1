//! Plain HTTP to Kafka: the resources of the REST proxies' second version, with streams of events beside them, and the
//! third version's writes.

mod clusters;
mod documents;
mod records;
mod streamed;

use http::HeaderName;
use serde_json::value::RawValue;
use sluicegate_backend::command::{Record, RecordFilter};
use sluicegate_backend::{CommandError, DeliveryReport, Written};
use sluicegate_delivery::Place;
use sluicegate_protocol::{KafkaMessage, SchemaType};

use super::Kafka;
use crate::http::body::BodyError;
use crate::http::consumers;
use crate::http::media_type::{ANY_FORMAT, EXACT, Format, JSON, MediaTypes, PLAIN};
use crate::http::resource::{Get, Post, Resource, Resources, Unserved};
use crate::http::{
    Batch, CloudEvents, Clusters, FILTER, HttpDialect, HttpWords, LAST_EVENT_ID, Position, known,
};
use crate::json::format;
use crate::session::filter::Filter;
use crate::session::members::object;

static WORDS: HttpWords = HttpWords {
    roots: &["topics", "brokers", "v3"],
    paths: "/topics, /topics/TOPIC, /topics/TOPIC/records, /topics/TOPIC/events, \
            /topics/TOPIC/table/KEY, /topics/TOPIC/partitions, \
            /topics/TOPIC/partitions/N, or /topics/TOPIC/partitions/N with /records, /offsets or /events, \
            /consumers/GROUP, /consumers/GROUP/offsets, or /consumers/GROUP/instances/NAME with /subscription, \
            /assignments, /records, /offsets or /positions, \
            /brokers, /v3/clusters, /v3/clusters/ID, or /v3/clusters/ID/topics/TOPIC/records, \
            after the route's path",
    resources: Resources::with_prefix(&RESOURCES, ("kafka", V3)),
    clusters: Some(&CLUSTERS),
    consumers: &consumers::RESOURCES,
    unserved: &UNSERVED,
    media_types: MediaTypes {
        documents: &[(&[(V2, EXACT)], V2), (&[(JSON, EXACT)], JSON)],
        records: &[
            (&[(V2_BINARY, EXACT), (V2, ANY_FORMAT)], Format::Binary),
            (&[(V2_JSON, EXACT), (JSON, PLAIN)], Format::Json),
            (&[(V2_TEXT, EXACT)], Format::Text),
            (&[(V2_AVRO, EXACT)], Format::Schema(SchemaType::Avro)),
            (&[(V2_JSON_SCHEMA, EXACT)], Format::Schema(SchemaType::JsonSchema)),
            (&[(V2_PROTOBUF, EXACT)], Format::Schema(SchemaType::Protobuf)),
        ],
        json: V2_JSON,
        binary: V2_BINARY,
        text: V2_TEXT,
        schemas: &[
            (V2_AVRO, SchemaType::Avro),
            (V2_JSON_SCHEMA, SchemaType::JsonSchema),
            (V2_PROTOBUF, SchemaType::Protobuf),
        ],
        bodies: &[
            (V2_JSON, Format::Json),
            (V2_BINARY, Format::Binary),
            (V2_TEXT, Format::Text),
            (JSON, Format::Json),
            (V2_AVRO, Format::Schema(SchemaType::Avro)),
            (V2_JSON_SCHEMA, Format::Schema(SchemaType::JsonSchema)),
            (V2_PROTOBUF, Format::Schema(SchemaType::Protobuf)),
        ],
        // As Karapace has it.
        other_bodies: &[(V2, Format::Binary), ("application/octet-stream", Format::Binary)],
        errors: &[V2, V2_JSON, V2_BINARY, V2_TEXT, V2_AVRO, V2_JSON_SCHEMA, V2_PROTOBUF],
    },
    offset: "offset",
    ends: ["beginning_offset", "end_offset"],
    max_records: "max_records",
    key: "key",
    key_prefix: "key_prefix",
    needs_key: false,
    record_id: None,
    records: "records",
    // The binding to Kafka, 1.0.2, section 3.2.
    cloudevents: CloudEvents {
        prefix: "ce_",
        data_type: "content-type",
        content_type: "content-type",
        is_encoded: false,
    },
    code: "kafka_code",
    positions: &POSITIONS,
    unknown_outcome: "a retry can write it twice",
    not_authorized: "authorize the cluster's user in Kafka",
};

static POSITIONS: [Position; 4] = [
    Position {
        header: HeaderName::from_static("sluicegate-next-offset"),
        of: |fetched| Some(fetched.next_offset),
    },
    Position {
        header: HeaderName::from_static("sluicegate-log-start-offset"),
        of: |fetched| known(fetched.ends.start),
    },
    Position {
        header: HeaderName::from_static("sluicegate-last-stable-offset"),
        of: |fetched| known(fetched.ends.stable),
    },
    Position {
        header: HeaderName::from_static("sluicegate-high-watermark"),
        of: |fetched| known(fetched.ends.end),
    },
];

static RESOURCES: [Resource; 14] = [
    Resource {
        path: "/topics",
        name: "the list of topics",
        get: Some(Get::List),
        parameters: &[],
        posts: None,
    },
    Resource {
        path: "/topics/{topic}",
        name: "a topic",
        get: Some(Get::Describe),
        parameters: &[],
        posts: Some(Post::Batch),
    },
    Resource {
        path: "/topics/{topic}/records",
        name: "records",
        get: Some(Get::TopicRecords),
        parameters: &[
            "offsets",
            "offset",
            "max_bytes",
            "max_records",
            "min_bytes",
            "timeout",
            "isolation",
            FILTER,
        ],
        posts: None,
    },
    Resource {
        path: "/topics/{topic}/events",
        name: "events",
        get: Some(Get::TopicEvents),
        parameters: &EVENTS,
        posts: None,
    },
    Resource {
        path: "/topics/{topic}/table/{key}",
        name: "a key",
        get: Some(Get::Key),
        parameters: &[],
        posts: None,
    },
    Resource {
        path: "/topics/{topic}/partitions",
        name: "the list of partitions",
        get: Some(Get::Partitions),
        parameters: &[],
        posts: None,
    },
    Resource {
        path: "/topics/{topic}/partitions/{partition}",
        name: "a partition",
        get: Some(Get::Partition),
        parameters: &[],
        posts: Some(Post::Batch),
    },
    Resource {
        path: "/topics/{topic}/partitions/{partition}/records",
        name: "records",
        get: Some(Get::Records),
        parameters: &["offset", "max_bytes", "max_records", "min_bytes", "timeout", "isolation", FILTER],
        posts: None,
    },
    Resource {
        path: "/topics/{topic}/partitions/{partition}/offsets",
        name: "offsets",
        get: Some(Get::Offsets),
        parameters: &["timestamp", "isolation"],
        posts: None,
    },
    Resource {
        path: "/topics/{topic}/partitions/{partition}/events",
        name: "events",
        get: Some(Get::Events),
        parameters: &EVENTS,
        posts: None,
    },
    Resource {
        path: "/brokers",
        name: "the list of brokers",
        get: Some(Get::Brokers),
        parameters: &[],
        posts: None,
    },
    Resource {
        path: "/v3/clusters",
        name: "the list of clusters",
        get: Some(Get::Clusters),
        parameters: &[],
        posts: None,
    },
    Resource {
        path: "/v3/clusters/{cluster}",
        name: "a cluster",
        get: Some(Get::Cluster),
        parameters: &[],
        posts: None,
    },
    Resource {
        path: "/v3/clusters/{cluster}/topics/{topic}/records",
        name: "records of version 3",
        get: None,
        parameters: &[],
        posts: Some(Post::Stream),
    },
];

static CLUSTERS: Clusters = Clusters {
    root: V3,
    list: clusters::list,
    describe: clusters::describe,
    record: streamed::record,
    written: streamed::written,
    failed: streamed::failed,
};

/// The first segment of the paths of version 3.
const V3: &str = "v3";

/// Paths of Confluent's REST Proxy, Karapace, Strimzi's HTTP Bridge and Redpanda's HTTP Proxy.
static UNSERVED: [Unserved; 5] = [
    Unserved {
        paths: &["consumers", "consumers/*/instances/*/topics/**"],
        are: "lists of groups and version 1 of the consumers' API are",
        instead: "use version 2, such as POST /consumers/GROUP",
        page: MOVE,
    },
    Unserved {
        paths: &[
            "v3",
            "v3/clusters/*/topics",
            "v3/clusters/*/topics/*",
            "v3/clusters/*/topics/*/records:batch",
            "v3/clusters/*/topics/*/configs/**",
            "v3/clusters/*/topics/*/partitions/**",
            "v3/clusters/*/acls/**",
            "v3/clusters/*/brokers/**",
            "v3/clusters/*/broker-configs/**",
            "v3/clusters/*/consumer-groups/**",
            "clusters/**",
        ],
        are: "other resources of version 3 of the REST proxies' API are",
        instead: "use version 2, such as GET /topics/TOPIC",
        page: MOVE,
    },
    Unserved {
        paths: &["admin/**"],
        are: "changes of topics are",
        instead: "use Kafka's own tools",
        page: MOVE,
    },
    Unserved {
        paths: &["subjects/**", "schemas/**", "config/**", "mode/**", "compatibility/**"],
        are: "schemas are",
        instead: "ask the schema registry",
        page: MOVE,
    },
    Unserved {
        paths: &["healthy", "ready", "_health", "status/**", "metrics", "openapi/**", "v1"],
        are: "health and metrics are",
        instead: "ask the bridge's admin_listen",
        page: "docs/how-to/monitor.md",
    },
];

const MOVE: &str = "docs/how-to/move-from-rest-proxy.md";

/// The parameters of streams of events.
const EVENTS: [&str; 13] = [
    "from",
    "timestamp",
    "isolation",
    "format",
    "key",
    "key_prefix",
    "header",
    FILTER,
    "on_lag",
    "snapshot",
    "max_event_bytes",
    "last_event_id",
    LAST_EVENT_ID,
];

/// The REST proxies' documents without keys and values.
const V2: &str = "application/vnd.kafka.v2+json";
const V2_JSON: &str = "application/vnd.kafka.json.v2+json";
const V2_BINARY: &str = "application/vnd.kafka.binary.v2+json";
/// Strimzi's.
const V2_TEXT: &str = "application/vnd.kafka.text.v2+json";
const V2_AVRO: &str = "application/vnd.kafka.avro.v2+json";
const V2_JSON_SCHEMA: &str = "application/vnd.kafka.jsonschema.v2+json";
const V2_PROTOBUF: &str = "application/vnd.kafka.protobuf.v2+json";

impl HttpDialect for Kafka {
    fn words(&self) -> &'static HttpWords {
        &WORDS
    }

    fn batch<'a>(&self, body: &'a str, format: Format) -> Result<Batch<'a>, BodyError> {
        records::batch(body, format)
    }

    fn record(
        &self,
        item: &RawValue,
        place: &str,
        format: Format,
        topic: &str,
        partition: Option<i32>,
    ) -> Result<Record, BodyError> {
        records::record(item, place, format, topic, partition)
    }

    fn put_record(
        &self,
        text: &mut Vec<u8>,
        topic: &str,
        partition: i32,
        message: &KafkaMessage,
        format: Format,
    ) {
        documents::put_record(text, topic, partition, message, format.of_values());
    }

    fn results(&self, reports: Vec<DeliveryReport>, schema_ids: [Option<u32>; 2]) -> Vec<u8> {
        documents::results(reports, schema_ids)
    }

    fn acknowledged(&self, topic: &str, written: Written) -> Vec<u8> {
        documents::acknowledged(topic, written)
    }

    fn caught_up(&self, place: &Place, blocked_until: Option<i64>) -> Vec<u8> {
        documents::caught_up(place, blocked_until)
    }

    fn too_large(
        &self,
        partition: i32,
        message: &KafkaMessage,
        format: format::Format,
        error: &CommandError,
    ) -> Vec<u8> {
        documents::too_large(partition, message, format, error)
    }

    fn check_key(&self, _: &str) -> Result<(), &'static str> {
        Ok(())
    }

    fn filter(&self, json: &str) -> Result<RecordFilter, String> {
        let filter: Filter<'_> = object(json).map_err(|error| error.to_string())?;
        filter.decode("key", format::Format::Json)
    }
}

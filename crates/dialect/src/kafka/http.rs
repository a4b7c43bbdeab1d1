//! Plain HTTP to Kafka: the resources of the REST proxies' second version, with streams of events beside them.

mod documents;
mod records;

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
use crate::http::resource::{Get, Resource, Resources, Unserved};
use crate::http::{Batch, FILTER, HttpDialect, HttpWords, LAST_EVENT_ID, Position, known};
use crate::json::format;
use crate::session::filter::Filter;
use crate::session::members::object;

static WORDS: HttpWords = HttpWords {
    root: "topics",
    paths: "/topics, /topics/TOPIC, /topics/TOPIC/records, /topics/TOPIC/events, \
            /topics/TOPIC/table/KEY, \
            /topics/TOPIC/partitions/N, or /topics/TOPIC/partitions/N with /records, /offsets or /events, \
            /consumers/GROUP, /consumers/GROUP/offsets, or /consumers/GROUP/instances/NAME with /subscription, \
            /assignments, /records, /offsets or /positions, \
            after the route's path",
    resources: Resources::new(&RESOURCES),
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
        old_bodies: &[
            (V1_JSON, Format::Json),
            (V1_BINARY, Format::Binary),
            (V1_AVRO, Format::Schema(SchemaType::Avro)),
        ],
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

static RESOURCES: [Resource; 9] = [
    Resource {
        path: "/topics",
        name: "the list of topics",
        get: Some(Get::List),
        parameters: &[],
        posts: false,
    },
    Resource {
        path: "/topics/{topic}",
        name: "a topic",
        get: Some(Get::Describe),
        parameters: &[],
        posts: true,
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
        posts: false,
    },
    Resource {
        path: "/topics/{topic}/events",
        name: "events",
        get: Some(Get::TopicEvents),
        parameters: &EVENTS,
        posts: false,
    },
    Resource {
        path: "/topics/{topic}/table/{key}",
        name: "a key",
        get: Some(Get::Key),
        parameters: &[],
        posts: false,
    },
    Resource {
        path: "/topics/{topic}/partitions/{partition}",
        name: "a partition",
        get: None,
        parameters: &[],
        posts: true,
    },
    Resource {
        path: "/topics/{topic}/partitions/{partition}/records",
        name: "records",
        get: Some(Get::Records),
        parameters: &["offset", "max_bytes", "max_records", "min_bytes", "timeout", "isolation", FILTER],
        posts: false,
    },
    Resource {
        path: "/topics/{topic}/partitions/{partition}/offsets",
        name: "offsets",
        get: Some(Get::Offsets),
        parameters: &["timestamp", "isolation"],
        posts: false,
    },
    Resource {
        path: "/topics/{topic}/partitions/{partition}/events",
        name: "events",
        get: Some(Get::Events),
        parameters: &EVENTS,
        posts: false,
    },
];

/// Paths of Confluent's REST Proxy, Karapace, Strimzi's HTTP Bridge and Redpanda's HTTP Proxy.
static UNSERVED: [Unserved; 7] = [
    Unserved {
        paths: &["consumers", "consumers/*/instances/*/topics/**"],
        are: "lists of groups and version 1 of the consumers' API are",
        instead: "use version 2, such as POST /consumers/GROUP",
        page: MOVE,
    },
    Unserved {
        paths: &["v3/**", "kafka/v3/**", "clusters/**"],
        are: "version 3 of the REST proxies' API is",
        instead: "use version 2, such as POST /topics/TOPIC",
        page: MOVE,
    },
    Unserved {
        paths: &["brokers/**"],
        are: "brokers are",
        instead: "GET /topics/TOPIC has the broker of each leader and replica",
        page: MOVE,
    },
    Unserved {
        paths: &["topics/*/partitions"],
        are: "lists of partitions are",
        instead: "GET /topics/TOPIC has the partitions",
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
const V1_AVRO: &str = "application/vnd.kafka.avro+json";
const V1_JSON: &str = "application/vnd.kafka.json+json";
const V1_BINARY: &str = "application/vnd.kafka.binary+json";

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

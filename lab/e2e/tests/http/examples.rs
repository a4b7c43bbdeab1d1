//! The REST proxies' documented examples, run with curl; only the address differs.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;
use tokio::process::Command;
use tokio::time::timeout;

use crate::pool::{REST, standard};

/// Confluent's quick start and reference for version 2, Strimzi's quick start, Redpanda's guide. What becomes
/// records: see the bridge's `http::rest`.
#[tokio::test]
async fn documented_examples_of_the_rest_proxies_work() {
    let kafka = Kafka::shared().await.unwrap();
    for (topic, partitions) in TOPICS {
        kafka.make_topic(topic, partitions, &[]).await.unwrap();
    }
    let (_, stack) = standard(Way::Tunnel).await;
    for (command, want) in WRITES {
        let (status, content_type, body) = curl(command, stack.gateway()).await;
        assert_eq!(
            (status.as_str(), content_type.as_str()),
            ("200", "application/vnd.kafka.v2+json"),
            "{command}: {body}"
        );
        let offsets = body["offsets"].as_array().unwrap();
        let partitions: Vec<_> = offsets.iter().map(|one| one["partition"].as_i64().unwrap()).collect();
        assert_eq!(partitions.len(), want.len(), "{command}: {body}");
        for (partition, want) in partitions.iter().zip(*want) {
            assert!(want.is_none_or(|want| want == *partition), "{command}: {body}");
        }
        let fine = offsets
            .iter()
            .all(|one| one["offset"].is_i64() && one["error_code"].is_null() && one["error"].is_null());
        assert!(
            fine && body["key_schema_id"].is_null() && body["value_schema_id"].is_null(),
            "{command}: {body}"
        );
    }
    let (_, _, clusters) = curl(CLUSTERS, stack.gateway()).await;
    let id = clusters["data"][0]["cluster_id"].as_str().unwrap();
    for (command, want) in STREAMS {
        let (status, is, body) = curl(&command.replace("$KAFKA_CLUSTER_ID", id), stack.gateway()).await;
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        assert_eq!((status.as_str(), is.as_str()), ("200", "application/json"), "{command}: {body}");
        for want in *want {
            assert!(body.contains(want), "{command}: {body} does not hold {want}");
        }
    }
    for (command, content_type, want) in READS {
        let (status, is, body) = curl(command, stack.gateway()).await;
        assert_eq!((status.as_str(), is.as_str()), ("200", *content_type), "{command}: {body}");
        let want: Value = serde_json::from_str(want).unwrap();
        assert!(holds(&body, &want), "{command}: {body} does not hold {want}");
    }
}

const TOPICS: [(&str, i32); 5] =
    [("jsontest", 1), ("binarytest", 1), ("test", 3), ("bridge-quickstart-topic", 3), ("test_topic", 3)];

/// Commands as they are documented, and the partition of each record where it is known.
const WRITES: &[(&str, &[Option<i64>])] = &[
    (
        r#"curl -X POST -H "Content-Type: application/vnd.kafka.json.v2+json" \
      -H "Accept: application/vnd.kafka.v2+json" \
      --data '{"records":[{"value":{"foo":"bar"}}]}' "http://localhost:8082/topics/jsontest""#,
        &[Some(0)],
    ),
    (
        r#"curl -X POST -H "Content-Type: application/vnd.kafka.binary.v2+json" \
      -H "Accept: application/vnd.kafka.v2+json" \
      --data '{"records":[{"value":"S2Fma2E="}]}' "http://localhost:8082/topics/binarytest""#,
        &[Some(0)],
    ),
    (
        r#"curl -X POST -H 'Content-Type: application/vnd.kafka.binary.v2+json' \
      -H 'Accept: application/vnd.kafka.v2+json, application/vnd.kafka+json, application/json' --data '
{
  "records": [
    { "key": "a2V5", "value": "Y29uZmx1ZW50" },
    { "value": "a2Fma2E=", "partition": 1 },
    { "value": "bG9ncw==" }
  ]
}' http://localhost:8082/topics/test"#,
        &[None, Some(1), None],
    ),
    (
        r#"curl -X POST -H 'Content-Type: application/vnd.kafka.binary.v2+json' --data '
{ "records": [ { "key": "a2V5", "value": "Y29uZmx1ZW50" }, { "value": "a2Fma2E=" } ] }' \
      http://localhost:8082/topics/test/partitions/1"#,
        &[Some(1), Some(1)],
    ),
    (
        r#"curl -X POST \
  http://localhost:8080/topics/bridge-quickstart-topic \
  -H 'content-type: application/vnd.kafka.json.v2+json' \
  -d '{
    "records": [
        {
            "key": "my-key",
            "value": "sales-lead-0001"
        },
        {
            "value": "sales-lead-0002",
            "partition": 2
        },
        {
            "value": "sales-lead-0003"
        }
    ]
}'"#,
        &[None, Some(2), None],
    ),
    (
        r#"curl -s \
  -X POST \
  "http://localhost:8082/topics/test_topic" \
  -H "Content-Type: application/vnd.kafka.json.v2+json" \
  -d '{
  "records":[
      {
          "value":"Redpanda",
          "partition":0
      },
      {
          "value":"HTTP proxy",
          "partition":1
      },
      {
          "value":"Test event",
          "partition":2
      }
  ]
}'"#,
        &[Some(0), Some(1), Some(2)],
    ),
];

/// Confluent's quick start of version 3 asks for the id first.
const CLUSTERS: &str = r#"curl -X GET "http://localhost:8082/v3/clusters/""#;

/// Its commands, and parts of their answers.
const STREAMS: &[(&str, &[&str])] = &[
    (
        r#"curl -X POST -H "Content-Type: application/json" \
      --data '{"value":{"type":"JSON","data":{"name":"John Doe","id":123}}}' \
      "http://localhost:8082/v3/clusters/$KAFKA_CLUSTER_ID/topics/jsontest/records""#,
        &[r#""error_code":200,"#, r#""topic_name":"jsontest""#, r#""value":{"size":28,"type":"JSON"}"#],
    ),
    (
        r#"echo '{"partition_id":1,"key":{"type":"BINARY","data":"Zm9vYmFy"},"value":{"type":"STRING","data":"a"}}
{"value":{"type":"BINARY","data":"!"}} {"partition_id":9}
{"partition_id":2,"headers":[{"name":"Header-1","value":"SGVhZGVyLTE="}],"timestamp":"2021-02-05T19:14:42Z"}' |
curl -X POST -H "Transfer-Encoding: chunked" -H "Content-Type: application/json" -T - \
      "http://localhost:8082/kafka/v3/clusters/$KAFKA_CLUSTER_ID/topics/test/records""#,
        &[
            r#""partition_id":1,"#,
            "}\r\n{\"error_code\":400,\"message\":\"value.data: expected a base64 string or null\"}\r\n\
             {\"error_code\":40402,\"message\":\"topic test has no partition 9\"}\r\n{\"error_code\":200,",
            r#","timestamp":"2021-02-05T19:14:42Z"}"#,
        ],
    ),
];

/// Commands as they are documented, and what their answers hold.
const READS: &[(&str, &str, &str)] = &[
    (
        r#"curl "http://localhost:8082/topics""#,
        "application/vnd.kafka.v2+json",
        r#"["binarytest","bridge-quickstart-topic","jsontest","test","test_topic"]"#,
    ),
    (
        r#"curl -X GET http://localhost:8080/topics/bridge-quickstart-topic"#,
        "application/vnd.kafka.v2+json",
        concat!(
            r#"{"name":"bridge-quickstart-topic","configs":{"cleanup.policy":"delete"},"partitions":[{"partition":0,"leader":1,"#,
            r#""replicas":[{"broker":1,"leader":true,"in_sync":true}]}]}"#,
        ),
    ),
    (
        r#"curl -X GET http://localhost:8080/topics/bridge-quickstart-topic/partitions"#,
        "application/vnd.kafka.v2+json",
        r#"[{"partition":2,"leader":1,"replicas":[{"broker":1,"leader":true,"in_sync":true}]}]"#,
    ),
    (
        r#"curl -X GET "http://localhost:8082/topics/test/partitions/1" -H "Accept: application/vnd.kafka.v1+json""#,
        "application/vnd.kafka.v2+json",
        r#"{"partition":1,"leader":1,"replicas":[{"broker":1,"leader":true,"in_sync":true}]}"#,
    ),
    (r#"curl "http://localhost:8082/brokers""#, "application/vnd.kafka.v2+json", r#"{"brokers":[1]}"#),
    (
        r#"curl "http://localhost:8082/topics/jsontest/partitions/0/offsets""#,
        "application/vnd.kafka.v2+json",
        r#"{"beginning_offset":0}"#,
    ),
    (
        r#"curl -s \
  "http://localhost:8082/topics/test_topic/partitions/0/records?offset=0&timeout=1000&max_bytes=100000"\
  -H "Accept: application/vnd.kafka.json.v2+json""#,
        "application/vnd.kafka.json.v2+json",
        r#"[{"topic":"test_topic","key":null,"value":"Redpanda","partition":0,"offset":0}]"#,
    ),
];

/// Status, type and body of what a command prints with the gateway in the place of its proxy.
async fn curl(command: &str, gateway: SocketAddr) -> (String, String, Value) {
    let here = ["http://localhost:8082", "http://localhost:8080"]
        .iter()
        .fold(command.to_owned(), |command, there| {
            command.replace(there, &format!("http://{gateway}{REST}"))
        });
    let script = format!("{here} -sS -w '\\n%{{http_code}} %{{content_type}}'");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_secs(30), shell.output()).await.expect("an end").unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{script}: {printed}{}", String::from_utf8_lossy(&output.stderr));
    let (body, end) = printed.rsplit_once('\n').unwrap();
    let (status, content_type) = end.split_once(' ').unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|error| json!(format!("{error}: {body}")));
    (status.to_owned(), content_type.to_owned(), body)
}

/// Whether all of `want` is there; lists may hold more.
fn holds(value: &Value, want: &Value) -> bool {
    match (value, want) {
        (Value::Object(value), Value::Object(want)) => {
            want.iter().all(|(name, want)| value.get(name).is_some_and(|value| holds(value, want)))
        }
        (Value::Array(value), Value::Array(want)) => {
            want.iter().all(|want| value.iter().any(|value| holds(value, want)))
        }
        _ => value == want,
    }
}

//! The resources of a cluster, mostly of NATS.

use std::num::NonZeroU32;

use sluicegate_delivery::grant::{Grant, Holding, Person};
use sluicegate_delivery::quota::{Account, People};
use sluicegate_delivery::testing::script::Script;
use sluicegate_rights::{Quota, Rights};

use super::super::tests::{header, headers, rest, told};
use super::*;

/// Asks for JSON or events of a scripted cluster.
async fn ask(system: System, method: Method, target: &str) -> Response {
    ask_with(&Grant::all(&Script::cluster_of(system, 1 << 20).0), method, target).await
}

async fn ask_with(grant: &Grant, method: Method, target: &str) -> Response {
    let accept = if target.contains("/events") { "text/event-stream" } else { "application/json" };
    let lines = [("accept", accept), ("content-type", "application/json")];
    crate::http::ask(grant, &rest(target), method, &headers(&lines), "").await
}

#[tokio::test]
async fn streams_are_read_by_their_paths() {
    // A scripted log has this many records after the dot, each of partition 0 without a value.
    let stream = "/streams/0%2E2";
    for (target, positions, want) in [
        ("/streams".to_owned(), "", r#"["a","b.1","b.2","gone"]"#),
        (stream.to_owned(), "", r#"{"name":"0.2","first_sequence":-2,"end":-1}"#),
        (format!("{stream}/sequences"), "", r#"{"first_sequence":-2,"end":-1}"#),
        (format!("{stream}/sequences?timestamp=5"), "", r#"{"sequence":5}"#),
        (
            format!("{stream}/messages?sequence=1"),
            "sluicegate-next-sequence: 2\nsluicegate-first-sequence: 0\nsluicegate-end: 2",
            r#"[{"stream":"0.2","sequence":0,"timestamp":0,"subject":"","data":{"base64":""}}]"#,
        ),
        (format!("{stream}/events"), "", ""),
    ] {
        let response = ask(System::Nats, Method::GET, &target).await;
        let own = response.headers.iter().filter(|(name, _)| name.as_str().starts_with("sluicegate-"));
        let own: Vec<String> = own.map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!((&*own.join("\n"), response.status.as_u16()), (positions, 200), "{target}");
        assert_eq!(response.body, want, "{target}");
    }
}

#[tokio::test]
async fn topics_and_clusters_are_described_as_far_as_the_route_says() {
    const PARTITION: &str = r#"{"partition":0,"leader":-1,"replicas":[]}"#;
    let topic = |configs: &str| format!(r#"{{"name":"0","configs":{configs},"partitions":[{PARTITION}]}}"#);
    let one = r#"{"kind":"KafkaCluster","metadata":{"self":"https://h:8/kafka/v3/clusters/own-id""#;
    let other = r#""error_code":404,"message":"the cluster of the path"#;
    let clusters = concat!(
        r#"{"kind":"KafkaClusterList","metadata":{"self":"https://h:8/kafka/kafka/v3/clusters","next":null},"data":["#,
        r#"{"kind":"KafkaCluster","metadata":{"self":"https://h:8/kafka/kafka/v3/clusters/own-id","#,
        r#""resource_name":"crn:///kafka=own-id"},"cluster_id":"own-id","controller":null,"#,
    );
    let (cluster, _) = Script::cluster_of(System::Kafka, 1 << 20);
    let lines = [("x-forwarded-proto", "https"), ("host", "h:8")];
    let on_route = |describes| {
        Grant::new(Arc::clone(&cluster), Default::default(), Some(b"/kafka"), Rights::all())
            .with_describe(describes)
    };
    for (describes, target, status, want) in [
        (false, "/topics/0", 200, &*topic("{}")),
        (true, "/topics/0/", 200, &topic(r#"{"cleanup.policy":"delete","retention.ms":"1"}"#)),
        (false, "/topics/0/partitions", 200, &format!("[{PARTITION}]")),
        (false, "/topics/0/partitions/0/", 200, PARTITION),
        (false, "/topics/0/partitions/9", 404, r#""detail":"topic 0 has no partition 9""#),
        (false, "/topics/gone/partitions", 404, r#""error_code":40401"#),
        (false, "/brokers", 403, "its key describe is not true"),
        (true, "/brokers", 200, r#"{"brokers":[1,2]}"#),
        (false, "/kafka/v3/clusters/", 200, clusters),
        (false, "/v3/clusters/own-id", 200, one),
        (false, "/v3/clusters/test", 200, r#""cluster_id":"own-id""#),
        (false, "/v3/clusters/other", 404, other),
    ] {
        let grant = on_route(describes);
        let (found, body) =
            told(crate::http::ask(&grant, &rest(target), Method::GET, &headers(&lines), "").await);
        assert!(found == status && body.contains(want), "{target}: {found} {body}");
    }
}

#[tokio::test]
async fn refusals_have_the_words_of_the_system() {
    let (kafka, nats) = (System::Kafka, System::Nats);
    let sequences = "/streams/0/sequences?isolation=read_committed";
    let with_offset = "/topics/0/records?offsets=0:0&offset=0";
    let of_stream = "method not allowed for a stream: expected GET, HEAD, POST, OPTIONS";
    let of_messages = "method not allowed for messages: expected GET, HEAD, OPTIONS";
    let of_version_3 = "of version 3: expected POST, OPTIONS";
    let timestamp = "timestamp: expected milliseconds since 1970, a time such as";
    for (system, method, target, status, want) in [
        (nats, Method::GET, "/topics/t", 404, "the cluster is of NATS: expected /streams"),
        (nats, Method::GET, "/streams/gone/events", 404, "stream gone does not exist, create it first"),
        (nats, Method::DELETE, "/streams/s", 405, of_stream),
        (nats, Method::POST, "/streams/s/messages", 405, of_messages),
        (kafka, Method::GET, "/v3/clusters/test/topics/t/records", 405, of_version_3),
        (kafka, Method::POST, "/topics/t?async=1", 400, "query parameter async: expected true or false"),
        (nats, Method::GET, "/streams?x=1", 400, "unknown query parameter x: expected none"),
        (nats, Method::GET, sequences, 400, "unknown query parameter isolation: expected timestamp"),
        (nats, Method::GET, "/streams/s/events?last_event_id=x", 400, "expected the id of an event of this"),
        (kafka, Method::GET, with_offset, 400, "query parameter offset: expected it without offsets"),
        (kafka, Method::GET, "/topics/0/partitions/0/offsets?timestamp=-4", 400, timestamp),
    ] {
        let (found, body) = told(ask(system, method, target).await);
        assert!(found == status && body.contains(want), "{target}: {found} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_is_in_a_quota() {
    let quota = Quota { commands_per_second: NonZeroU32::MIN, ..Quota::default() };
    for (method, target) in [
        (Method::GET, "/topics"),
        (Method::GET, "/topics?x=1"),
        (Method::GET, "/unknown"),
        (Method::HEAD, "/topics/0/events"),
        (Method::DELETE, "/topics"),
        (Method::OPTIONS, "/topics"),
    ] {
        let account = Account { cluster: 0, route: None, quota, issuer: None, subject: None };
        let usage = People::default().usage(account, &Arc::default());
        let grant = Grant::all(&Script::cluster_of(System::Kafka, 1 << 20).0).counted_to(Some(usage));
        let mut served = 0;
        while ask_with(&grant, method.clone(), target).await.status != 429 && served < 100 {
            served += 1;
        }
        assert_eq!(served, 6, "{method} {target}");
    }
}

#[test]
fn errors_of_streams_are_not_those_of_the_proxies() {
    for (target, want) in [
        ("/topics", true),
        ("/streams2?streams", true),
        ("", true),
        ("/streams", false),
        ("/streams?x", false),
        ("/streams/s/messages?sequence=1", false),
    ] {
        assert_eq!(!error_types(target).is_empty(), want, "{target}");
    }
}

#[tokio::test]
async fn identity_that_ends_after_admission_is_not_served_either() {
    let reads = "/topics /topics/0 /topics/0/records /topics/0/partitions/0/records?offset=0 \
                 /topics/0/partitions/0/offsets /topics/0/events /topics/0/table/k \
                 /streams /streams/0/messages?sequence=1";
    let reads = reads.split(' ').map(|target| (Method::GET, target));
    for (method, target) in reads.chain(["/topics/0", "/streams/0"].map(|target| (Method::POST, target))) {
        let system = if target.starts_with("/streams") { System::Nats } else { System::Kafka };
        for is_revoked in [false, true] {
            let person = Arc::new(Person::new(Some("i".into()), Some("alice".into()), None, None));
            let expires = (!is_revoked).then(tokio::time::Instant::now);
            let grant = Grant::all(&Script::cluster_of(system, 1 << 20).0);
            let grant = grant.held(Some(Holding { person: Arc::clone(&person), expires }), None);
            if is_revoked {
                person.revoke();
            }
            let response = ask_with(&grant, method.clone(), target).await;
            let challenge = header(&response, "www-authenticate");
            assert_eq!(challenge, Some(r#"Bearer error="invalid_token""#), "{method} {target}");
            let (status, body) = told(response);
            let word = if is_revoked { "revoked" } else { "expired" };
            assert!(status == 401 && body.contains(word), "{method} {target}: {status} {body}");
            assert!(!body.contains("reason"), "as at the entrance: {body}");
        }
    }
}

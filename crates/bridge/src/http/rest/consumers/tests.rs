//! Requests that clients of the REST proxies send, with statuses, types and bodies, on groups in memory.

use http::HeaderMap;
use http::header::{ALLOW, CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::Value;
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::testing::logs::Logs;
use sluicegate_fair_share::ClientKey;
use sluicegate_rights::{Rights, Topics};

use super::super::super::tests::{headers, rest};
use super::*;

const V2: &str = "application/vnd.kafka.v2+json";
const JSON: &str = "application/vnd.kafka.json.v2+json";
const LIST: &str = "application/vnd.kafka.v2+json, application/vnd.kafka+json, application/json";

/// A route at `/kafka` to the topic `t`.
struct Proxy {
    logs: Logs,
    grant: Grant,
}

impl Proxy {
    fn new() -> Self {
        let logs = Logs::default();
        logs.set_keys(|_| "\"k\"");
        logs.set_values(|offset| if offset == 1 { "no JSON" } else { r#"{"n":1}"# });
        let grant = Self::granted(&logs, Rights::all());
        Self { logs, grant }
    }

    fn granted(logs: &Logs, rights: Rights) -> Grant {
        Grant::new(logs.cluster(), ClientKey::default(), Some(b"/kafka"), rights)
    }

    /// A response whose body the client reads to its end. `@` is the path of the consumer `i` of the group `g`.
    async fn ask(&self, line: &str, lines: &[(&str, &str)], body: &str) -> (u16, HeaderMap, String) {
        let (method, target) = line.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let route = rest(&target.replace('@', "/consumers/g/instances/i"));
        let response = crate::http::ask(&self.grant, &route, method.clone(), &headers(lines), body).await;
        let (parts, body) = response.into_http(&method, None).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Expects a status and a body; of an error its code.
    async fn check(&self, line: &str, body: &str, status: u16, want: &str) {
        self.check_with(line, &[("content-type", V2), ("accept", LIST)], body, status, want).await;
    }

    async fn check_with(&self, line: &str, lines: &[(&str, &str)], body: &str, status: u16, want: &str) {
        let (found, headers, told) = self.ask(line, lines, body).await;
        assert_eq!(found, status, "{line} {body}: {told}");
        if status < 300 {
            assert_eq!(told, want, "{line} {body}");
            let content_type = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap());
            let of_records = if line.contains("/records") { JSON } else { V2 };
            assert_eq!(content_type, (status == 200).then_some(of_records), "{line}");
        } else {
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(told["error_code"].to_string(), want, "{line} {body}: {told}");
        }
    }
}

/// A route with a consumer in JSON.
async fn with_consumer() -> Proxy {
    let proxy = Proxy::new();
    let body = r#"{"name":"i","format":"json","auto.offset.reset":"earliest","auto.commit.enable":"false"}"#;
    let created = r#"{"instance_id":"i","base_uri":"http://localhost/kafka/consumers/g/instances/i"}"#;
    proxy.check("POST /consumers/g/", body, 200, created).await;
    proxy
}

fn places(name: &str, offset: Option<i64>) -> String {
    let offset = offset.map(|offset| format!(r#","offset":{offset}"#)).unwrap_or_default();
    format!(r#"{{"{name}":[{{"topic":"t","partition":0{offset}}}]}}"#)
}

#[tokio::test(start_paused = true)]
async fn consumer_reads_commits_and_seeks_as_the_proxies_document() {
    let proxy = with_consumer().await;
    proxy.logs.append(0, 2);
    let check =
        async |line: &str, body: &str, status, want: &str| proxy.check(line, body, status, want).await;
    check("POST @/subscription", r#"{"topics":["t"]}"#, 204, "").await;
    let all = r#"{"topics":["t"],"partitions":[{"t":[0,1,2,3]}]}"#;
    check("GET @/subscription/", "", 200, all).await;
    let records = concat!(
        r#"[{"topic":"t","key":"k","value":{"n":1},"partition":0,"offset":0,"timestamp":0},"#,
        r#"{"topic":"t","key":"k","value":{"base64":"bm8gSlNPTg=="},"partition":0,"offset":1,"timestamp":0}]"#
    );
    check("GET @/records?timeout=3000&max_bytes=300000", "", 200, records).await;
    check("GET @/records?timeout=0", "", 200, "[]").await;
    check("GET @/offsets", &places("partitions", None), 200, r#"{"offsets":[]}"#).await;
    check("POST @/offsets", "", 200, "[]").await;
    let committed =
        |offset| format!(r#"{{"offsets":[{{"topic":"t","partition":0,"offset":{offset},"metadata":""}}]}}"#);
    check("GET @/offsets", &places("partitions", None), 200, &committed(2)).await;
    check("POST @/offsets/", &places("offsets", Some(1)), 200, "[]").await;
    check("POST @/offsets", &places("partitions", Some(1)), 204, "").await;
    check("GET @/offsets", &places("partitions", None), 200, &committed(1)).await;
    proxy.check("GET @/offsets?topic=gone", "", 404, "40401").await;
    check("POST @/positions", &places("offsets", Some(1)), 204, "").await;
    let (_, _, last) = proxy.ask("GET @/records", &[], "").await;
    assert!(last.contains(r#""offset":1"#) && !last.contains(r#""offset":0"#), "{last}");
    check("POST @/positions/beginning", r#"{"partitions":[]}"#, 204, "").await;
    let (first, _) = records.split_once(",{\"topic").unwrap();
    check("GET @/records?max_records=1", "", 200, &format!("{first}]")).await;
    let (_, _, rest) = proxy.ask("GET @/records?max_bytes=1", &[], "").await;
    assert!(rest.contains(r#""offset":1"#), "none is lost: {rest}");
    check("POST @/positions/beginning", &places("partitions", None), 204, "").await;
    check("POST @/positions/end", &places("partitions", None), 204, "").await;
    check("GET @/records?timeout=0", "", 200, "[]").await;
    check("DELETE @/subscription", "", 204, "").await;
    check("GET @/records", "", 409, "40903").await;
    check("POST @/assignments", &places("partitions", None), 204, "").await;
    check("GET @/assignments", "", 200, &places("partitions", None)).await;
    check("POST @/subscription", r#"{"topic_pattern":"t.*"}"#, 409, "40903").await;
    check("POST @/positions", r#"{"offsets":[{"topic":"t","partition":3,"offset":0}]}"#, 409, "40903").await;
    check("POST @/assignments", r#"{"partitions":[]}"#, 204, "").await;
    check("POST @/subscription", r#"{"topic_pattern":"a|b..+"}"#, 204, "").await;
    let matching =
        r#"{"topics":["a","b.1","b.2"],"partitions":[{"a":[0,1,2,3]},{"b.1":[0,1,2,3]},{"b.2":[0,1,2,3]}]}"#;
    check("GET @/subscription", "", 200, matching).await;
    proxy.check("DELETE @", "", 204, "").await;
    proxy.check("DELETE @", "", 404, "40403").await;
    check("GET @/records", "", 404, "40403").await;
    // By clients that keep a place, and are no members.
    proxy.check("POST /consumers/g/offsets", &places("offsets", Some(2)), 200, "[]").await;
    proxy.check("GET /consumers/g/offsets", &places("partitions", None), 200, &committed(2)).await;
    let (_, _, all) = proxy.ask("GET /consumers/g/offsets?topic=t", &[], "").await;
    assert_eq!(all.matches("\"partition\":").count(), 4, "{all}");
    proxy.check("GET /consumers/g/offsets", "", 400, "400").await;
    proxy.check("POST /consumers/g/offsets", "", 422, "422").await;
}

#[tokio::test(start_paused = true)]
async fn faults_have_the_codes_of_the_proxies() {
    let proxy = with_consumer().await;
    proxy.check("POST @/subscription", r#"{"topics":["t"]}"#, 204, "").await;
    for (line, body, status, code) in [
        ("POST /consumers/g", r#"{"name":"i"}"#, 409, "40902"),
        ("POST /consumers/g", r#"{"auto.offset.reset":"bad-config"}"#, 422, "42204"),
        ("POST /consumers/g", r#"{"format":"foo"}"#, 422, "42204"),
        ("POST /consumers/g", r#"{"name":"a b"}"#, 422, "42204"),
        ("POST /consumers/g", r#"{"x":1}"#, 422, "42204"),
        ("POST /consumers/g", "{", 400, "400"),
        ("POST /consumers/%ff", "{}", 400, "400"),
        ("GET /consumers/g", "", 405, "405"),
        ("PUT @", "", 405, "405"),
        ("GET /consumers", "", 404, "404"),
        ("GET @/topics/t", "", 404, "404"),
        ("GET /consumers/g/instances/other/records", "", 404, "40403"),
        ("POST @/subscription", "{}", 422, "422"),
        ("POST @/subscription", "", 422, "422"),
        ("POST @/subscription", r#"{"topic_pattern":"("}"#, 422, "422"),
        ("POST @/assignments", r#"{"partitions":[{"topic":"t","partition":0}]}"#, 409, "40903"),
        ("POST @/positions", r#"{"offsets":[{"topic":"u","partition":0,"offset":1}]}"#, 409, "40903"),
        ("POST @/offsets?x=1", "", 400, "400"),
        ("GET @/records?timeout=x", "", 400, "400"),
        ("GET @/records?x=1", "", 400, "400"),
    ] {
        proxy.check(line, body, status, code).await;
    }
    let lines = [("content-type", "text/plain")];
    proxy.check_with("POST /consumers/g", &lines, "{}", 415, "415").await;
    let lines = [("accept", "application/vnd.kafka.binary.v2+json")];
    proxy.check_with("GET @/records", &lines, "", 406, "40601").await;
    let (status, headers, _) = proxy.ask("OPTIONS @/subscription", &[], "").await;
    assert_eq!((status, &headers[ALLOW]), (204, &"GET, HEAD, POST, DELETE, OPTIONS".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn types_of_all_proxies_are_taken() {
    let proxy = with_consumer().await;
    let path = "POST @/subscription";
    for content_type in [
        "application/vnd.kafka.v2+json; charset=utf-8",
        "application/vnd.kafka.json.v2+json",
        "application/vnd.kafka.v1+json",
        "application/vnd.kafka+json",
        "application/json",
        "application/octet-stream",
    ] {
        let lines = [("content-type", content_type)];
        proxy.check_with(path, &lines, r#" {"topics":["t"]}"#, 204, "").await;
    }
    proxy.check_with(path, &[], r#"{"topics":["t"]}"#, 204, "").await;
    let records = "GET @/records?timeout=-1";
    for accept in [JSON, V2, "*/*", "application/json", "application/vnd.kafka.binary.v2+json, */*;q=0.1"] {
        proxy.check_with(records, &[("accept", accept)], "", 200, "[]").await;
    }
    proxy.check_with(records, &[], "", 200, "[]").await;
}

#[tokio::test(start_paused = true)]
async fn records_that_were_not_sent_fully_are_given_again() {
    let proxy = with_consumer().await;
    proxy.check("POST @/subscription", r#"{"topics":["t"]}"#, 204, "").await;
    proxy.logs.append(0, 1);
    let get = async |method| {
        let target = rest("/consumers/g/instances/i/records");
        crate::http::ask(&proxy.grant, &target, method, &HeaderMap::new(), "").await
    };
    drop(get(Method::GET).await.into_http(&Method::GET, None));
    drop(get(Method::HEAD).await.into_http(&Method::HEAD, None));
    let told = get(Method::GET).await.into_http(&Method::GET, None).into_body().collect().await.unwrap();
    assert!(told.to_bytes().starts_with(br#"[{"topic":"t""#));
    proxy.check("GET @/records?timeout=0", "", 200, "[]").await;
}

#[tokio::test(start_paused = true)]
async fn groups_and_topics_are_those_of_the_route() {
    let logs = Logs::default();
    let rights = |consume: Option<&str>| Rights {
        read: Some(Topics::parse(b"a").unwrap()),
        write: None,
        consume: consume.map(|groups| Topics::parse(groups.as_bytes()).unwrap()),
    };
    let grant = Proxy::granted(&logs, rights(Some("mine-*")));
    let mut proxy = Proxy { logs, grant };
    proxy.check("POST /consumers/g", r#"{"name":"i"}"#, 403, "403").await;
    proxy.check("GET /consumers/g/offsets?topic=t", "", 403, "403").await;
    let (status, _, _) = proxy.ask("POST /consumers/mine-1", &[], r#"{"name":"i"}"#).await;
    assert_eq!(status, 200, "without the right to write");
    let path = "/consumers/mine-1/instances/i/subscription";
    proxy.check(&format!("POST {path}"), r#"{"topics":["u"]}"#, 403, "403").await;
    proxy.check(&format!("POST {path}"), r#"{"topic_pattern":".*"}"#, 204, "").await;
    let (_, _, told) = proxy.ask(&format!("GET {path}"), &[], "").await;
    assert!(told.starts_with(r#"{"topics":["a"]"#), "{told}");
    proxy.grant = Proxy::granted(&proxy.logs, rights(None));
    let (status, _, told) = proxy.ask("POST /consumers/mine-2", &[], "{}").await;
    assert!(status == 403 && told.contains("consume"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn base_uri_is_the_gateways() {
    for (lines, want) in [
        ("host: gateway:8080", "http://gateway:8080/kafka"),
        ("host: g\nx-forwarded-proto: https", "https://g/kafka"),
        (
            "host: bridge\nx-forwarded-host: a.example, b\nx-forwarded-proto: https,http",
            "https://a.example/kafka",
        ),
        ("host: g\nx-forwarded-prefix: /outer/", "http://g/outer/kafka"),
        ("host: g\nforwarded: for=1.2.3.4;Host=\"a:443\";proto=https, host=b", "https://a:443/kafka"),
        (
            "host: g\nx-forwarded-host: a/b\nx-forwarded-proto: x\nx-forwarded-prefix: //e\" ",
            "http://g/kafka",
        ),
    ] {
        let lines: Vec<_> = lines.lines().map(|line| line.split_once(": ").unwrap()).collect();
        let (status, _, told) = Proxy::new().ask("POST /consumers/a%20b", &lines, r#"{"name":"i"}"#).await;
        let want = format!(r#"{{"instance_id":"i","base_uri":"{want}/consumers/a%20b/instances/i"}}"#);
        assert_eq!((status, told), (200, want));
    }
}

//! Plain HTTP requests, as a gateway passes them on.

use std::time::{Duration, Instant};

use ::http::HeaderMap;
use prost::Message;
use rdkafka::mocking::MockCluster;
use sluicegate_protocol::cmd_http::Resource;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CALL_PATH, CmdHttp, HttpHeader, HttpProduce, HttpResp, HttpRest, PubSubReq, PubSubResp,
};
use tokio::net::TcpSocket;

use crate::support::{Gateway, start, start_before};

pub(crate) fn rest(method: &str, path: &str) -> CmdHttp {
    let resource = Some(Resource::Rest(HttpRest { path: path.into(), write: true }));
    CmdHttp { method: method.into(), resource, ..CmdHttp::default() }
}

pub(crate) async fn send(gateway: &Gateway, request: CmdHttp) -> Result<HttpResp, HeaderMap> {
    let request = PubSubReq { sequence: 0, req: Some(Req::CmdHttp(request)) };
    let (answer, trailers) = gateway.call(CALL_PATH, &[], &request.encode_to_vec()).await;
    let Some(answer) = answer else { return Err(trailers) };
    assert_eq!(trailers["grpc-status"], "0");
    let resp = PubSubResp::decode(answer).unwrap().resp;
    let response = if let Some(Resp::HttpResp(response)) = resp { Some(response) } else { None };
    Ok(response.expect("an HTTP response"))
}

pub(crate) fn header<'a>(response: &'a HttpResp, name: &str) -> Option<&'a [u8]> {
    response.headers.iter().find(|header| header.name == name).map(|header| &header.value[..])
}

#[tokio::test]
async fn what_a_client_gets_wrong_is_an_answer_and_no_error_of_the_call() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let many = CmdHttp { headers: vec![HttpHeader::default(); 257], ..rest("GET", "/topics") };
    for (request, status, want) in [
        (rest("GET", "/nothing"), 404, "nothing is at this path"),
        (rest("PUT", "/topics"), 405, "GET, HEAD, OPTIONS only"),
        (rest("no method", "/topics"), 405, "GET, HEAD, OPTIONS only"),
        (rest("GET", "/topics?x=1"), 400, "query parameter x is unknown"),
        (many, 431, "257 headers that have a meaning here: expected at most 256"),
        (CmdHttp::default(), 500, "the gateway named no resource"),
    ] {
        let response = send(&gateway, request).await.unwrap();
        let body = std::str::from_utf8(&response.body).unwrap();
        assert_eq!(response.status, status, "{body}");
        assert!(body.contains(want), "{body}");
        assert_eq!(header(&response, "content-type"), Some(&b"application/problem+json"[..]));
    }
}

#[tokio::test]
async fn options_and_head_are_answered() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let options = send(&gateway, rest("OPTIONS", "/topics/t")).await.unwrap();
    assert_eq!((options.status, header(&options, "allow")), (204, Some(&b"GET, HEAD, POST, OPTIONS"[..])));
    // The gateway makes the headers of HEAD out of what GET would be answered.
    let (head, get) = (rest("HEAD", "/nothing"), rest("GET", "/nothing"));
    assert_eq!(send(&gateway, head).await, send(&gateway, get).await);
}

#[tokio::test]
async fn a_body_of_the_gateways_limit_fits_into_a_call_of_the_bridges() {
    let bridge = start(WRITES).await;
    let gateway = Gateway::connect(&bridge).await;
    let request = |len: usize| {
        let headers = vec![HttpHeader { name: "x-kafka-key".into(), value: vec![b'k'; 8 * 1024].into() }];
        let route = HttpProduce { header_prefix: "x-kafka-".into(), ..HttpProduce::default() };
        CmdHttp { headers, body: vec![b'x'; len].into(), ..produce(route) }
    };
    let response = send(&gateway, request(1 << 20)).await.unwrap();
    assert_eq!(response.status, 403, "the key is not the client's to choose");
    let trailers = send(&gateway, request(2 << 20)).await.unwrap_err();
    assert_eq!(trailers["grpc-status"], "11", "what no gateway with the same limit sends");
}

#[tokio::test]
async fn while_kafka_is_down_clients_are_told_to_come_back() {
    let bridge = start(WRITES).await;
    let gateway = Gateway::connect(&bridge).await;
    let topic = || HttpProduce { topic: "t".into(), ..HttpProduce::default() };
    let headers = vec![HttpHeader { name: "content-type".into(), value: "application/json".into() }];
    let body = "{\"records\":[{},{}]}".into();
    let batch = CmdHttp { headers, body, ..rest("POST", "/topics/t") };
    for (request, member) in [(produce(topic()), "\"status\":503"), (batch, "\"error_code\":50003")] {
        let response = send(&gateway, request).await.unwrap();
        let body = std::str::from_utf8(&response.body).unwrap();
        assert_eq!(response.status, 503, "{body}");
        assert!(body.contains(member) && body.contains("try again after Retry-After"), "{body}");
        assert_eq!(header(&response, "retry-after"), Some(&b"1"[..]));
        assert!(!body.contains("unknown_outcome"), "{body}");
        assert!(!body.contains("127.0.0.1"), "where brokers are is nobody's business: {body}");
    }
}

#[tokio::test]
async fn nothing_is_written_to_a_cluster_that_is_not_named() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let topic = HttpProduce { topic: "t".into(), ..HttpProduce::default() };
    for request in [produce(topic), rest("POST", "/topics/t")] {
        let response = send(&gateway, request).await.unwrap();
        let body = std::str::from_utf8(&response.body).unwrap();
        assert_eq!(response.status, 403);
        assert!(body.contains("the bridge does not write to this cluster"), "{body}");
    }
}

#[tokio::test]
async fn a_drain_delivers_records_whose_clients_did_not_wait() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("t", 1, 1).unwrap();
    let kafka = mock.bootstrap_servers().parse().unwrap();
    // The record is still in the queue when the bridge is told to stop.
    let bridge = start_before(kafka, "", &format!("linger.ms = 400\n{WRITES}")).await;
    let gateway = Gateway::connect(&bridge).await;
    let response = send(&gateway, unawaited()).await.unwrap();
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(header(&response, "preference-applied"), Some(&b"respond-async"[..]));
    bridge.drain().await;
    let next = start_before(kafka, "", "").await;
    let gateway = Gateway::connect(&next).await;
    let ends = send(&gateway, rest("GET", "/topics/t/partitions/0/offsets")).await.unwrap();
    assert_eq!(ends.body, r#"{"beginning_offset":0,"end_offset":1}"#);
}

#[tokio::test]
async fn a_drain_tells_clients_whose_records_are_not_handed_over() {
    let kafka = TcpSocket::new_v4().unwrap();
    kafka.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let more = format!("{WRITES}\n[session]\ndrain_timeout_ms = 5000");
    let bridge = start_before(kafka.local_addr().unwrap(), "", &more).await;
    let gateway = Gateway::connect(&bridge).await;
    // Not before the start, at which librdkafka tries its properties. It accepts, and says nothing.
    let kafka = kafka.listen(1).unwrap();
    let drain = async {
        // The record's topic is being looked up.
        let _connection = kafka.accept().await.unwrap();
        let started = Instant::now();
        bridge.drain().await;
        started.elapsed()
    };
    let (response, elapsed) = tokio::join!(send(&gateway, unawaited()), drain);
    let response = response.unwrap();
    let body = std::str::from_utf8(&response.body).unwrap();
    assert_eq!(response.status, 503, "{body}");
    assert!(body.contains("the bridge is shutting down: nothing is written"), "{body}");
    // Two fifths of the time are for what is being written, and nothing is left to be cut off behind that.
    assert!((Duration::from_secs(2)..Duration::from_secs(5)).contains(&elapsed), "{elapsed:?}");
}

/// A record for `t` whose client does not wait for it.
fn unawaited() -> CmdHttp {
    let headers = vec![HttpHeader { name: "prefer".into(), value: "respond-async".into() }];
    CmdHttp { headers, ..produce(HttpProduce { topic: "t".into(), ..HttpProduce::default() }) }
}

fn produce(route: HttpProduce) -> CmdHttp {
    let resource = Some(Resource::Produce(route));
    CmdHttp { method: "POST".into(), resource, ..CmdHttp::default() }
}

const WRITES: &str = "[write]\nclusters = [\"default\"]";

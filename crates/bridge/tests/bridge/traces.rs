//! Traces, as a collector receives them over OTLP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::Value as Json;
use sluicegate_bridge::Bridge;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaProduce, ProduceRecord};
use sluicegate_stack::waiting::becomes;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::http::{WRITE, rest, send};
use crate::support::{
    ENDPOINTS, Gateway, WRITES, admin, closed_port, fetch, metric, mock, start_before, with,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const GATEWAY: &str = "b7ad6b7169203331";
const WITHIN: Duration = Duration::from_secs(20);

/// Keeps what it receives.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            let is_service =
                |(key, value): (&str, &str)| key == "service.name" && value == "sluicegate-bridge";
            assert!(
                attributes
                    .iter()
                    .any(|attribute| is_service((&attribute.key, &text(attribute.value.clone()))))
            );
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let service = TraceServiceServer::new(collector.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming));
        (collector, address)
    }

    /// Waits for a span of this name.
    async fn span(&self, name: &str) -> Span {
        let has = async || self.0.lock().unwrap().iter().any(|span| span.name == name);
        becomes(name, true, WITHIN, has).await;
        let spans = self.0.lock().unwrap();
        let named: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(named.len(), 1, "{named:?}");
        named[0].clone()
    }
}

fn text(value: Option<opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[track_caller]
fn check(span: &Span, parent: &[u8], kind: SpanKind, attributes: &[(&str, &str)]) {
    assert_eq!(hex(&span.trace_id), TRACE, "{span:?}");
    assert_eq!(span.parent_span_id, parent, "{span:?}");
    assert_eq!(span.kind(), kind, "{span:?}");
    for (key, want) in attributes {
        let found = span.attributes.iter().find(|attribute| attribute.key == *key);
        let found = found.unwrap_or_else(|| panic!("{key} in {span:?}"));
        assert_eq!(text(found.value.clone()), *want, "{key}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn gateway_span() -> Vec<u8> {
    u64::from_str_radix(GATEWAY, 16).unwrap().to_be_bytes().to_vec()
}

fn traceparent(sampled: bool) -> String {
    format!("00-{TRACE}-{GATEWAY}-0{}", u8::from(sampled))
}

async fn start(kafka: &str, collector: SocketAddr, more: &str) -> (Bridge, Gateway) {
    let more = format!("{WRITES}[traces]\nendpoint = \"http://{collector}\"\n{more}");
    let bridge = start_before(kafka.parse().unwrap(), "", &more).await;
    let gateway = Gateway::connect(&bridge).await;
    (bridge, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn request_is_traced_from_its_gateway_to_the_broker() {
    let (collector, address) = Collector::start().await;
    let mock = mock(1);
    let (bridge, gateway) = start(&mock.bootstrap_servers(), address, "").await;
    let path = "/topics/t/partitions/0/records?offset=0&timeout=0";
    let request = with(rest("GET", path), &[("traceparent", &traceparent(true))]);
    assert_eq!(send(&gateway, request).await.status, 200);

    let route = "/topics/{topic}/partitions/{partition}/records";
    let http = collector.span(&format!("GET {route}")).await;
    check(
        &http,
        &gateway_span(),
        SpanKind::Server,
        &[("http.request.method", "GET"), ("http.route", route), ("http.response.status_code", "200")],
    );
    let broker = collector.span("Fetch").await;
    let (host, port) =
        mock.bootstrap_servers().rsplit_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).unwrap();
    let attributes = [("messaging.system", "kafka"), ("server.address", &*host), ("server.port", &*port)];
    check(&broker, &http.span_id, SpanKind::Client, &attributes);
    assert_eq!(metric(&bridge, "sluicegate_trace_spans_dropped_total").await, 0);
    bridge.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_a_session_are_in_the_trace_of_its_upgrade() {
    for endpoint in ENDPOINTS {
        let (collector, address) = Collector::start().await;
        let mock = mock(1);
        let (bridge, gateway) = start(&mock.bootstrap_servers(), address, "").await;
        let headers = [("traceparent", &*traceparent(true)), WRITE];
        let mut session = gateway.open(endpoint, &headers).await.unwrap();
        let record = ProduceRecord { topic: "t".into(), partition: Some(0), ..ProduceRecord::default() };
        session.ask(1, Req::CmdKafkaProduce(CmdKafkaProduce { records: vec![record; 3] })).await;
        assert!(matches!(session.next().await.unwrap().resp, Some(Resp::KafkaProduceResp(_))));
        session.ask(2, fetch()).await;
        assert!(matches!(session.next().await.unwrap().resp, Some(Resp::KafkaFetchResp(_))));
        // Queued spans are exported at the end.
        bridge.drain().await;

        let produce = collector.span("produce").await;
        let operation = [("messaging.operation.type", "send"), ("messaging.batch.message_count", "3")];
        check(&produce, &gateway_span(), SpanKind::Server, &operation);
        check(&collector.span("Produce").await, &produce.span_id, SpanKind::Producer, &operation);
        let span = collector.span("fetch").await;
        let log = [("messaging.destination.name", "t"), ("messaging.destination.partition.id", "0")];
        check(&span, &gateway_span(), SpanKind::Server, &log);
        check(&collector.span("Fetch").await, &span.span_id, SpanKind::Client, &[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_id_joins_error_and_trace() {
    let (collector, address) = Collector::start().await;
    let (bridge, gateway) = start(&closed_port().await.to_string(), address, "").await;
    let path = "/topics/t/partitions/0/offsets";
    for sampled in [false, true] {
        let request = with(rest("GET", path), &[("traceparent", &traceparent(sampled))]);
        let response = send(&gateway, request).await;
        let problem: Json = serde_json::from_str(response.text()).unwrap();
        assert_eq!((problem["status"].as_u64(), problem["trace_id"].as_str()), (Some(503), Some(TRACE)));
    }
    let http = collector.span("GET /topics/{topic}/partitions/{partition}/offsets").await;
    check(&http, &gateway_span(), SpanKind::Server, &[("error.type", "503")]);
    assert_eq!(http.status.unwrap().code(), StatusCode::Error);

    let mut session = gateway.open(ENDPOINTS[0], &[("traceparent", &traceparent(true))]).await.unwrap();
    session.ask(1, fetch()).await;
    let Some(Resp::ErrorResp(error)) = session.next().await.unwrap().resp else { panic!("an error") };
    assert_eq!(error.trace_id, TRACE);
    check(
        &collector.span("fetch").await,
        &gateway_span(),
        SpanKind::Server,
        &[("error.type", "UNREACHABLE")],
    );
    bridge.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bridge_begins_traces_that_the_gateway_leaves_open() {
    let (collector, address) = Collector::start().await;
    let (bridge, gateway) = start(&closed_port().await.to_string(), address, "sample_ratio = 1").await;
    let response = send(&gateway, rest("GET", "/topics")).await;
    let problem: Json = serde_json::from_str(response.text()).unwrap();
    let http = collector.span("GET /topics").await;
    assert_eq!(problem["trace_id"], hex(&http.trace_id));
    assert!(http.parent_span_id.is_empty(), "{http:?}");

    // Each command of a session is a trace of its own.
    let mut session = gateway.open(ENDPOINTS[0], &[]).await.unwrap();
    session.ask(1, fetch()).await;
    let Some(Resp::ErrorResp(error)) = session.next().await.unwrap().resp else { panic!("an error") };
    let span = collector.span("fetch").await;
    assert_eq!(error.trace_id, hex(&span.trace_id));
    assert_ne!(span.trace_id, http.trace_id);
    bridge.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_or_silent_collector_affects_no_request() {
    affects_no_request(closed_port().await).await;
    // The kernel accepts connections to it, and nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    affects_no_request(silent.local_addr().unwrap()).await;
}

async fn affects_no_request(collector: SocketAddr) {
    let mock = mock(1);
    let (bridge, gateway) = start(&mock.bootstrap_servers(), collector, "").await;
    for _ in 0..20 {
        let request = with(rest("GET", "/topics"), &[("traceparent", &traceparent(true))]);
        assert_eq!(send(&gateway, request).await.status, 200);
    }
    let dropped = async || metric(&bridge, "sluicegate_trace_spans_dropped_total").await >= 20;
    becomes("dropped spans", true, WITHIN, dropped).await;
    send(&gateway, with(rest("GET", "/topics"), &[("traceparent", &traceparent(true))])).await;
    timeout(WITHIN, bridge.drain()).await.expect("the bridge does not wait for the collector");
}

#[tokio::test]
async fn nothing_is_counted_without_a_collector() {
    let bridge = start_before(closed_port().await, "", "").await;
    let (_, metrics) = admin(&bridge, "/metrics").await;
    assert!(!metrics.contains("sluicegate_trace_spans"), "{metrics}");
}

//! Plain HTTP requests, as a gateway passes them on.

use ::http::HeaderMap;
use prost::Message;
use sluicegate_protocol::cmd_http::Resource;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CALL_PATH, CmdHttp, HttpHeader, HttpProduce, HttpResp, HttpRest, PubSubReq, PubSubResp,
};

use crate::support::{Gateway, start};

fn rest(method: &str, path: &str) -> CmdHttp {
    let resource = Some(Resource::Rest(HttpRest { path: path.into(), write: true }));
    CmdHttp { method: method.into(), resource, ..CmdHttp::default() }
}

async fn send(gateway: &Gateway, request: CmdHttp) -> Result<HttpResp, HeaderMap> {
    let request = PubSubReq { sequence: 0, req: Some(Req::CmdHttp(request)) };
    let (answer, trailers) = gateway.call(CALL_PATH, &[], &request.encode_to_vec()).await;
    let Some(answer) = answer else { return Err(trailers) };
    assert_eq!(trailers["grpc-status"], "0");
    match PubSubResp::decode(answer).unwrap().resp {
        Some(Resp::HttpResp(response)) => Ok(response),
        other => panic!("{other:?}"),
    }
}

fn header<'a>(response: &'a HttpResp, name: &str) -> Option<&'a [u8]> {
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
async fn options_and_head_have_no_body() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let options = send(&gateway, rest("OPTIONS", "/topics/t")).await.unwrap();
    assert_eq!((options.status, header(&options, "allow")), (204, Some(&b"GET, HEAD, POST, OPTIONS"[..])));
    let head = send(&gateway, rest("HEAD", "/nothing")).await.unwrap();
    assert_eq!((head.status, &head.body[..]), (404, &b""[..]));
}

#[tokio::test]
async fn a_body_of_the_gateways_limit_fits_into_a_call_of_the_bridges() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let resource = || Some(Resource::Produce(HttpProduce { topic: "t".into(), ..HttpProduce::default() }));
    let request = |len: usize| {
        let headers = vec![HttpHeader { name: "x-kafka-key".into(), value: vec![b'k'; 8 * 1024].into() }];
        let body = vec![b'x'; len].into();
        CmdHttp { method: "POST".into(), resource: resource(), headers, body }
    };
    let response = send(&gateway, request(1 << 20)).await.unwrap();
    assert_ne!(response.status, 413);
    let trailers = send(&gateway, request(2 << 20)).await.unwrap_err();
    assert_eq!(trailers["grpc-status"], "11", "what no gateway with the same limit sends");
}

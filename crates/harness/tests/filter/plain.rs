//! Plain HTTP requests to the filter, and the calls that the bridge gets of them.

use prost::Message;
use sluicegate_harness::{GrpcCall, Headers, Response, Stream, Vm};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdHttp, HttpHeader, HttpResp, PubSubReq, PubSubResp};

use crate::socket::answered;

/// A web page that the produce route lists.
pub(crate) const PAGE: &str = "https://app.example";

/// What Envoy says of a call for which there was no connection to the bridge.
pub(crate) const UNCONNECTED: &str = "upstream connect error or disconnect/reset before headers. reset reason: remote \
    connection failure, transport failure reason: delayed connect error: Connection refused";

/// A request without a body.
pub(crate) fn request(method: &str, path: &str) -> Headers {
    Headers::from([
        (":method", method),
        (":path", path),
        (":scheme", "http"),
        (":authority", "gateway.example"),
    ])
}

/// A request with a body to come, of which the length is not known.
pub(crate) fn post(path: &str) -> Headers {
    request("POST", path).with("transfer-encoding", "chunked")
}

/// A request with this body, sent in one piece.
pub(crate) fn posted(vm: &Vm, path: &str, body: impl AsRef<[u8]>) -> Stream {
    let mut stream = vm.request(post(path));
    stream.client_sends(body);
    stream.client_ends();
    stream
}

/// The only call that the bridge has not answered.
#[track_caller]
pub(crate) fn call(vm: &Vm) -> (GrpcCall, CmdHttp) {
    let calls = vm.grpc_calls();
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    (call.clone(), command(call))
}

#[track_caller]
pub(crate) fn command(call: &GrpcCall) -> CmdHttp {
    decode(&call.message)
}

#[track_caller]
pub(crate) fn decode(message: &[u8]) -> CmdHttp {
    match PubSubReq::decode(message).expect("a PubSubReq") {
        PubSubReq { sequence: 0, req: Some(Req::CmdHttp(command)) } => command,
        other => panic!("{other:?}"),
    }
}

/// The bridge answers its only call.
#[track_caller]
pub(crate) fn answer(vm: &Vm, status: u32, headers: &[(&str, &str)], body: &str) {
    vm.answer_grpc_call(call(vm).0.token, answer_of(status, headers, body));
}

pub(crate) fn answer_of(status: u32, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers = headers.iter().map(|(name, value)| HttpHeader {
        name: (*name).to_owned(),
        value: value.as_bytes().to_vec().into(),
    });
    let answer = HttpResp { status, headers: headers.collect(), body: body.to_owned().into() };
    PubSubResp { sequence: 0, resp: Some(Resp::HttpResp(answer)) }.encode_to_vec()
}

/// Header names and values of a command, readable.
pub(crate) fn headers(command: &CmdHttp) -> Vec<(&str, String)> {
    let text = |header: &HttpHeader| header.value.escape_ascii().to_string();
    command.headers.iter().map(|header| (header.name.as_str(), text(header))).collect()
}

/// The client has this problem document, and that is all.
#[track_caller]
pub(crate) fn told(stream: &Stream, status: u16, detail: &str) {
    says(&answered(stream), status, detail);
}

/// This is such a document.
#[track_caller]
pub(crate) fn says(response: &Response, status: u16, detail: &str) {
    let text = response.text();
    assert_eq!(response.status(), status, "{text}");
    assert_eq!(response.headers.text("content-type"), Some("application/problem+json"));
    assert!(text.contains(&format!(r#","status":{status},"detail":"{detail}""#)), "{text}");
    assert!(response.complete);
}

/// A plain request goes there and its answer comes back.
#[track_caller]
pub(crate) fn works(vm: &Vm) {
    let stream = posted(vm, "/orders", "witness");
    assert_eq!(&call(vm).1.body[..], b"witness");
    answer(vm, 200, &[], "seen");
    assert_eq!(answered(&stream).text(), "seen");
}

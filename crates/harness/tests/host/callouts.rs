//! Call-outs: recorded, answered, failed.

use std::time::Duration;

use sluicegate_harness::{Headers, Settings, Vm};

use crate::support::{get, list, log, start, start_with};

fn http_call(cluster: &str, headers: &[(&str, &str)], timeout: i32) -> String {
    format!(
        "(call $code (call $http '{cluster}' '{}' 'body' '' (i32.const {timeout}) (i32.const 2048)))",
        list(headers)
    )
}

const COMPLETE: [(&str, &str); 3] = [(":method", "POST"), (":path", "/x"), (":authority", "b")];

const TOLD: (&str, &str) = (
    "http_call_response",
    "(call $code (local.get $headers)) (call $code (local.get $body))
     (call $show (i32.const 6) ':status') (call $body (i32.const 4))
     (call $code (call $status (i32.const 2052) (i32.const 1032) (i32.const 1036)))
     (call $code (i32.load (i32.const 2052))) (call $say (i32.load (i32.const 1032)) (i32.load (i32.const 1036)))",
);

fn vm(request: &str) -> Vm {
    let settings = Settings { clusters: vec!["bridge".to_owned()], ..Settings::default() };
    start_with(settings, &[("request_headers", &format!("{request} (i32.const 1)")), TOLD])
}

#[test]
fn an_http_call_is_recorded_and_its_answer_readable_in_the_callback() {
    let vm = vm(&http_call("bridge", &COMPLETE, 500));
    let _stream = vm.request(get());
    let calls = vm.http_calls();
    let call = calls.first().unwrap();
    assert_eq!(call.headers, Headers::from(COMPLETE).with("content-length", "4"));
    assert_eq!((call.cluster.as_str(), call.body.as_slice()), ("bridge", &b"body"[..]));
    assert_eq!(call.timeout, Duration::from_millis(500));

    vm.answer_http_call(call.token, [(":status", "200")], "fine");
    vm.answer_http_call(call.token, [(":status", "200")], "twice");
    assert_eq!(log(&vm), ["00", "01", "04", "00", "200", "00", "fine", "00", "00", ""]);
    assert_eq!(vm.http_calls().len(), 0);
}

#[test]
fn a_failed_http_call_has_no_headers_and_status_eleven() {
    let vm = vm(&http_call("bridge", &COMPLETE, 0));
    let _stream = vm.request(get());
    vm.fail_http_call(vm.http_calls().first().unwrap().token);
    assert_eq!(log(&vm), ["00", "00", "00", "02", "01", "00", "11", "reset"]);
}

#[test]
fn an_http_call_that_envoy_would_refuse_is_a_bad_argument() {
    let check = |call: &str| {
        let vm = vm(call);
        let _stream = vm.request(get());
        assert_eq!((log(&vm), vm.http_calls().len()), (vec!["02".to_owned()], 0));
    };
    check(&http_call("unknown", &COMPLETE, 1));
    check(&http_call("bridge", &COMPLETE[1..], 1));
    check(&http_call("bridge", &COMPLETE, -1));
}

#[test]
fn an_http_call_without_a_place_for_its_token_is_not_made() {
    let call = http_call("bridge", &COMPLETE, 1).replace("(i32.const 2048)", "(i32.const -2)");
    let vm = vm(&call);
    let _stream = vm.request(get());
    assert_eq!((log(&vm), vm.http_calls().len()), (vec!["06".to_owned()], 0));
}

#[test]
fn an_http_call_without_a_body_has_no_length() {
    let vm = vm(&http_call("bridge", &COMPLETE, 1).replace("'body'", "''"));
    let _stream = vm.request(get());
    assert_eq!(vm.http_calls().first().unwrap().headers, Headers::from(COMPLETE));
}

#[test]
fn an_answer_is_gone_once_its_callback_has_returned() {
    let vm = vm(&format!("{} (call $show (i32.const 6) ':status')", http_call("bridge", &COMPLETE, 1)));
    let _first = vm.request(get());
    vm.answer_http_call(vm.http_calls().first().unwrap().token, [(":status", "200")], "");
    let before = log(&vm).len();
    let _second = vm.request(get());
    assert_eq!(log(&vm).split_off(before), ["00", "02"]);
}

fn grpc_vm() -> Vm {
    start(&[
        (
            "request_headers",
            &format!(
                "(call $code (call $grpc 'service' 'sluicegate.v1.Bridge' 'Call' '{}' 'request' (i32.const 7) (i32.const 2048)))
                 (i32.const 1)",
                list(&[("a", "b")])
            ),
        ),
        ("grpc_receive", "(call $code (local.get $size)) (call $body (i32.const 5))"),
        ("tick", "(call $body (i32.const 5))"),
        ("configure", "(drop (call $tick (i32.const 10))) (i32.const 1)"),
        (
            "grpc_close",
            "(call $code (local.get $size))
             (call $answer (call $status (i32.const 2052) (i32.const 1032) (i32.const 1036)))",
        ),
    ])
}

#[test]
fn a_grpc_call_is_recorded_and_answered() {
    let vm = grpc_vm();
    let _stream = vm.request(get());
    let calls = vm.grpc_calls();
    let call = calls.first().unwrap();
    assert_eq!(
        (call.service.as_slice(), call.service_name.as_str()),
        (&b"service"[..], "sluicegate.v1.Bridge")
    );
    assert_eq!((call.method.as_str(), call.message.as_slice()), ("Call", &b"request"[..]));
    assert_eq!((call.metadata.text("a"), call.timeout), (Some("b"), Duration::from_millis(7)));
    vm.answer_grpc_call(call.token, "answer");
    vm.advance(Duration::from_millis(10));
    assert_eq!(log(&vm), ["00", "06", "00", "answer", "00", ""]);
    assert_eq!(vm.grpc_calls().len(), 0);
}

#[test]
fn a_grpc_call_that_fails_tells_its_code_and_message() {
    let vm = grpc_vm();
    let _stream = vm.request(get());
    vm.fail_grpc_call(vm.grpc_calls().first().unwrap().token, 14, "unavailable");
    assert_eq!(log(&vm), ["00", "14", "00", "unavailable"]);
}

#[test]
fn a_cancelled_grpc_call_is_heard_of_no_more_and_cannot_be_cancelled_again() {
    let cancel = "(call $code (call $cancel (i32.const 1)))";
    let call = "(drop (call $grpc 'service' 'sluicegate.v1.Bridge' 'Call' '' 'request' (i32.const 7) (i32.const 2048)))";
    let vm = start(&[
        ("request_headers", &format!("{call} {cancel} {cancel} (i32.const 1)")),
        ("grpc_receive", "(call $say 'heard')"),
    ]);
    let _stream = vm.request(get());
    vm.answer_grpc_call(1, "answer");
    assert_eq!((log(&vm), vm.grpc_calls().len()), (vec!["00".to_owned(), "01".to_owned()], 0));
}

#[test]
fn a_call_that_failed_while_it_was_made_is_told_by_a_token_that_nobody_has() {
    let vm = grpc_vm();
    vm.fail_grpc_call(99, 14, "unavailable");
    assert_eq!(log(&vm), ["14", "00", "unavailable"]);
}

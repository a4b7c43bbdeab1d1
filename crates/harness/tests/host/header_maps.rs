//! Header maps: when they can be read, and the effect of writes.

use sluicegate_harness::Headers;

use crate::support::{get, list, log, ok, post, start};

#[test]
fn headers_are_readable_in_their_callback_and_in_the_log_phase() {
    let look = "(call $show (i32.const 0) ':path') (call $show (i32.const 2) ':status') (call $show (i32.const 0) 'x')";
    let look_and_go = format!("{look} (i32.const 0)");
    let vm = start(&[
        ("request_headers", &look_and_go),
        ("request_body", &look_and_go),
        ("response_headers", &look_and_go),
        ("log", look),
        ("delete", look),
    ]);
    let mut stream = vm.request(post());
    stream.client_sends("x");
    stream.upstream_headers(ok(), true);
    let (headers, body, response) =
        (&["00", "/p", "02", "01"][..], &["02", "02", "02"][..], &["02", "00", "200", "02"][..]);
    let in_log = &["00", "/p", "00", "200", "01"][..];
    assert_eq!(log(&vm), [headers, body, response, in_log, body].concat());
}

#[test]
fn headers_stay_open_while_they_are_held_back() {
    let vm = start(&[
        ("request_headers", "(drop (call $tick (i32.const 10))) (i32.const 1)"),
        (
            "tick",
            "(drop (call $effective (i32.const 2))) (call $show (i32.const 0) ':path') \
                  (drop (call $continue (i32.const 0)))
                  (call $show (i32.const 0) ':path')",
        ),
    ]);
    let _stream = vm.request(get());
    vm.advance(std::time::Duration::from_millis(10));
    assert_eq!(log(&vm), ["00", "/p", "02"]);
}

#[test]
fn upstream_gets_the_changed_headers() {
    let vm = start(&[(
        "request_headers",
        "(call $code (call $add (i32.const 0) 'X-Two' '2'))
         (call $code (call $replace (i32.const 0) ':path' '/q'))
         (call $code (call $remove (i32.const 0) 'secret'))
         (call $code (call $remove (i32.const 0) 'absent'))
         (call $code (call $add (i32.const 2) 'x' 'y'))
         (call $code (call $add (i32.const 8) 'x' 'y'))
         (call $code (call $pairs (i32.const 8) (i32.const 1032) (i32.const 1036)))
         (call $code (call $add (i32.const 1) 'x' 'y'))
         (i32.const 0)",
    )]);
    let stream = vm.request(get().with("secret", "1").with("x-two", b"\xff\xfe"));
    let headers = stream.upstream_request().unwrap();
    assert_eq!(log(&vm), ["00", "00", "00", "00", "02", "02", "02", "02"]);
    assert_eq!(headers.text(":path"), Some("/q"));
    assert_eq!(headers.get("secret"), None);
    let twos: Vec<_> = headers.iter().filter(|(name, _)| *name == b"x-two").map(|(_, value)| value).collect();
    assert_eq!(twos, [&b"\xff\xfe"[..], b"2"]);
}

#[test]
fn replaced_map_reaches_the_client() {
    let set = format!(
        "(call $code (call $set_pairs (i32.const 2) '{}')) (i32.const 0)",
        list(&[(":status", "101"), ("a", "b")])
    );
    let vm = start(&[("response_headers", &set)]);
    let mut stream = vm.request(get());
    stream.upstream_headers(ok().with("gone", "1"), true);
    assert_eq!(stream.response().unwrap().headers, Headers::from([(":status", "101"), ("a", "b")]));
}

#[test]
fn missing_list_is_address_zero() {
    let vm = start(&[(
        "request_headers",
        "(call $answer (call $pairs (i32.const 0) (i32.const 1032) (i32.const 1036)))
         (call $code (call $pairs (i32.const 3) (i32.const 1032) (i32.const 1036)))
         (call $code (i32.add (i32.load (i32.const 1032)) (i32.load (i32.const 1036))))
         (i32.const 0)",
    )]);
    let _stream = vm.request([(":path", "/")]);
    assert_eq!(log(&vm), ["00", "\u{1}\0\0\0\u{5}\0\0\0\u{1}\0\0\0:path\0/\0", "00", "00"]);
}

#[test]
fn trailers_can_be_added_in_the_last_body_callback() {
    let vm =
        start(&[("request_body", "(call $code (call $add (i32.const 1) 'grpc-status' '0')) (i32.const 0)")]);
    let mut stream = vm.request(post());
    stream.client_sends("a");
    stream.client_ends();
    assert_eq!(log(&vm), ["02", "00"]);
    assert_eq!(stream.trailers_to_upstream(), Some(Headers::from([("grpc-status", "0")])));
    assert!(stream.upstream_has_all());
}

#[test]
fn response_trailers_are_readable_in_the_log_phase() {
    let look = "(call $show (i32.const 1) 'a') (call $show (i32.const 3) 'b')";
    let look_and_go = format!("{look} (i32.const 0)");
    let vm = start(&[
        ("request_trailers", &look_and_go),
        ("response_headers", &look_and_go),
        ("response_trailers", &look_and_go),
        ("log", look),
        ("delete", look),
    ]);
    let mut stream = vm.request(post());
    stream.client_trailers([("a", "1")]);
    stream.upstream_headers(ok(), false);
    stream.upstream_trailers([("b", "2")]);
    let lines =
        [&["00", "1", "02"][..], &["02", "02"], &["02", "00", "2"], &["01", "00", "2"], &["02", "02"]];
    assert_eq!(log(&vm), lines.concat());
}

#[test]
fn line_break_in_a_header_traps() {
    let forged = list(&[("a", "b\r\nc: d")]);
    for call in [
        "(call $add (i32.const 0) 'a' 'b\\0d\\0ac: d')".to_owned(),
        "(call $replace (i32.const 0) 'a\\00' 'b')".to_owned(),
        format!("(call $set_pairs (i32.const 0) '{forged}')"),
        format!("(call $respond (i32.const 400) '' '' '{forged}' (i32.const -1))"),
    ] {
        let vm = start(&[("request_headers", &format!("(drop {call}) (i32.const 0)"))]);
        let _stream = vm.request(get());
        assert!(vm.trap().unwrap().reason.contains("contains NUL, CR or LF"), "{call}");
    }
}

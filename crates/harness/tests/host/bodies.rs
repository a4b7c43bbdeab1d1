//! Body buffers: when they can be read and written, and how they are held back.

use sluicegate_harness::Status;
use sluicegate_harness::envoy::{Outcome, Settings};

use crate::support::{log, ok, post, start, start_with};

#[track_caller]
fn check_write(start_at: i32, length: i32, want: &str, status: Status) {
    let write = format!(
        "(call $code (call $set_buffer (i32.const 0) (i32.const {start_at}) (i32.const {length}) 'XY')) (i32.const 0)"
    );
    let vm = start(&[("request_body", &write)]);
    let mut stream = vm.request(post());
    stream.client_sends("abcdef");
    assert_eq!(stream.to_upstream(), want.as_bytes(), "start {start_at}, length {length}");
    assert_eq!(log(&vm), [format!("{:02}", status.0)], "start {start_at}, length {length}");
}

#[test]
fn upstream_gets_the_body_written_by_envoys_rules() {
    check_write(0, 0, "XYabcdef", Status::OK);
    check_write(0, 5, "XYf", Status::OK);
    check_write(0, -1, "XY", Status::OK);
    check_write(1, 1, "abcdef", Status::BAD_ARGUMENT);
    check_write(6, 0, "abcdefXY", Status::OK);
    check_write(-1, 0, "abcdefXY", Status::OK);
}

#[test]
fn body_is_empty_and_read_only_outside_its_callback() {
    let touch = "(call $body (i32.const 0)) (call $body (i32.const 1))
        (call $code (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) 'X'))
        (call $code (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 0) 'X'))";
    let touch_and_go = format!("{touch} (i32.const 0)");
    let vm = start(&[
        ("request_headers", &touch_and_go),
        ("response_headers", &touch_and_go),
        ("response_trailers", &touch_and_go),
        ("log", touch),
    ]);
    let mut stream = vm.request(post());
    stream.client_sends("request");
    stream.upstream_headers(ok(), false);
    stream.upstream_sends("response", false);
    stream.upstream_trailers([("grpc-status", "0")]);
    assert_eq!(log(&vm), ["00", "", "00", "", "02", "02"].repeat(4));
    assert_eq!(stream.to_client(), b"response");
}

#[test]
fn missing_buffers_differ_from_empty_ones() {
    let vm = start(&[(
        "request_headers",
        "(call $body (i32.const 4)) (call $body (i32.const 5)) (call $body (i32.const 7)) (call $body (i32.const 9))
         (i32.const 0)",
    )]);
    let _stream = vm.request(post());
    assert_eq!(log(&vm), ["01", "00", "", "01", "02"]);
}

#[test]
fn read_past_the_end_is_cut_or_empty() {
    let vm = start(&[(
        "request_body",
        "(call $answer (call $get_buffer (i32.const 0) (i32.const 2) (i32.const -1) (i32.const 1032) (i32.const 1036)))
         (call $answer (call $get_buffer (i32.const 0) (i32.const 4) (i32.const 1) (i32.const 1032) (i32.const 1036)))
         (i32.const 0)",
    )]);
    vm.request(post()).client_sends("abc");
    assert_eq!(log(&vm), ["00", "c", "00", ""]);
}

#[test]
fn address_outside_the_memory_is_status_6() {
    let vm = start(&[(
        "request_body",
        "(call $code (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 65530) (i32.const 9)))
         (call $code (call $get_buffer (i32.const 0) (i32.const 0) (i32.const 9) (i32.const -4) (i32.const 1036)))
         (i32.const 0)",
    )]);
    let mut stream = vm.request(post());
    stream.client_sends("abc");
    assert_eq!(log(&vm), ["06", "06"]);
    assert_eq!(stream.to_upstream(), b"abc");
}

#[test]
fn buffered_body_is_shown_and_passed_as_a_whole() {
    let vm = start(&[("request_body", "(call $body (i32.const 0)) (i32.eqz (local.get $last))")]);
    let mut stream = vm.request(post());
    stream.client_sends("ab");
    stream.client_sends("cd");
    assert_eq!((stream.to_upstream(), stream.held_bytes()), (vec![], (4, 0)));
    stream.client_ends();
    assert_eq!(log(&vm), ["00", "ab", "00", "abcd", "00", "abcd"]);
    assert_eq!(stream.to_upstream(), b"abcd");
    assert!(stream.upstream_has_all());
    assert_eq!(stream.pauses(), ["proxy_on_request_body"; 2]);
}

#[test]
fn chunks_are_shown_one_by_one_after_a_buffered_body() {
    let vm =
        start(&[("response_body", "(call $body (i32.const 1)) (i32.eq (local.get $size) (i32.const 2))")]);
    let mut stream = vm.request(post());
    stream.upstream_headers(ok(), false);
    for bytes in ["ab", "c", "de", "f", "g"] {
        stream.upstream_sends(bytes, false);
    }
    assert_eq!(log(&vm), ["00", "ab", "00", "abc", "00", "de", "00", "def", "00", "g"]);
    assert_eq!(stream.to_client(), b"abcdefg");
}

#[test]
fn drained_chunks_leave_the_hosts_buffer_empty() {
    let vm = start_with(
        Settings { buffer_limit: 8, ..Settings::default() },
        &[(
            "request_body",
            "(call $body (i32.const 0))
             (drop (call $set_buffer (i32.const 0) (i32.const 0) (i32.const -1) ''))
             (i32.eqz (local.get $last))",
        )],
    );
    let mut stream = vm.request(post());
    stream.client_sends_split("abcdefghijklmnopqr", &[6, 12]);
    stream.client_ends();
    assert_eq!(log(&vm), ["00", "abcdef", "00", "ghijkl", "00", "mnopqr", "00", ""]);
    assert!(stream.upstream_has_all());
}

#[test]
fn request_held_beyond_the_limit_is_answered_413() {
    let settings = Settings { buffer_limit: 3, ..Settings::default() };
    let vm = start_with(settings, &[("request_body", "(call $body (i32.const 0)) (i32.const 1)")]);
    let mut slow = vm.request(post());
    slow.client_sends("abc");
    assert_eq!(slow.response(), None);
    slow.client_sends("d");
    assert!(matches!(slow.outcome(), Outcome::Answered(response) if response.status() == 413));
    let mut fast = vm.request(post());
    fast.client_sends("efgh");
    assert!(matches!(fast.outcome(), Outcome::Answered(response) if response.status() == 413));
    assert_eq!(log(&vm), ["00", "abc", "00", "efgh"]);
}

#[test]
fn body_that_grows_beyond_the_harness_limit_traps() {
    let append = "(loop (br_if 0 (i32.eqz
        (call $set_buffer (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 65536))))) (i32.const 0)";
    let vm = start(&[("request_body", append)]);
    let mut stream = vm.request(post());
    stream.client_sends("a");
    assert!(vm.trap().unwrap().reason.contains("a body of 67108865 bytes exceeds"));
}

#[test]
fn response_held_beyond_the_limit_is_reset_after_its_headers() {
    let settings = Settings { buffer_limit: 3, ..Settings::default() };
    let vm = start_with(settings, &[("response_body", "(i32.const 1)")]);
    let mut stream = vm.request(post());
    stream.upstream_headers(ok(), false);
    stream.upstream_sends("abcd", false);
    assert!(stream.is_reset());
}

#[test]
fn dropped_chunk_is_gone_and_watermarked_one_waits() {
    let vm = start(&[("request_body", "(i32.sub (local.get $size) (i32.const 1))")]);
    let mut stream = vm.request(post());
    stream.client_sends("333");
    stream.client_sends("4444");
    assert_eq!(stream.held_bytes(), (3, 0));
    stream.client_sends("1");
    assert_eq!(stream.to_upstream(), b"3331");
}

#[test]
fn split_bytes_arrive_in_pieces() {
    let vm = start(&[("response_body", "(call $body (i32.const 1)) (i32.const 0)")]);
    let mut stream = vm.request(post());
    stream.upstream_headers(ok(), false);
    stream.upstream_sends_split("abcd", &[1, 1]);
    assert_eq!(log(&vm), ["00", "a", "00", "", "00", "bcd"]);
    assert_eq!(stream.take_to_client(), b"abcd");
    assert_eq!(stream.take_to_client(), b"");
}

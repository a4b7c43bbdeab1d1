//! Small filters from a few callbacks, and what they logged.

use sluicegate_harness::Headers;
use sluicegate_harness::envoy::{Filter, Vm};

/// A filter with these callbacks, named without `proxy_on_`. The bodies are WebAssembly text in which `'text'` stands
/// for the address and length of a string, and every host call is there under the name it has in [`PRELUDE`].
pub(crate) fn filter(callbacks: &[(&str, &str)]) -> Filter {
    Filter::compile(&module(callbacks)).expect("a filter that this host can run")
}

pub(crate) fn start(callbacks: &[(&str, &str)]) -> Vm {
    filter(callbacks).start("").expect("a filter that starts")
}

pub(crate) fn module(callbacks: &[(&str, &str)]) -> Vec<u8> {
    parse(&format!("{PRELUDE} {}", functions(callbacks)))
}

/// The callbacks as exported functions.
pub(crate) fn functions(callbacks: &[(&str, &str)]) -> String {
    let function = |(name, body): &(&str, &str)| {
        let (params, result) = signature(name);
        format!("(func (export \"proxy_on_{name}\") {params} {result} {body})")
    };
    callbacks.iter().map(function).collect()
}

/// A module from text with `'text'` strings, and nothing else added.
pub(crate) fn parse(text: &str) -> Vec<u8> {
    let mut code = String::new();
    let mut data = String::new();
    let mut free = 8192;
    for (position, piece) in text.split('\'').enumerate() {
        if position % 2 == 0 {
            code.push_str(piece);
            continue;
        }
        // `\hh` is one byte.
        let length = piece.len() - 2 * piece.matches('\\').count();
        code.push_str(&format!("(i32.const {free}) (i32.const {length})"));
        data.push_str(&format!("(data (i32.const {free}) \"{piece}\")"));
        free += length;
    }
    wat::parse_str(format!("(module {code} {data})")).unwrap_or_else(|error| panic!("{error}"))
}

/// A serialized header list, to stand between quotes in a callback.
pub(crate) fn list(pairs: &[(&str, &str)]) -> String {
    let length = |text: &str| u32::try_from(text.len()).unwrap().to_le_bytes();
    let mut bytes = u32::try_from(pairs.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(pairs.iter().flat_map(|(name, value)| [length(name), length(value)]).flatten());
    bytes.extend(pairs.iter().flat_map(|(name, value)| format!("{name}\0{value}\0").into_bytes()));
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// The log's lines, without their levels.
pub(crate) fn log(vm: &Vm) -> Vec<String> {
    vm.log().into_iter().map(|line| line.text).collect()
}

/// A request without a body.
pub(crate) fn get() -> Headers {
    Headers::from([(":method", "GET"), (":path", "/p"), (":authority", "a")])
}

/// A request with a body to come.
pub(crate) fn post() -> Headers {
    Headers::from([
        (":method", "POST"),
        (":path", "/p"),
        (":authority", "a"),
        ("transfer-encoding", "chunked"),
    ])
}

/// A WebSocket upgrade.
pub(crate) fn upgrade() -> Headers {
    get().with("connection", "Upgrade").with("upgrade", "websocket")
}

/// An answer without anything special.
pub(crate) fn ok() -> Headers {
    Headers::from([(":status", "200")])
}

fn signature(callback: &str) -> (&'static str, &'static str) {
    match callback {
        "context_create" => ("(param $id i32) (param $root i32)", ""),
        "tick" | "log" | "delete" => ("(param $id i32)", ""),
        "done" => ("(param $id i32)", "(result i32)"),
        "vm_start" | "configure" | "request_trailers" | "response_trailers" => {
            ("(param $id i32) (param $size i32)", "(result i32)")
        }
        "request_headers" | "request_body" | "response_headers" | "response_body" => {
            ("(param $id i32) (param $size i32) (param $last i32)", "(result i32)")
        }
        other => panic!("no callback is called {other}"),
    }
}

/// The host calls, an allocator that never frees, and a few words: `$say` logs a text, `$code` a number of two digits,
/// `$show` a header's status and, where it is there, its value; `$body` shows up to nine bytes of a buffer.
pub(crate) const PRELUDE: &str = r#"
(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
(import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
(import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
(import "env" "proxy_done" (func $done (result i32)))
(import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
(import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
(import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
(import "env" "proxy_send_local_response" (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
(import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
(import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
(import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
(memory (export "memory") 1)
(global $free (mut i32) (i32.const 32768))
(func (export "proxy_abi_version_0_2_1"))
(func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (global.get $free))
  (global.set $free (i32.add (global.get $free) (local.get $size)))
  (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
    (then (if (i32.eq (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))) (i32.const -1))
      (then (return (i32.const 0))))))
  (local.get $at))
(func $say (param $text i32) (param $length i32)
  (drop (call $log (i32.const 2) (local.get $text) (local.get $length))))
(func $code (param $code i32)
  (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (i32.div_u (local.get $code) (i32.const 10))))
  (i32.store8 (i32.const 1025) (i32.add (i32.const 48) (i32.rem_u (local.get $code) (i32.const 10))))
  (call $say (i32.const 1024) (i32.const 2)))
(func $answer (param $code i32)
  (call $code (local.get $code))
  (if (i32.eqz (local.get $code))
    (then (call $say (i32.load (i32.const 1032)) (i32.load (i32.const 1036))))))
(func $show (param $map i32) (param $name i32) (param $length i32)
  (call $answer
    (call $get (local.get $map) (local.get $name) (local.get $length) (i32.const 1032) (i32.const 1036))))
(func $body (param $kind i32)
  (call $answer
    (call $get_buffer (local.get $kind) (i32.const 0) (i32.const 9) (i32.const 1032) (i32.const 1036))))
"#;

//! The hosts, judged by small modules in WebAssembly text: how they fail modules on purpose, and the rules of APISIX that
//! crash its worker.

mod apisix;
mod faults;

use crate::{Controls, Headers};

/// A module with these callbacks, named without `proxy_on_`, and one that accepts any configuration. The bodies are text
/// in which `'words'` stands for the address and length of a string, and [`PRELUDE`] has the host calls by name.
fn module(callbacks: &[(&str, &str)]) -> Vec<u8> {
    let configure = ("configure", "(i32.const 1)");
    let function = |(name, body): &(&str, &str)| {
        let last = if *name == "configure" { "" } else { "(param $last i32)" };
        let params = format!("(param $id i32) (param $size i32) {last}");
        format!("(func (export \"proxy_on_{name}\") {params} (result i32) {body})")
    };
    let functions: String = callbacks.iter().chain([&configure]).map(function).collect();
    parse(&format!("{PRELUDE} {functions}"))
}

/// A module from text with `'words'`, and nothing else added.
fn parse(text: &str) -> Vec<u8> {
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

/// A local response with this status, body and header.
fn respond(status: u32, body: &str, (name, value): (&str, &str)) -> String {
    let length = |text: &str| u32::try_from(text.len()).unwrap().to_le_bytes();
    let bytes =
        [&1_u32.to_le_bytes(), &length(name), &length(value), format!("{name}\0{value}\0").as_bytes()]
            .concat();
    let list: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(call $code (call $respond (i32.const {status}) '' '{body}' '{list}' (i32.const -1)))")
}

fn get() -> Headers {
    Headers::from([(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")])
}

fn log(controls: &Controls) -> Vec<String> {
    controls.log().into_iter().map(|line| line.text).collect()
}

/// The host calls, an allocator that never frees, and a few words: `$say` logs a text, `$code` a number of two digits,
/// `$show` a header's status and, where it is there, its value.
const PRELUDE: &str = r#"
(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
(import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
(import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_send_local_response" (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(memory (export "memory") 1)
(global $free (mut i32) (i32.const 32768))
(func (export "proxy_abi_version_0_2_1"))
(func (export "_start"))
(func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
  (global.set $free (i32.add (global.get $free) (local.get $size)))
  (i32.sub (global.get $free) (local.get $size)))
(func $say (param $text i32) (param $length i32)
  (drop (call $log (i32.const 2) (local.get $text) (local.get $length))))
(func $code (param $code i32)
  (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (i32.div_u (local.get $code) (i32.const 10))))
  (i32.store8 (i32.const 1025) (i32.add (i32.const 48) (i32.rem_u (local.get $code) (i32.const 10))))
  (call $say (i32.const 1024) (i32.const 2)))
(func $show (param $map i32) (param $name i32) (param $length i32)
  (local $code i32)
  (local.set $code
    (call $get (local.get $map) (local.get $name) (local.get $length) (i32.const 1032) (i32.const 1036)))
  (call $code (local.get $code))
  (if (i32.eqz (local.get $code))
    (then (call $say (i32.load (i32.const 1032)) (i32.load (i32.const 1036))))))
"#;

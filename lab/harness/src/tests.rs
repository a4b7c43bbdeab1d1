//! The hosts, judged by small modules in WebAssembly text: what they do with a module that traps, and the rules of APISIX that
//! crash its worker. The filter's own tests rely on the rest.

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
    format!("(drop (call $respond (i32.const {status}) '' '{body}' '{list}' (i32.const -1)))")
}

fn get() -> Headers {
    Headers::from([(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")])
}

fn log(controls: &Controls) -> Vec<String> {
    controls.log().into_iter().map(|line| line.text).collect()
}

/// The host calls, an allocator that never frees, and `$say`, which logs a text.
const PRELUDE: &str = r#"
(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
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
"#;

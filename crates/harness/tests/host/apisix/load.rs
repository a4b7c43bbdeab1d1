//! The modules that APISIX can load as a plugin.

use sluicegate_harness::apisix::{Plugin, Support, support};

use super::support::{log, plugin};
use crate::support::parse;

#[track_caller]
fn refused(wasm: &[u8], want: &str) {
    let error = Plugin::compile(wasm).err().expect("a refusal");
    assert!(error.to_string().contains(want), "{error}");
}

#[test]
fn module_without_memory_or_with_an_unknown_import_is_rejected() {
    refused(b"no module", "compile the filter");
    refused(&parse(""), "exports no memory");
    let unknown = parse(
        "(import \"env\" \"proxy_get_log_level\" (func (param i32) (result i32)))
         (import \"env\" \"proxy_log\" (func (param i32 i32 i32) (result i32))) (memory (export \"memory\") 1)",
    );
    refused(&unknown, "does not have: env.proxy_get_log_level");
}

#[test]
fn webassembly_newer_than_wasmtime_0_38_is_rejected() {
    let with = |text: &str| parse(&format!("(memory (export \"memory\") 1) {text}"));
    for (feature, text) in [
        ("tail calls", "(func $f (return_call $f))"),
        ("extended constants", "(global i32 (i32.add (i32.const 1) (i32.const 2)))"),
        ("a second memory", "(memory 1)"),
        ("a memory of 64 bits", "(memory i64 1)"),
        (
            "relaxed SIMD",
            "(func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))",
        ),
        (
            "wide arithmetic",
            "(func (param i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 0)))",
        ),
        ("threads", "(memory $m 1 1 shared)"),
        ("garbage collection", "(type (struct (field i32)))"),
        ("typed function references", "(type $t (func)) (func (param (ref $t)))"),
        ("exceptions", "(tag (param i32))"),
    ] {
        let error = Plugin::compile(&with(text)).err().unwrap_or_else(|| panic!("{feature} were taken"));
        assert!(error.to_string().starts_with("compile the filter: "), "{feature}: {error}");
    }
    for text in [
        "(func (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0)))",
        "(func (param i32) (result i32) (i32.extend8_s (local.get 0)))",
        "(func (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))",
        "(func (result i32 i32) (i32.const 1) (i32.const 2))",
        "(func (result v128) (v128.const i32x4 0 0 0 0))",
        "(table 1 funcref) (func (param funcref) (table.set 0 (i32.const 0) (local.get 0)))",
        "(global (export \"g\") (mut i32) (i32.const 0))",
    ] {
        assert!(Plugin::compile(&with(text)).is_ok(), "{text}");
    }
}

#[test]
fn only_start_or_else_initialize_is_called() {
    let module = |start: &str| {
        let text = format!(
            "(import \"env\" \"proxy_log\" (func $log (param i32 i32 i32) (result i32)))
             (memory (export \"memory\") 1)
             (func $say (param i32 i32) (drop (call $log (i32.const 2) (local.get 0) (local.get 1))))
             {start}
             (func (export \"_initialize\") (call $say 'initialize'))
             (func (export \"main\") (param i32 i32) (result i32) (call $say 'main') (i32.const 0))"
        );
        Plugin::compile(&parse(&text)).expect("a plugin").start()
    };
    assert_eq!(log(&module("").expect("a worker")), ["initialize"]);
    assert_eq!(log(&module("(func (export \"_start\") (call $say 'start'))").expect("a worker")), ["start"]);
    let error =
        module("(func (export \"_start\") (call $say 'start') unreachable)").err().expect("a failure");
    assert_eq!((error.stage, error.log[0].text.as_str()), ("initialize", "start"));
    assert_eq!(error.trap.expect("a trap").callback, "_start");
}

#[test]
fn each_import_is_known_for_what_it_does() {
    for (import, want) in [
        ("env.proxy_send_local_response", Some(Support::Works)),
        ("env.proxy_http_call", None),
        ("env.proxy_close_stream", Some(Support::Ignored)),
        ("env.proxy_grpc_call", Some(Support::Unimplemented)),
        ("env.proxy_get_log_level", None),
        ("wasi_snapshot_preview1.fd_write", Some(Support::Works)),
    ] {
        assert_eq!(support(import), want, "{import}");
    }
    let _every_call_of_the_prelude_is_there = plugin(&[]);
}

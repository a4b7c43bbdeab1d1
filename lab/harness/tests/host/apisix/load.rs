//! The modules that APISIX can load as a plugin.

use sluicegate_harness::apisix::Plugin;

use crate::support::parse;

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
        "(table 1 funcref) (func (param funcref) (table.set 0 (i32.const 0) (local.get 0)))",
        "(global (export \"g\") (mut i32) (i32.const 0))",
    ] {
        assert!(Plugin::compile(&with(text)).is_ok(), "{text}");
    }
}

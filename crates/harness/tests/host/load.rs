//! Loading and starting a module, and the errors of both.

use sluicegate_harness::envoy::{Filter, Settings};
use sluicegate_harness::{StartError, imports};

use crate::support::{filter, log, parse};

#[track_caller]
fn check_refused(wasm: &[u8], want: &str) {
    let error = Filter::compile(wasm).err().expect("a refusal");
    assert!(error.to_string().contains(want), "{error}");
}

#[test]
fn module_that_envoy_rejects_is_rejected() {
    check_refused(b"no module", "compile the filter");
    check_refused(&parse(""), "without the export proxy_abi_version_0_2_1");
    check_refused(&parse("(func (export \"proxy_abi_version_0_2_1\"))"), "neither malloc nor");
}

#[test]
fn each_unknown_import_is_named() {
    let wasm = parse(
        "(import \"env\" \"proxy_log\" (func (param i32 i32 i32) (result i32)))
         (import \"env\" \"proxy_teleport\" (func))
         (import \"wasi_snapshot_preview1\" \"path_open\" (func))
         (func (export \"proxy_abi_version_0_2_1\"))
         (func (export \"malloc\") (param i32) (result i32) (i32.const 0))",
    );
    check_refused(&wasm, "does not have: env.proxy_teleport, wasi_snapshot_preview1.path_open");
}

#[test]
fn import_of_another_type_is_rejected() {
    let wasm = parse(
        "(import \"env\" \"proxy_log\" (func (param i32) (result i32)))
         (func (export \"proxy_abi_version_0_2_1\"))
         (func (export \"malloc\") (param i32) (result i32) (i32.const 0))",
    );
    check_refused(&wasm, "proxy_log");
}

#[test]
fn all_imports_are_listed_in_order() {
    let file = std::env::temp_dir().join(format!("sluicegate-harness-imports-{}.wasm", std::process::id()));
    std::fs::write(
        &file,
        parse("(import \"env\" \"b\" (func)) (import \"a\" \"z\" (func)) (import \"env\" \"a\" (func))"),
    )
    .unwrap();
    let names = imports(&file);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(names.unwrap(), ["a.z", "env.a", "env.b"]);
}

#[test]
fn missing_file_is_named() {
    let error = Filter::load("no/such/filter.wasm").err().expect("a refusal");
    assert_eq!(error.to_string(), "read the filter no/such/filter.wasm");
}

#[track_caller]
fn start_error(callbacks: &[(&str, &str)]) -> StartError {
    filter(callbacks).start("{}").err().expect("a failed start")
}

#[test]
fn rejected_configuration_fails_the_start_with_its_log() {
    let error = start_error(&[("configure", "(call $say 'no such key') (i32.const 0)")]);
    assert_eq!((error.stage, error.trap.is_none()), ("configure", true));
    assert_eq!(error.log.first().unwrap().text, "no such key");
    assert_eq!(error.to_string(), "configure the plugin; it logged [\"no such key\"]");
}

#[test]
fn refused_start_and_trap_are_told_apart() {
    assert_eq!(start_error(&[("vm_start", "(i32.const 0)")]).stage, "start the VM of");
    let trapped = start_error(&[("context_create", "unreachable")]);
    assert_eq!(trapped.stage, "create the root context of");
    assert_eq!(trapped.trap.unwrap().callback, "proxy_on_context_create");
}

#[test]
fn configurations_are_readable_only_at_their_time() {
    let settings = Settings {
        configuration: b"plugin".to_vec(),
        vm_configuration: b"vm".to_vec(),
        ..Settings::default()
    };
    let vm = filter(&[
        (
            "vm_start",
            "(call $body (i32.const 6)) (call $body (i32.const 7)) (call $code (local.get $size)) \
             (i32.const 1)",
        ),
        ("configure", "(call $body (i32.const 7)) (call $code (local.get $size)) (i32.const 1)"),
        ("request_headers", "(call $body (i32.const 6)) (call $body (i32.const 7)) (i32.const 0)"),
    ])
    .start(settings)
    .unwrap();
    let _stream = vm.request([(":path", "/")]);
    assert_eq!(log(&vm), ["00", "vm", "01", "02", "00", "plugin", "06", "00", "vm", "01"]);
}

#[test]
fn start_functions_run_in_envoys_order() {
    let wasm = parse(
        "(import \"env\" \"proxy_log\" (func $log (param i32 i32 i32) (result i32)))
         (memory (export \"memory\") 1)
         (func (export \"proxy_abi_version_0_2_1\"))
         (func (export \"malloc\") (param i32) (result i32) (i32.const 0))
         (func $say (param i32 i32) (drop (call $log (i32.const 2) (local.get 0) (local.get 1))))
         (func (export \"_start\") (call $say 'never'))
         (func (export \"_initialize\") (call $say 'initialize'))
         (func (export \"main\") (param i32 i32) (result i32) (call $say 'main') (i32.const 0))
         (func (export \"proxy_on_context_create\") (param i32 i32) (call $say 'create'))
         (func (export \"proxy_on_vm_start\") (param i32 i32) (result i32) (call $say 'start') (i32.const 1))
         (func (export \"proxy_on_configure\") (param i32 i32) (result i32) (call $say 'configure') (i32.const 1))",
    );
    let vm = Filter::compile(&wasm).unwrap().start("").unwrap();
    assert_eq!(log(&vm), ["initialize", "main", "create", "start", "configure"]);
}

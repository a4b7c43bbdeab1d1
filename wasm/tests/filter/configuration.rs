//! The log of invalid and open configurations; and the list of host calls that the filter imports, of which a test
//! refuses each.

use std::fs;

use sluicegate_harness::{HostCall, Level, apisix, envoy, imports};
use wasmi::{Caller, Engine, ExternType, Linker, Module, Store, Val};

use crate::socket::{filter, module, start_configured, workspace};

#[test]
fn mistakes_are_logged_with_their_keys() {
    let Err(error) = filter().start(r#"{"profile": "tunel", "routes": [{"path": "pubsub"}]}"#) else {
        panic!("accepted")
    };
    assert_eq!(error.trap, None);
    let lines: Vec<_> = error.log.iter().map(|line| (line.level, line.text.as_str())).collect();
    let mistakes = [
        "profile: must be \"tunnel\" or \"relay\"",
        "routes[0].path: must begin with \"/\" and be visible ASCII, without a query",
    ];
    let want = mistakes.map(|mistake| format!("sluicegate: invalid configuration: {mistake}"));
    assert_eq!(lines, want.each_ref().map(|line| (Level::Error, line.as_str())));
}

/// This configuration is accepted, with this warning.
#[track_caller]
fn warned(configuration: &str, warning: &str) {
    let vm = start_configured(configuration);
    let log: Vec<_> = vm.log().into_iter().map(|line| (line.level, line.text)).collect();
    assert_eq!(log, [(Level::Warn, format!("sluicegate: {warning}"))]);
}

#[test]
fn open_routes_are_logged() {
    warned(
        r#"{"type": "rest"}"#,
        "routes without \"topics\", whose clients can use every topic that the cluster's user can: every path",
    );
    warned(
        r#"{"routes": [{"path": "/a"},
            {"path": "/b", "write": ["t"], "origins": []},
            {"path": "/c", "identity": {"from": "token", "name": "n"}},
            {"path": "/d", "topics": ["*"]},
            {"path": "/e", "read": ["t"], "write": ["t"], "origins": []},
            {"path": "/f", "identity": {"from": "token", "name": "n"}, "read": ["t.${sub}"]},
            {"path": "/g", "read": false, "write": ["t"], "origins": []},
            {"path": "/h", "type": "produce", "topic": "t", "origins": []}]}"#,
        "routes without \"topics\", whose clients can use every topic that the cluster's user can: /a, /b, /c",
    );
    warned(
        r#"{"routes": [{"path": "/a", "topics": ["t"], "write": true},
            {"path": "/b", "topics": ["t"], "write": true, "origins": []},
            {"path": "/c", "topics": ["t"]},
            {"path": "/d", "topics": ["t"], "type": "rest", "write": true},
            {"path": "/e", "topics": ["t"], "type": "rest", "write": true, "origins": ["*"]},
            {"path": "/f", "type": "produce", "topic": "t"},
            {"path": "/g", "type": "produce", "topic": "t", "origins": ["https://app.example"]}]}"#,
        "routes without \"origins\", to which pages of any origin can write: /a, /d, /f",
    );
}

/// No host of ours gets that far: what could not be configured has no streams. This one does nothing but refuse the
/// answer, or not.
#[test]
fn request_to_an_unconfigured_plugin_is_refused_or_fails() {
    for (status, want) in [(0, 1), (77, -1)] {
        let engine = Engine::default();
        let module = Module::new(&engine, fs::read(module()).expect("a file")).expect("a module");
        let mut linker = Linker::new(&engine);
        for import in module.imports() {
            let ExternType::Func(kind) = import.ty().clone() else { panic!("{import:?}") };
            let answer = Val::I32(if import.name() == "proxy_send_local_response" { status } else { 0 });
            let call = move |_: Caller<'_, ()>, _: &[Val], results: &mut [Val]| {
                results.fill(answer.clone());
                Ok(())
            };
            linker.func_new(import.module(), import.name(), kind, call).expect("a function");
        }
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate_and_start(&mut store, &module).expect("an instance");
        let create = instance.get_typed_func::<(u32, u32), ()>(&store, "proxy_on_context_create");
        let create = create.expect("an export");
        create.call(&mut store, (1, 0)).expect("a plugin");
        create.call(&mut store, (2, 1)).expect("a stream");
        let request = instance.get_typed_func::<(u32, u32, u32), i32>(&store, "proxy_on_request_headers");
        let action = request.expect("an export").call(&mut store, (2, 0, 1)).expect("an action");
        assert_eq!(action, want, "{status}");
    }
}

/// A line per import: what it is in Envoy, where all of them work, and in APISIX.
#[test]
fn imports_match_the_committed_list() {
    let imports = imports(module()).unwrap_or_else(|error| panic!("failed to {error}"));
    let path = workspace().join("wasm/imports.txt");
    let list = fs::read_to_string(&path).unwrap_or_default();
    let line = |import: &String| {
        let refused = HostCall::ALL.map(|call| format!("env.{}", call.name()));
        assert!(
            refused.contains(import) || !import.starts_with("env.proxy_"),
            "{import} is to be refused in the tests"
        );
        assert!(envoy::supports(import), "Envoy's host lacks {import}");
        let in_apisix = apisix::support(import).unwrap_or_else(|| panic!("APISIX's host lacks {import}"));
        format!("{import} works {in_apisix:?}\n").to_lowercase()
    };
    let want = format!("# import envoy apisix\n{}", imports.iter().map(line).collect::<String>());
    assert!(
        list == want,
        "wasm/imports.txt is not what the filter imports. If every host does what it is needed for with the new ones, \
         write this to the file:\n{want}"
    );
}

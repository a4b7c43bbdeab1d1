//! Valid configurations, and the log of invalid ones.

use std::time::Duration;

use sluicegate_harness::Level;
use wasmi::{Caller, Engine, ExternType, Linker, Module, Store, Val};

use crate::socket::{filter, module, start, start_configured};

#[test]
fn valid_configuration_starts_and_asks_for_ticks() {
    let vm = start();
    assert_eq!(vm.tick_period(), Some(Duration::from_millis(100)));
    assert_eq!(vm.log(), []);
}

#[test]
fn mistakes_are_logged_with_their_keys() {
    let Err(error) = filter().start(
        r#"{"profile": "tunel", "max_message_bytes": 12, "routs": [],
            "routes": [{"path": "pubsub", "cluster": 5, "orgins": []}]}"#,
    ) else {
        panic!("accepted")
    };
    assert_eq!(error.trap, None);
    let lines: Vec<_> = error.log.iter().map(|line| (line.level, line.text.as_str())).collect();
    let mistakes = [
        "profile: must be \"tunnel\" or \"relay\"",
        "max_message_bytes: must be a number of bytes from 1024 to 16777216",
        "routes[0].path: must begin with \"/\" and be visible ASCII, without a query",
        "routes[0].cluster: must be a string that is not empty",
        "routes[0].orgins: unknown key, did you mean `origins`?",
        "routs: unknown key, did you mean `routes`?",
    ];
    let want = mistakes.map(|mistake| format!("sluicegate: invalid configuration: {mistake}"));
    assert_eq!(lines, want.each_ref().map(|line| (Level::Error, line.as_str())));
}

/// A configuration with this route is accepted, with this warning.
#[track_caller]
fn warned(routes: &str, warning: &str) {
    let vm = start_configured(&format!(r#"{{"routes": [{routes}]}}"#));
    let log: Vec<_> = vm.log().into_iter().map(|line| (line.level, line.text)).collect();
    assert_eq!(log, [(Level::Warn, format!("sluicegate: {warning}"))]);
}

#[test]
fn open_routes_are_logged() {
    warned(
        r#"{"path": "/a"},
            {"path": "/b", "write": ["t"], "origins": []},
            {"path": "/c", "identity": {"from": "token", "name": "n"}},
            {"path": "/d", "topics": ["*"]},
            {"path": "/e", "read": ["t"], "write": ["t"], "origins": []},
            {"path": "/f", "identity": {"from": "token", "name": "n"}, "read": ["t.${sub}"]},
            {"path": "/g", "read": false, "write": ["t"], "origins": []},
            {"path": "/h", "type": "produce", "topic": "t", "origins": []}"#,
        "routes without \"topics\", whose clients can use every topic that the cluster's user can: /a, /b, /c",
    );
    warned(
        r#"{"path": "/a", "topics": ["t"], "write": true},
            {"path": "/b", "topics": ["t"], "write": true, "origins": []},
            {"path": "/c", "topics": ["t"]},
            {"path": "/d", "topics": ["t"], "type": "rest", "write": true},
            {"path": "/e", "topics": ["t"], "type": "rest", "write": true, "origins": ["*"]},
            {"path": "/f", "type": "produce", "topic": "t"},
            {"path": "/g", "type": "produce", "topic": "t", "origins": ["https://app.example"]}"#,
        "routes without \"origins\", to which pages of any origin can write: /a, /d, /f",
    );
}

/// No host of ours gets that far: what could not be configured has no streams. This one does nothing but refuse the
/// answer, or not.
#[test]
fn request_to_an_unconfigured_plugin_is_refused_or_fails() {
    for (status, want) in [(0, 1), (77, -1)] {
        let engine = Engine::default();
        let module = Module::new(&engine, std::fs::read(module()).expect("a file")).expect("a module");
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

//! Reasons for the filter's own host calls: the refusals of the fault tables that trap a module of the public SDK.
//!
//! `faults` and `apisix::faults` prove that none of them traps the filter.

use std::collections::BTreeMap;
use std::fs;

use sluicegate_harness::envoy::Filter;
use sluicegate_harness::{Headers, HostCall, Status, When};

use crate::faults::{CALLS, STATUSES};
use crate::imports::snake_case;
use crate::socket::workspace;

/// A path of `lab/harness/guest` whose request makes the call.
fn path(call: HostCall) -> &'static str {
    match call {
        HostCall::CloseStream => "/reset",
        HostCall::DefineMetric => "/metrics",
        HostCall::GetBufferBytes | HostCall::SetBufferBytes => "/body",
        HostCall::GetHeaderMapPairs => "/headers",
        HostCall::GetProperty => "/property",
        HostCall::IncrementMetric => "/count",
        HostCall::Log => "/log",
        HostCall::RemoveHeaderMapValue => "/remove",
        HostCall::GetHeaderMapValue | HostCall::ReplaceHeaderMapValue => "/header",
        HostCall::SendLocalResponse => "/respond",
        HostCall::SetEffectiveContext => "/context",
        HostCall::SetProperty => "/set-property",
        HostCall::SetTickPeriodMilliseconds => "/tick",
        other => panic!("the filter does not make the call {other:?}"),
    }
}

/// The statuses that do not trap the SDK's module, of each call that the filter makes.
fn survived() -> BTreeMap<String, Vec<u32>> {
    let module = workspace().join("target/wasm32-wasip1/wasm/sluicegate_sdk_guest.wasm");
    let guest =
        Filter::load(&module).unwrap_or_else(|error| panic!("failed to {error}: run `just sdk-guest`"));
    let survives = |call: HostCall, status: u32| {
        let vm = guest.start("").unwrap_or_else(|error| panic!("{error}"));
        vm.refuse(call, When::Always, Status(status));
        let request = [(":method", "POST"), (":path", path(call)), ("transfer-encoding", "chunked")];
        let mut stream = vm.request(Headers::from(request).with("x-property", "a"));
        stream.client_sends("body");
        stream.client_ends();
        vm.trap().is_none()
    };
    let row =
        |call| (snake_case(call), STATUSES.into_iter().filter(|status| survives(call, *status)).collect());
    CALLS.into_iter().map(row).collect()
}

/// The same as the table in docs/explanation/why-no-sdk.md has it: a row's calls, and "every" or "every but" some
/// statuses.
fn documented() -> BTreeMap<String, Vec<u32>> {
    let page = fs::read_to_string(workspace().join("docs/explanation/why-no-sdk.md")).expect("why-no-sdk.md");
    let (_, section) = page.split_once("# Why the filter does not use the SDK").expect("the section");
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| line.split('|').map(str::trim));
    rows.flat_map(|mut cells| {
        let calls = cells.nth(1).expect("calls").split(", ").map(|call| call.trim_matches('`').to_owned());
        let statuses = cells.next().expect("statuses").strip_prefix("every").expect("every");
        let survived = statuses.trim_start_matches(" but ").split(", ").filter(|status| !status.is_empty());
        let survived: Vec<u32> = survived.map(|status| status.parse().expect("a status")).collect();
        calls.map(move |call| (call, survived.clone()))
    })
    .collect()
}

#[test]
fn page_names_the_refusals_that_trap_the_sdk() {
    assert_eq!(documented(), survived());
}

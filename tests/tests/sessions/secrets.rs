//! A bridge that asks for a gateway secret lets nobody in without it, and tells nobody what it is.

use std::fs;

use sluicegate_protocol::metadata::GATEWAY_SECRET;
use sluicegate_tests::envoy::plugin;
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::relay::Route;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::through_the_relay;
use sluicegate_tests::way::Way;

use crate::raw::{Raw, Response, Upgrade};
use crate::stacks::{SECRET, configured, relay, secret, start};

async fn a_gateway_without_the_secret_is_told_what_is_missing(way: Way) {
    let stack = telling(way, None).await;
    for request in [
        Upgrade::default(),
        // That a client knows it makes it no gateway.
        Upgrade::default().with("sluicegate-gateway-secret", SECRET),
    ] {
        let response = ask(&stack, &request).await;
        let said = (response.status, response.body.trim());
        assert_eq!(
            said,
            (401, "header sluicegate-gateway-secret is missing: expected the bridge's gateway_secret"),
            "{response:?}"
        );
    }
    says_no_secret(&stack, &[SECRET]);
}

async fn a_gateway_with_another_secret_is_refused_without_a_hint(way: Way) {
    let wrong = "between-gateway-and-bridgf";
    let stack = telling(way, Some(wrong)).await;
    let response = ask(&stack, &Upgrade::default()).await;
    let said = (response.status, response.body.trim());
    assert_eq!(
        said,
        (401, "header sluicegate-gateway-secret does not match the bridge's gateway_secret"),
        "{response:?}"
    );
    says_no_secret(&stack, &[SECRET, wrong]);
}

async fn the_right_secret_opens_sessions_and_is_not_logged(way: Way) {
    let stack = configured(way).await;
    let response = ask(&stack, &Upgrade::default()).await;
    assert_eq!(response.status, 101, "{response:?}");
    assert!(!format!("{response:?}").contains(SECRET), "{response:?}");
    says_no_secret(&stack, &[SECRET]);
}

/// A gateway that shows this secret to a bridge that asks for [`SECRET`].
async fn telling(way: Way, told: Option<&str>) -> Stack {
    if way == Way::Relay {
        let route = Route::new("/pubsub");
        let route = told.iter().fold(route, |route, told| route.with(GATEWAY_SECRET, *told));
        return relay(&secret(), vec![route]).await;
    }
    let edits = told.map(|told| plugin(&format!("\"gateway_secret\": \"{told}\","), &[]));
    start(way, &secret(), edits.into_iter().collect()).await
}

async fn ask(stack: &Stack, upgrade: &Upgrade) -> Response {
    Raw::connect(stack.gateway()).await.ask(&upgrade.bytes()).await
}

fn says_no_secret(stack: &Stack, secrets: &[&str]) {
    for process in stack.processes() {
        let log = fs::read(process.log()).unwrap();
        let log = String::from_utf8_lossy(&log);
        assert!(!secrets.iter().any(|secret| log.contains(secret)), "{log}");
    }
}

in_both_profiles! {
    a_gateway_without_the_secret_is_told_what_is_missing
    a_gateway_with_another_secret_is_refused_without_a_hint
    the_right_secret_opens_sessions_and_is_not_logged
}

through_the_relay! {
    a_gateway_without_the_secret_is_told_what_is_missing
    a_gateway_with_another_secret_is_refused_without_a_hint
    the_right_secret_opens_sessions_and_is_not_logged
}

//! A bridge that asks for a gateway secret lets nobody in without it, and tells nobody what it is.

use std::fs;

use sluicegate_tests::envoy::{Profile, plugin};
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::stack::Stack;

use crate::raw::{Raw, Response, Upgrade};
use crate::stacks::{SECRET, configured, start};

async fn a_gateway_without_the_secret_is_told_what_is_missing(profile: Profile) {
    let stack = start(profile, &format!("gateway_secret = \"{SECRET}\"\n"), Vec::new()).await;
    for request in [
        Upgrade::default(),
        // That a client knows it makes it no gateway.
        Upgrade::default().with("sluicegate-gateway-secret", SECRET),
    ] {
        let response = ask(&stack, &request).await;
        let said = (response.status, response.body.trim());
        assert_eq!(said, (401, "header sluicegate-gateway-secret is missing"), "{response:?}");
    }
    says_no_secret(&stack, &[SECRET]);
}

async fn a_gateway_with_another_secret_is_refused_without_a_hint(profile: Profile) {
    let wrong = "between-gateway-and-bridgf";
    let edit = plugin(&format!("\"gateway_secret\": \"{wrong}\","), &[]);
    let stack = start(profile, &format!("gateway_secret = \"{SECRET}\"\n"), vec![edit]).await;
    let response = ask(&stack, &Upgrade::default()).await;
    let said = (response.status, response.body.trim());
    assert_eq!(said, (401, "header sluicegate-gateway-secret is not the bridge's secret"), "{response:?}");
    says_no_secret(&stack, &[SECRET, wrong]);
}

async fn the_right_secret_opens_sessions_and_is_not_logged(profile: Profile) {
    let stack = configured(profile).await;
    let response = ask(&stack, &Upgrade::default()).await;
    assert_eq!(response.status, 101, "{response:?}");
    assert!(!format!("{response:?}").contains(SECRET), "{response:?}");
    says_no_secret(&stack, &[SECRET]);
}

async fn ask(stack: &Stack, upgrade: &Upgrade) -> Response {
    Raw::connect(stack.gateway()).await.ask(&upgrade.bytes()).await
}

fn says_no_secret(stack: &Stack, secrets: &[&str]) {
    for process in [&stack.envoy().process, &stack.bridge.process] {
        let log = fs::read_to_string(process.log()).unwrap();
        assert!(!secrets.iter().any(|secret| log.contains(secret)), "{log}");
    }
}

in_both_profiles! {
    a_gateway_without_the_secret_is_told_what_is_missing
    a_gateway_with_another_secret_is_refused_without_a_hint
    the_right_secret_opens_sessions_and_is_not_logged
}

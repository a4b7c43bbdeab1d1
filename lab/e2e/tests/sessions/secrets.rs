//! A bridge with a gateway secret refuses requests without it, and never shows it.

use std::fs;

use sluicegate_protocol::metadata::GATEWAY_SECRET;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::raw::{Raw, Upgrade};
use sluicegate_tests::in_every_profile;

use crate::sessions::stacks::{SECRET, knowing, secret, start};

async fn gateway_with_another_secret_is_refused_without_a_hint(profile: Profile) {
    let wrong = "between-gateway-and-bridgf";
    let stack = start(profile, &secret(), vec![knowing(wrong)]).await;
    // A client that knows the secret is no gateway.
    for request in [Upgrade::default(), Upgrade::default().with(GATEWAY_SECRET, SECRET)] {
        let response = Raw::connect(stack.gateway()).await.ask(&request.bytes()).await;
        let said = (response.status, response.text().trim());
        assert_eq!(
            said,
            (401, "header sluicegate-gateway-secret does not match the bridge's gateway_secret")
        );
    }
    for process in stack.processes() {
        let log = String::from_utf8_lossy(&fs::read(process.log()).unwrap()).into_owned();
        assert!(![SECRET, wrong].iter().any(|secret| log.contains(secret)), "{log}");
    }
}

in_every_profile! {
    gateway_with_another_secret_is_refused_without_a_hint
}

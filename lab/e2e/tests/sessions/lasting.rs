//! Request timeouts of a listener do not end its sessions.

use sluicegate_stack::envoy::{Profile, plugin};
use sluicegate_stack::raw::Raw;
use sluicegate_tests::in_every_profile;

use crate::sessions::peer::Peer;
use crate::sessions::stacks::start;

async fn session_outlives_the_timeout_of_requests(profile: Profile) {
    let produce = r#"{"path": "/orders", "type": "produce", "topic": "orders"}"#;
    let short = ("request_timeout: 60s".to_owned(), "request_timeout: 1s".to_owned());
    let stack = start(profile, "", vec![plugin("", &[produce]), short]).await;
    let mut session = Peer::open(&stack).await;
    // It comes after the session, and has the same time: when that is over for it, it is for the session.
    let unfinished = b"POST /orders HTTP/1.1\r\nhost: gateway.example\r\ncontent-length: 9\r\n\r\nfour";
    let response = Raw::connect(stack.gateway()).await.ask(unfinished).await;
    assert_eq!(response.status, 408, "{response:?}");
    session.is_idle().await;
}

in_every_profile! {
    session_outlives_the_timeout_of_requests
}

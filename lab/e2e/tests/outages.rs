//! Outages during open sessions: each part killed, frozen or silently gone, on Envoy in both profiles and, if the
//! bridge itself serves the client, through nginx or directly.
//!
//! [`bridge`] and [`kafka`] are the servers, [`clients`] leave or fall silent.

mod bridge;
mod clients;
mod kafka;

use std::fs;

use sluicegate_stack::stack::Stack;

/// Neither filter nor bridge ever trapped or panicked, and nginx did nothing of the kind.
async fn assert_unharmed(stack: &Stack) {
    if stack.way().is_envoy() {
        assert_eq!(stack.envoy().filter_reloads().await.unwrap(), 0);
    }
    for process in stack.processes() {
        let log = fs::read_to_string(process.log()).unwrap();
        let signs = ["Function: proxy_on_", "panicked", "[alert]", "[emerg]"];
        assert!(!signs.iter().any(|sign| log.contains(sign)), "{log}");
    }
}

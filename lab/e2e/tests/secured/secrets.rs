//! Errors and admin pages contain no secrets. For logs, see [`crate::secured::gateway`].

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sluicegate_stack::http;
use sluicegate_stack::kafka::secured::{READER, password};
use sluicegate_stack::secrets::{all, shown_in};

use crate::secured::gateway::{open, readiness};
use crate::secured::{faults, readable};

#[tokio::test]
async fn no_secret_shows_in_errors_or_metrics() {
    let readable: Vec<_> = readable::readable().await.sections.iter().collect();
    let faults: Vec<_> = faults::faulty().await.faults.iter().map(|fault| &fault.section).collect();
    for (stack, sections) in [(readable::gateway().await, readable), (faults::gateway().await, faults)] {
        let mut said = String::new();
        for section in sections {
            let mut socket = open(&stack, section.name).await;
            said.push_str(&format!("{:?}\n", socket.fetch("any", 0, 0).await.unwrap_err()));
            said.push_str(&format!("{:?}\n", readiness(&stack, section.name).await.0));
        }
        said.push_str(&http::get(stack.bridge.admin(), "/metrics").await.unwrap().body);
        assert_eq!(shown_in(&said), [""; 0], "of {} secrets", all().len());

        // A log that says nothing has no secrets either, and neither has one that nobody can read.
        let log = fs::read_to_string(stack.bridge.process.log()).unwrap();
        assert!(log.contains("TRACE"), "the bridge's log is not at its most talkative");
        let message = format!("\0{READER}\0{}", password(READER));
        for planted in [password(READER), STANDARD.encode(&message), format!("{:?}", message.as_bytes())] {
            assert_eq!(shown_in(&format!("{said}{planted}")), [password(READER)]);
        }
    }
}

//! The examples without a build, which Envoy serves.

use std::time::Duration;

use sluicegate_stack::browser;

use crate::browser::parts::Parts;

#[tokio::test]
async fn examples_show_what_is_written() {
    let mut parts = Parts::start().await;
    let gateway = parts.stack.gateway().to_string();
    let within = Duration::from_secs(120);
    browser::run("examples.ts", &[&gateway], within, async |request| match request {
        "write" => parts.write(r#"{"gate":"mine"}"#).await.to_string(),
        request => parts.act(request).await,
    })
    .await
    .unwrap();
}

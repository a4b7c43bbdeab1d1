//! The admin endpoints: health, readiness and metrics.

use std::time::Duration;

use sluicegate_stack::raw::Raw;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::support::{admin, start};

#[tokio::test]
async fn probes_answer_by_what_they_ask() {
    let bridge = start("").await;
    assert_eq!(admin(&bridge, "/livez").await, (200, "ok\n".into()));
    assert_eq!(admin(&bridge, "/readyz").await, (200, "ok\n".into()));
    assert_eq!(admin(&bridge, "/readyz?cluster=other").await, (404, "not ready\n".into()));
    for query in ["cluster=default", "cluster=default?x=1"] {
        assert_eq!(admin(&bridge, &format!("/readyz?{query}")).await, (503, "not ready\n".into()));
    }
    assert_eq!(admin(&bridge, "/other").await.0, 404);
}

#[tokio::test]
async fn sessions_are_listed_for_nobody_without_a_token() {
    let bridge = start("").await;
    let none = "this bridge has no admin_token: set it first\n";
    assert_eq!(admin(&bridge, "/sessions").await, (401, none.into()));
}

/// More connections than there are places, from the address of the probes themselves.
#[tokio::test]
async fn probes_answer_beside_idle_and_slow_connections() {
    let bridge = start("").await;
    let mut others = Vec::new();
    for _ in 0..100 {
        others.push(Raw::connect(bridge.admin_address()).await);
        let mut slow = Raw::connect(bridge.admin_address()).await;
        slow.write("GET /livez HTTP/1.1\r\nhost: ").await;
        others.push(slow);
    }
    for _ in 0..10 {
        for path in ["/livez", "/readyz"] {
            let answered = timeout(Duration::from_secs(1), admin(&bridge, path)).await;
            assert_eq!(answered, Ok((200, "ok\n".into())), "{path}");
        }
    }
}

#[tokio::test]
async fn connection_without_whole_headers_is_closed_after_two_seconds() {
    let bridge = start("").await;
    let ends = async |request: &'static str| {
        let (begun, mut client) = (Instant::now(), Raw::connect(bridge.admin_address()).await.io);
        let mut unsent = request.bytes().cycle();
        let mut byte = [0];
        // Each byte comes long before the time is over.
        while let Err(_still_open) = timeout(Duration::from_millis(100), client.read(&mut byte)).await {
            if let Some(next) = unsent.next() {
                // The connection can be closed meanwhile, as the next read tells.
                let _ = client.write_u8(next).await;
            }
        }
        begun.elapsed()
    };
    let (idle, slow) = tokio::join!(ends(""), ends("GET /livez?a=very-long-name-that-takes-its-time"));
    for elapsed in [idle, slow] {
        assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&elapsed), "{elapsed:?}");
    }
}

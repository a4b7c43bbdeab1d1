//! Failures between APISIX and the bridge, or in nginx before the filter, as a client sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluicegate_stack::apisix::{self, Apisix, Route};
use sluicegate_stack::http::client::Request;
use sluicegate_stack::port::Port;
use sluicegate_stack::way::Way;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::http::answers::unanswered;
use crate::http::openapi::ask;
use crate::http::stacks::REST;

/// Time that nginx waits for the bridge.
const PATIENCE: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn bridge_that_answers_half_or_nothing_times_out() {
    // As much of an answer as there is, and whether it ends there.
    const ANSWERS: [(&[u8], bool); 3] = [(b"", false), (b"", true), (b"HTTP/1.1 200 OK\r\ncontent-ty", true)];
    for (answer, ends) in ANSWERS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bridge = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let received = Arc::clone(&requests);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut first = [0; 3];
                connection.read_exact(&mut first).await.unwrap();
                received.fetch_add(1, Ordering::Relaxed);
                connection.write_all(answer).await.unwrap();
                if !ends {
                    held.push(connection);
                }
            }
        });
        let conf = |text: &str| serde_json::from_str(text).unwrap();
        let routes = vec![
            Route::new("/produce", conf(r#"{"type": "produce", "topic": "t"}"#)),
            Route::below(REST, conf(r#"{"type": "rest", "path": "/kafka"}"#)),
        ];
        let setup = apisix::Setup { routes, read_timeout: PATIENCE, ..apisix::Setup::default() };
        let apisix = Apisix::start(Port::pick().unwrap(), bridge, setup).await.unwrap();
        let asked = Instant::now();
        let write = ask(apisix.gateway(), Request::post("/produce", "v"));
        let read = ask(apisix.gateway(), Request::get("/kafka/topics"));
        let (write, read) = tokio::join!(write, read);
        assert!(unanswered(Way::Apisix, &write, 504), "{write:?}");
        assert!(
            !unanswered(Way::Apisix, &read, if ends { 503 } else { 504 }),
            "a read has no outcome: {read:?}"
        );
        let took = asked.elapsed();
        assert!(took < SOON && (ends || took >= PATIENCE), "{took:?} for {answer:?}");
        assert_eq!(requests.load(Ordering::Relaxed), 2, "nothing is sent twice");
    }
}

//! What operators ask.

use crate::support::{admin, start};

#[tokio::test]
async fn probes_answer_by_what_they_ask() {
    let bridge = start("").await;
    assert_eq!(admin(&bridge, "/livez").await, (200, "ok\n".into()));
    assert_eq!(admin(&bridge, "/readyz").await, (200, "ok\n".into()));
    assert_eq!(admin(&bridge, "/readyz?cluster=other").await.0, 404);
    for query in ["cluster=default", "cluster=default?x=1"] {
        let (status, reason) = admin(&bridge, &format!("/readyz?{query}")).await;
        assert_eq!(status, 503);
        assert!(reason.contains("could be reached"), "{reason}");
    }
    assert_eq!(admin(&bridge, "/other").await.0, 404);
}

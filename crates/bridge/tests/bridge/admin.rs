//! The admin endpoints: health, readiness and metrics.

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

//! Waiting for what comes about by itself.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Asks again and again until there is a value; what it says otherwise is told after a minute.
pub(crate) async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(detail) if start.elapsed() > WITHIN => panic!("waited 60 s until {what}: {detail}"),
            Err(_) => sleep(POLL).await,
        }
    }
}

const WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

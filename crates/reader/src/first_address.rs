//! Connects to the first address that answers.

use std::io;
use std::net::SocketAddr;

use tokio::time::{Instant, timeout_at};

use crate::clock::after;

/// The result of `connect` for the first address that succeeds, or the failure of the last one.
///
/// Addresses are tried in order, each for an equal share of the remaining time, so that one that drops packets leaves
/// time for the others.
pub(crate) async fn first_address<T, F>(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address");
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now).checked_div(left).unwrap_or_default();
        left = left.saturating_sub(1);
        failure = match timeout_at(after(now, share), connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(cause)) => cause,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silent_address_leaves_time_for_the_others() {
        let address = |last| SocketAddr::from(([192, 0, 2, last], 1));
        let started = Instant::now();
        let connect = |found: SocketAddr| async move {
            if found == address(2) { Ok(found) } else { std::future::pending().await }
        };
        let deadline = after(started, Duration::from_secs(3));
        let found = first_address(vec![address(1), address(2), address(3)], deadline, connect).await;
        assert_eq!(found.expect("an address"), address(2));
        assert_eq!(started.elapsed(), Duration::from_secs(1));
        let error =
            first_address(vec![address(1), address(3)], deadline, connect).await.expect_err("silence");
        assert_eq!((error.kind(), Instant::now()), (io::ErrorKind::TimedOut, deadline));
    }
}

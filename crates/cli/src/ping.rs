//! `ping`: round trips to the bridge and back, in the format of ping(8).

use std::io::Write as _;
use std::time::{Duration, Instant};

use sluicegate_client::{Client, Error};
use tokio::time::{MissedTickBehavior, interval};

use crate::args::Ping;
use crate::failure::{Failure, Interrupt};
use crate::stdout::Stdout;

pub(crate) async fn run(
    args: &Ping,
    url: &str,
    quiet: bool,
    client: &Client,
    stdout: &mut Stdout,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let start = Instant::now();
    let mut trips = RoundTrips::default();
    let outcome = interrupt.unless(send(args, url, quiet, client, stdout, &mut trips)).await;
    if !matches!(outcome, Err(Failure::ReaderGone | Failure::Output(_))) {
        stdout.write(&trips.summary(url, start.elapsed())).await?;
    }
    outcome
}

async fn send(
    args: &Ping,
    url: &str,
    quiet: bool,
    client: &Client,
    stdout: &mut Stdout,
    trips: &mut RoundTrips,
) -> Result<(), Failure> {
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while args.count.is_none_or(|count| trips.sent < count) {
        ticks.tick().await;
        trips.sent = trips.sent.saturating_add(1);
        let state = trips.sent.to_be_bytes();
        let sent_at = Instant::now();
        let echoed = client.ping(state.to_vec()).await?;
        let trip = sent_at.elapsed();
        if *echoed != state {
            let detail = format!("ping {} came back with another state", trips.sent);
            return Err(Error::Protocol { detail }.into());
        }
        trips.answered(trip);
        if !quiet {
            let line = format!("pong from {url}: seq={} time={:.3} ms\n", trips.sent, millis(trip));
            stdout.write(line.as_bytes()).await?;
        }
    }
    Ok(())
}

/// Statistics of all round trips; times in milliseconds.
#[derive(Debug, Default)]
struct RoundTrips {
    sent: u64,
    answered: u64,
    min: f64,
    max: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl RoundTrips {
    fn answered(&mut self, trip: Duration) {
        let trip = millis(trip);
        self.min = if self.answered == 0 { trip } else { self.min.min(trip) };
        self.max = self.max.max(trip);
        self.sum += trip;
        self.sum_of_squares += trip * trip;
        self.answered = self.answered.saturating_add(1);
    }

    fn summary(&self, url: &str, elapsed: Duration) -> Vec<u8> {
        let Self { sent, answered, min, max, sum, sum_of_squares } = self;
        let mut text = Vec::new();
        // Writing to a `Vec` does not fail.
        let _ = writeln!(text, "--- {url} ping statistics ---");
        let _ = writeln!(text, "{sent} sent, {answered} answered, time {:.0} ms", millis(elapsed));
        if *answered > 0 {
            #[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^53 pings")]
            let count = *answered as f64;
            let mean = sum / count;
            let deviation = (sum_of_squares / count - mean * mean).max(0.0).sqrt();
            let _ = writeln!(text, "rtt min/avg/max/mdev = {min:.3}/{mean:.3}/{max:.3}/{deviation:.3} ms");
        }
        text
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_has_minimum_mean_maximum_and_deviation() {
        let mut trips = RoundTrips { sent: 3, ..RoundTrips::default() };
        for trip in [2, 4] {
            trips.answered(Duration::from_millis(trip));
        }
        let text = String::from_utf8(trips.summary("ws://g", Duration::from_millis(2003))).unwrap();
        let want = "--- ws://g ping statistics ---\n3 sent, 2 answered, time 2003 ms\n\
                    rtt min/avg/max/mdev = 2.000/3.000/4.000/1.000 ms\n";
        assert_eq!(text, want);
    }
}

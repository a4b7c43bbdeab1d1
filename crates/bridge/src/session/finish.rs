//! The end of a session: what is ready is sent, with a last message.

use std::task::Context;
use std::time::Duration;

use sluicegate_dialect::session::Answer;
use tokio::time::timeout;

use super::peer::{read_meanwhile, read_to_end};
use super::{End, Session};

impl Session<'_> {
    /// Drops the commands in flight, sends the ready answers and a last message, and waits for the peer to end its
    /// side. Dropping the stream earlier would reset it and lose data in flight.
    pub(super) async fn finish(&mut self, end: &End) {
        self.commands.clear();
        self.subscriptions.clear();
        let Some(close) = end.close() else { return };
        self.outbox.push(Answer::close(close), None);
        let within = if *end == End::Left { LEFT_TIMEOUT } else { self.limits.close_timeout };
        // Unsent output is dropped.
        let _ = timeout(within, self.flush_and_close()).await;
    }

    async fn flush_and_close(&mut self) {
        let mut left = false;
        while self.output_waits() {
            let progress = |cx: &mut Context<'_>| self.output.poll_progress(cx, &mut self.outbox);
            if read_meanwhile(&mut self.input, &mut left, progress).await.is_err() {
                return;
            }
        }
        if !left && self.output.ends_both_sides() && self.answered > INITIAL_WINDOW_BYTES {
            left = timeout(LINGER, read_to_end(&mut self.input)).await.is_ok();
        }
        read_meanwhile(&mut self.input, &mut left, |cx| self.output.poll_end(cx)).await;
        if !left {
            read_to_end(&mut self.input).await;
        }
    }
}

/// Time for a peer that ended its own side to read the ready answers.
const LEFT_TIMEOUT: Duration = Duration::from_secs(1);

/// Delay between the last message and the end of the response, for clients that read slowly. If a response ends before
/// its request, a proxy resets the stream, and Envoy then drops the data it still buffers. Shorter than the filter's
/// own timeout.
const LINGER: Duration = Duration::from_secs(1);

/// Answers up to this size are never held back by a proxy: the initial window of an HTTP/2 stream (RFC 9113, section
/// 6.9.2).
const INITIAL_WINDOW_BYTES: usize = 65_535;

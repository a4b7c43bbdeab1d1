//! The order in which a session's commands enqueue their records: that of their arrival.

use tokio::sync::oneshot;

/// Issues tickets, which proceed in the same order.
#[derive(Debug, Default)]
pub struct WriteSequencer {
    last: Option<oneshot::Receiver<()>>,
}

/// A command's place in the order. A drop lets the next ticket proceed. The default is a ticket without others.
#[derive(Debug, Default)]
pub struct WriteTicket {
    previous: Option<oneshot::Receiver<()>>,
    _own: Option<oneshot::Sender<()>>,
}

impl WriteSequencer {
    /// The ticket after all others.
    pub fn issue(&mut self) -> WriteTicket {
        let (own, next) = oneshot::channel();
        WriteTicket { previous: self.last.replace(next), _own: Some(own) }
    }
}

impl WriteTicket {
    /// Waits until the previous ticket is dropped.
    pub async fn wait(&mut self) {
        if let Some(previous) = self.previous.take() {
            // Nothing is ever sent: the drop closes the channel.
            let _ = previous.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tickets_proceed_in_order() {
        let mut sequencer = WriteSequencer::default();
        let [mut first, mut second, mut third] = std::array::from_fn(|_| sequencer.issue());
        first.wait().await;
        let waits = tokio::spawn(async move {
            third.wait().await;
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(first);
        second.wait().await;
        assert!(!waits.is_finished());
        drop(second);
        waits.await.unwrap();
        WriteTicket::default().wait().await;
    }
}

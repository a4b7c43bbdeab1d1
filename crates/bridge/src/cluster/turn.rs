//! Hands over records in the order of a session's commands.

use tokio::sync::oneshot;

/// A command's turn to hand over its records. A drop passes the turn on.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    _mine: Option<oneshot::Sender<()>>,
}

/// Gives out turns, which come in the same order.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    last: Option<oneshot::Receiver<()>>,
}

impl Turns {
    pub(crate) fn next(&mut self) -> Turn {
        let (mine, after) = oneshot::channel();
        Turn { before: self.last.replace(after), _mine: Some(mine) }
    }
}

impl Turn {
    /// Waits for the turn.
    pub(super) async fn wait(&mut self) {
        if let Some(before) = self.before.take() {
            // Nothing is ever sent: the turn before ends when it is dropped.
            let _ = before.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_order() {
        let mut turns = Turns::default();
        let [mut first, mut second, mut third] = std::array::from_fn(|_| turns.next());
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
        Turn::default().wait().await;
    }
}

//! Ctrl-C as a failure like any other.

use tokio::sync::watch;

use crate::failure::Failure;

/// Stays set once Ctrl-C was pressed.
pub(crate) struct Interrupt {
    pressed: watch::Receiver<bool>,
}

impl Interrupt {
    /// Handles Ctrl-C from now on.
    pub(crate) fn watch() -> Self {
        let (sender, pressed) = watch::channel(false);
        tokio::spawn(async move {
            // If the handler cannot be installed, the signal still ends the process.
            if tokio::signal::ctrl_c().await.is_ok() {
                sender.send_replace(true);
            }
        });
        Self { pressed }
    }

    /// Runs `work` until it is done or Ctrl-C is pressed.
    pub(crate) async fn unless<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            outcome = work => outcome,
            Ok(_) = self.pressed.wait_for(|pressed| *pressed) => Err(Failure::Interrupted),
        }
    }
}

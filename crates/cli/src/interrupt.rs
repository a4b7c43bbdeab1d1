//! Ctrl-C as a failure like any other.

use tokio::sync::watch;

use crate::failure::Failure;

/// Remembers that Ctrl-C was pressed, whatever was being done at that moment.
pub(crate) struct Interrupt {
    pressed: watch::Receiver<bool>,
}

impl Interrupt {
    /// Takes Ctrl-C over from now on.
    pub(crate) fn watch() -> Self {
        let (sender, pressed) = watch::channel(false);
        tokio::spawn(async move {
            // Where the signal cannot be taken over it keeps its default effect: it ends the process.
            if tokio::signal::ctrl_c().await.is_ok() {
                sender.send_replace(true);
            }
        });
        Self { pressed }
    }

    /// Does `work`, unless and until Ctrl-C is pressed.
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

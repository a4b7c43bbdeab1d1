//! Client quotas.

use super::Kafka;
use crate::Error;

impl Kafka {
    /// Limits the bytes per second that clients of this id can read from each node. Takes effect shortly after.
    ///
    /// # Errors
    /// [`Error::Ended`] if Kafka's tool fails.
    ///
    /// # Cancel safety
    /// The limit may take effect.
    pub async fn limit_reads(&self, client_id: &str, bytes_per_second: u32) -> Result<(), Error> {
        let limit = format!("consumer_byte_rate={bytes_per_second}");
        let client = ["--entity-type", "clients", "--entity-name", client_id];
        self.command(
            "kafka.admin.ConfigCommand",
            &[&["--alter", "--add-config", &limit], &client[..]].concat(),
        )
        .await
    }
}

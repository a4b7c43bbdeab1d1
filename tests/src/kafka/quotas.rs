//! Quotas of clients.

use super::Kafka;
use crate::Error;

impl Kafka {
    /// Limits what clients of this id may read from each node, in bytes a second. It holds a moment later.
    ///
    /// # Errors
    /// [`Error::Ended`] where Kafka's tool refuses.
    ///
    /// # Cancel safety
    /// The limit may hold.
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

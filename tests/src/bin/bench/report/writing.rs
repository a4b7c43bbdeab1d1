//! What writing was measured to be, and its ratios.

use super::{Cpu, Measured, heading, line, per_million};

/// All ways to write values of one size, with one number of clients.
#[derive(Debug)]
pub(crate) struct Row {
    /// Bytes of a value.
    pub(crate) size: u32,
    pub(crate) clients: u32,
    /// Records of a command.
    pub(crate) batch: u32,
    pub(crate) session: (Measured, Cpu),
    /// A producer that is given as many records at once.
    pub(crate) direct_batches: (Measured, Cpu),
    /// A producer that is given all that its queue takes.
    pub(crate) direct: (Measured, Cpu),
}

/// Everything, and the ratios.
pub(crate) fn table(rows: &[Row]) {
    for same_size in rows.chunk_by(|a, b| a.size == b.size) {
        let size = same_size.first().map_or(0, |row| row.size);
        heading("clients", &format!("writer, {size} B"));
        for row in same_size {
            line(row.clients, &format!("sessions, {} a command", row.batch), row.session);
            line(row.clients, " librdkafka likewise", row.direct_batches);
            line(row.clients, "librdkafka, unbounded", row.direct);
        }
    }
    println!();
    println!("ratios to bare librdkafka");
    for Row { size, clients, session, direct_batches, direct, .. } in rows {
        let likewise = session.0.rate() / direct_batches.0.rate();
        let rate = session.0.rate() / direct.0.rate();
        let producer = per_million(direct.1.client, direct.0);
        let bridge = per_million(session.1.bridge, session.0) / producer;
        println!(
            "{clients:>7}  {size:>5} B  sessions: messages/s {rate:.2}, likewise {likewise:.2}   CPU per message: \
             bridge {bridge:.2}"
        );
    }
}

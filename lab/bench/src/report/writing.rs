//! The results of writing, and their ratios.

use super::{Cpu, Measured, heading, line, per_million};

/// All ways to write values of one size, with one number of clients.
#[derive(Debug)]
pub(crate) struct Row {
    /// Bytes of a value.
    pub(crate) size: u32,
    pub(crate) clients: u32,
    /// Records in a session's command.
    pub(crate) batch: u32,
    pub(crate) session: (Measured, Cpu),
    /// A bare producer with as many records in flight as the sessions.
    pub(crate) direct_batches: (Measured, Cpu),
    /// Plain HTTP, one record per request.
    pub(crate) post: (Measured, Cpu),
    /// A bare producer with as many records in flight as the HTTP clients.
    pub(crate) direct_post: (Measured, Cpu),
    /// A bare producer with a full queue.
    pub(crate) direct: (Measured, Cpu),
}

/// Prints all results, and the ratios.
pub(crate) fn table(rows: &[Row]) {
    for same_size in rows.chunk_by(|a, b| a.size == b.size) {
        let size = same_size.first().map_or(0, |row| row.size);
        heading("clients", &format!("writer, {size} B"), "Kafka");
        for row in same_size {
            line(row.clients, &format!("sessions, {} a command", row.batch), row.session);
            line(row.clients, " librdkafka likewise", row.direct_batches);
            line(row.clients, "HTTP, 1 a request", row.post);
            line(row.clients, " librdkafka likewise", row.direct_post);
            line(row.clients, "librdkafka, unbounded", row.direct);
        }
    }
    println!();
    println!("ratios to bare librdkafka: messages/s");
    println!("clients  value    sessions: likewise, unbounded   HTTP: likewise");
    for Row { size, clients, session, direct_batches, post, direct_post, direct, .. } in rows {
        let ratio = |(part, _): (Measured, Cpu), (bare, _): (Measured, Cpu)| part.rate() / bare.rate();
        println!(
            "{clients:>7} {size:>5} B  {:>18.2}  {:>9.2}  {:>15.2}",
            ratio(*session, *direct_batches),
            ratio(*session, *direct),
            ratio(*post, *direct_post),
        );
    }
    println!();
    println!("HTTP: CPU microseconds per request");
    println!("clients  value     Envoy  bridge");
    for Row { size, clients, post: (measured, cpu), .. } in rows {
        let [envoy, bridge] = [cpu.envoy, cpu.bridge].map(|cpu| per_million(cpu, *measured));
        println!("{clients:>7} {size:>5} B  {envoy:>7.1} {bridge:>7.1}");
    }
}

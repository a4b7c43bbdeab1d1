//! The results of reading, and their ratios.

use super::{Cpu, Measured, heading, line, per_million};

/// All measurements with one number of clients: through the gateway over each security protocol, and by bare
/// librdkafka.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) clients: u32,
    pub(crate) plaintext: (Measured, Cpu),
    pub(crate) ssl: (Measured, Cpu),
    pub(crate) sasl_ssl: (Measured, Cpu),
    pub(crate) consume: (Measured, Cpu),
}

/// Prints all results, and the ratios.
pub(crate) fn table(rows: &[Row]) {
    heading("clients", "reader", "Kafka");
    for row in rows {
        line(row.clients, "through the gateway", row.plaintext);
        line(row.clients, " Kafka over SSL", row.ssl);
        line(row.clients, " Kafka over SASL_SSL", row.sasl_ssl);
        line(row.clients, "bare librdkafka", row.consume);
    }
    println!();
    println!("ratios to bare librdkafka");
    for Row { clients, plaintext: walk, consume, .. } in rows {
        let rate = walk.0.rate() / consume.0.rate();
        let consumer = per_million(consume.1.client, consume.0);
        let bridge = per_million(walk.1.bridge, walk.0) / consumer;
        let path = per_million(walk.1.bridge + walk.1.envoy, walk.0) / consumer;
        println!(
            "{clients:>7}  messages/s {rate:.2}   CPU per message: bridge {bridge:.2}, Envoy and bridge {path:.2}"
        );
    }
    println!();
    println!("ratios to Kafka over PLAINTEXT, through the gateway");
    for Row { clients, plaintext, ssl, sasl_ssl, .. } in rows {
        for (name, secured) in [("SSL", ssl), ("SASL_SSL", sasl_ssl)] {
            let rate = secured.0.rate() / plaintext.0.rate();
            let bridge = |part: &(Measured, Cpu)| per_million(part.1.bridge, part.0);
            let cpu = bridge(secured) / bridge(plaintext);
            println!("{clients:>7}  {name:<8}  messages/s {rate:.2}   CPU per message: bridge {cpu:.2}");
        }
    }
}

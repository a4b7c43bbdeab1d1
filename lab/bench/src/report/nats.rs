//! The results of reading from NATS, and their ratios.

use super::{Cpu, Measured, heading, line, per_million};

/// Both measurements with one number of clients.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) clients: u32,
    pub(crate) walk: (Measured, Cpu),
    pub(crate) pull: (Measured, Cpu),
}

/// Prints all results, and the ratios.
pub(crate) fn table(rows: &[Row]) {
    heading("clients", "reader", "NATS");
    for row in rows {
        line(row.clients, "through the gateway", row.walk);
        line(row.clients, "bare async-nats", row.pull);
    }
    println!();
    println!("ratios to bare async-nats");
    for Row { clients, walk, pull } in rows {
        let rate = walk.0.rate() / pull.0.rate();
        let gateway = per_million(walk.1.envoy + walk.1.bridge + walk.1.system, walk.0);
        let bare = per_million(pull.1.client + pull.1.system, pull.0);
        println!(
            "{clients:>7}  messages/s {rate:.2}   CPU per message: Envoy, bridge and NATS {:.2} of client and NATS",
            gateway / bare
        );
    }
}

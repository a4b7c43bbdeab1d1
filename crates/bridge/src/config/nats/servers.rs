//! `servers`.

use sluicegate_nats::ServerAddr;
use sluicegate_protocol::definition::{Host, Node};

use super::{Values, keys};

impl Values<'_> {
    pub(super) fn servers(&mut self) -> Vec<ServerAddr> {
        let name = keys::SERVERS.name;
        let Some(text) = self.given.get(name) else {
            self.problem(name, format!("is required, {EXPECTED}"));
            return Vec::new();
        };
        // The text can contain a password, which can contain commas.
        if text.contains('@') {
            self.problem(name, "contains credentials: use `user` and `password`, or `token`");
            return Vec::new();
        }
        let mut servers = Vec::new();
        for url in text.split(',').map(str::trim) {
            match server(url) {
                Some(server) => servers.push(server),
                None => self.problem(name, format!("has \"{}\", {EXPECTED}", url.escape_debug())),
            }
        }
        servers
    }
}

fn server(url: &str) -> Option<ServerAddr> {
    let (scheme, address) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "nats" | "tls"))?;
    let node = match Host::parse(address) {
        Some(host) => Node { host, port: DEFAULT_PORT },
        None => Node::parse(address)?,
    };
    format!("{scheme}://{node}").parse().ok()
}

const DEFAULT_PORT: u16 = 4222;
const EXPECTED: &str = "expected nats://host:port or tls://host:port, with commas between servers";

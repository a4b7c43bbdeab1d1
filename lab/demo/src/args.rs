//! The demo's command line.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use clap::Parser;
use sluicegate_stack::Error;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::port::Port;

use crate::Failure;

/// Starts a Kafka, the bridge and Envoy with the filter on this machine, until Ctrl-C
#[derive(Debug, Parser)]
#[command(name = "demo", bin_name = "./dev demo")]
pub(crate) struct Args {
    /// Read this cluster instead of starting a Kafka; nothing is created or written there
    #[arg(long, value_name = "HOST:PORT[,HOST:PORT…]", conflicts_with = "config", value_parser = servers)]
    pub(crate) bootstrap_servers: Option<String>,

    /// Run the bridge with this configuration; the demo reads its cluster `default`, and writes to it if
    /// `write.clusters` names it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Run a NATS server with a stream instead of Kafka
    #[arg(long, conflicts_with_all = ["config", "bootstrap_servers"])]
    pub(crate) nats: bool,

    /// Create this topic too, with one partition, or with --nats this stream; can be repeated
    #[arg(long, value_name = "NAME", conflicts_with_all = ["config", "bootstrap_servers"], value_parser = topic)]
    pub(crate) topic: Vec<String>,

    /// Serve the routes of this file in place of the demo's: the filter's JSON, or an array of its routes
    #[arg(long, value_name = "FILE")]
    pub(crate) routes: Option<PathBuf>,

    /// Start a schema registry, and write orders in Avro to the topic `orders`, which the page shows as JSON
    #[arg(long, conflicts_with_all = ["config", "bootstrap_servers", "nats", "login"])]
    pub(crate) schemas: bool,

    /// Let users log in, who each have their own topic: starts an OpenID provider with the users Alice and Bob
    #[arg(long, conflicts_with_all = ["config", "bootstrap_servers", "nats"])]
    pub(crate) login: bool,

    /// The OpenID provider's port
    #[arg(long, value_name = "N", default_value_t = 8081, requires = "login",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) login_port: u16,

    /// Seconds for which a token is valid; pages get another one before
    #[arg(long, value_name = "N", default_value_t = 300, requires = "login",
        value_parser = clap::value_parser!(u16).range(5..))]
    pub(crate) token_seconds: u16,

    /// Serve pages of this origin too, such as http://127.0.0.1:3000; can be repeated
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(crate) origin: Vec<String>,

    /// The gateway's port
    #[arg(long, value_name = "N", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,

    /// How Envoy talks to the bridge
    #[arg(long, value_enum, default_value_t = Profile::Tunnel)]
    pub(crate) profile: Profile,

    /// Run this Envoy instead of the installed one
    #[arg(long, value_name = "PATH")]
    pub(crate) envoy: Option<PathBuf>,

    /// Check the arguments and exit; `./dev` does so before it builds anything
    #[arg(long, hide = true)]
    pub(crate) check_arguments: bool,
}

/// A comma-separated list of `host:port`.
fn servers(text: &str) -> Result<String, String> {
    for server in text.split(',') {
        let named = server
            .trim()
            .rsplit_once(':')
            .filter(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|port| port != 0));
        if named.is_none() {
            return Err(format!("{server:?} is not HOST:PORT"));
        }
    }
    Ok(text.to_owned())
}

/// A name that Kafka accepts for a topic.
fn topic(text: &str) -> Result<String, String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=249).contains(&text.len()) && text.bytes().all(is_legal) && text != "." && text != ".." {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not 1 to 249 letters, digits, '.', '_' and '-'"))
    }
}

/// A page's origin: scheme, host and perhaps a port, as browsers send it.
fn origin(text: &str) -> Result<String, String> {
    let authority = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let is_origin = authority.is_some_and(|authority| {
        is_host(authority)
            || authority
                .rsplit_once(':')
                .is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok())
    });
    if is_origin {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not an origin such as http://127.0.0.1:3000"))
    }
}

/// A name, an IPv4 address or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)),
    }
}

/// The port, which the option `option` chooses.
pub(crate) fn claim(port: u16, option: &str) -> Result<Port, Failure> {
    Port::claim(port).map_err(|error| match error {
        Error::PortInUse(port) => format!("port {port} is in use; choose another with {option}").into(),
        error => Failure::from(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of an option, separated by `|`: good ones, and bad ones.
    #[track_caller]
    fn check(option: fn(&str) -> Result<String, String>, good: &str, bad: &str) {
        for (values, is_good) in [(good, true), (bad, false)] {
            for value in values.split('|') {
                assert_eq!(option(value).is_ok(), is_good, "{value:?}");
            }
        }
    }

    #[test]
    fn topics_origins_and_servers_are_checked() {
        check(topic, "orders|a.b_c-1", "|..|a b");
        check(
            origin,
            "http://localhost|https://app.example|http://127.0.0.1:3000|http://[::1]:3000",
            "|localhost:3000|http://|http://a/|http://a:x|file:///a|*|null|http://a:1:2",
        );
        check(
            servers,
            "a:1|a:1,b:65535|127.0.0.1:9092, [::1]:9092",
            "|a|a:|:1|a:0|a:65536|a:1,|a:1,b|a b:1|http://x:9|::1:9|[a]:1",
        );
    }
}

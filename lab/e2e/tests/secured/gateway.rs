//! A gateway whose bridge has many clusters, each behind a path of its name.

use std::ops::Deref;
use std::{fs, thread};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};
use sluicegate_stack::http;
use sluicegate_stack::kafka::secured::Secured;
use sluicegate_stack::process::Process;
use sluicegate_stack::secrets::{secret, shown_in};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;

use crate::pool::Config;
use crate::secured::section::Section;

/// The gateway of a test. When the test is done with it and has not failed, no secret may show in its logs, or in what the
/// bridge says of itself.
pub(crate) struct Gateway(Stack);

impl Deref for Gateway {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.0
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        for log in self.processes().map(Process::log) {
            assert_eq!(shown_in(&fs::read_to_string(log).unwrap()), [""; 0], "{}", log.display());
        }
        // A log that says nothing has no secrets either.
        let log = fs::read_to_string(self.bridge.process.log()).unwrap();
        assert!(["TRACE", "DEBUG"].iter().any(|level| log.contains(level)), "{log}");
    }
}

/// A gateway with a path for each section. Its bridge can write to `writers`. The log tells all that it can, but for the frames to and from Envoy, which fill nearly all of such a log and hold no secret of a cluster.
pub(crate) async fn with(sections: &[Section], writers: &[Section]) -> Gateway {
    let names: Vec<&str> = writers.iter().map(|section| section.name).collect();
    let mut config = config("trace,h2=info").await.settings(&format!("[write]\nclusters = {names:?}"));
    for Section { name, properties, environment } in sections {
        let route = json!({"path": format!("/{name}"), "cluster": name, "write": true});
        config = config.cluster(name, properties).routes([route]);
        for (variable, value) in environment {
            config = config.environment(variable, value);
        }
    }
    Gateway(config.unready().await)
}

/// A gateway with routes that carry their clusters, with more keys of `[route_clusters]`. Also in the log are the frames
/// to and from Envoy, in which they travel.
pub(crate) async fn carrying(routes: impl IntoIterator<Item = Value>, more: &str) -> Gateway {
    let secret = secret("between-gateway-and-bridge");
    let settings =
        format!("gateway_secret = {secret:?}\n[route_clusters]\nallowed_hosts = [\"localhost:*\"]\n{more}");
    let config = config("trace").await.settings(&settings).keys(&format!("\"gateway_secret\": {secret:?},"));
    Gateway(config.routes(routes).unready().await)
}

async fn config(log: &str) -> Config {
    let plain = Secured::shared().await.unwrap().kafka.bootstrap();
    Config::on(Way::Tunnel, &plain).environment("RUST_LOG", log)
}

/// A session on a cluster.
pub(crate) async fn open(stack: &Stack, cluster: &str) -> Socket {
    Socket::open_with(&format!("ws://{}/{cluster}", stack.gateway())).await
}

/// Answer of `/readyz` about a cluster.
pub(crate) async fn readiness(stack: &Stack, cluster: &str) -> (u16, String) {
    let answer = http::get(stack.bridge.admin(), &format!("/readyz?cluster={cluster}")).await.unwrap();
    (answer.status, answer.text().to_owned())
}

/// The line of the log that an error's text refers to; the text itself shows no cause.
#[track_caller]
pub(crate) fn cause(stack: &Stack, told: &str) -> String {
    let text = told.split_once(", err: ").map_or(told, |(_, text)| text);
    let (text, reference) = text.split_once(" (reference ").unwrap_or_else(|| panic!("no reference: {told}"));
    assert!(FIXED.contains(&text), "{told}");
    let field = format!("reference=\"{}\"", reference.trim_end_matches(')'));
    let log = fs::read_to_string(stack.bridge.process.log()).unwrap();
    let mut lines = log.lines().filter(|line| line.contains(&field));
    let line = lines.next().unwrap_or_else(|| panic!("the log lacks {field}"));
    assert!(line.contains("WARN") && lines.next().is_none(), "{line}");
    line.to_owned()
}

const FIXED: [&str; 2] =
    ["no broker of the cluster is reachable", "no usable answer from the broker of this partition"];

#[test]
fn secret_is_found_in_every_form() {
    let secret = secret("every-form");
    for (before, after) in [("", ""), ("\0user\0", ""), ("id:", "x"), ("ab", "yz"), ("abc", "?")] {
        let around = format!("{before}{secret}{after}");
        for text in [around.clone(), STANDARD_NO_PAD.encode(&around), format!("{:?}", around.as_bytes())] {
            let line = format!("level=TRACE sent=\"{text}\"");
            assert_eq!(shown_in(&line), [secret.as_str()], "{line}");
        }
    }
}

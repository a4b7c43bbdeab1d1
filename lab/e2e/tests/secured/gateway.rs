//! A gateway whose bridge has many clusters, each behind a path of its name.

use std::ops::{Deref, DerefMut};
use std::time::Duration;
use std::{fs, thread};

use sluicegate_stack::envoy::{Profile, plugin, routes};
use sluicegate_stack::http;
use sluicegate_stack::process::Process;
use sluicegate_stack::secrets::shown_in;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::{BridgeConfig, Lent, Setup, Stack};
use sluicegate_stack::way::Way;
use tokio::time::Instant;

use crate::secured::discovery::Discovery;
use crate::secured::section::Section;

/// A gateway in use. When a test is done with it and has not failed, no secret may show in its logs: see [`LOG`].
pub(crate) struct Gateway<T: Deref<Target = Stack>>(T);

/// The gateway of a single test.
pub(crate) type OwnGateway = Gateway<Box<Stack>>;
/// A gateway that tests share.
pub(crate) type SharedGateway = Gateway<Lent<&'static Stack>>;

impl SharedGateway {
    pub(crate) fn of(stack: &'static Stack) -> Self {
        Self(Lent(stack))
    }
}

impl<T: Deref<Target = Stack>> Deref for Gateway<T> {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.0
    }
}

impl<T: DerefMut<Target = Stack>> DerefMut for Gateway<T> {
    fn deref_mut(&mut self) -> &mut Stack {
        &mut self.0
    }
}

impl<T: Deref<Target = Stack>> Drop for Gateway<T> {
    fn drop(&mut self) {
        if !thread::panicking() {
            for log in self.processes().map(Process::log) {
                assert_eq!(shown_in(&fs::read_to_string(log).unwrap()), [""; 0], "{}", log.display());
            }
        }
    }
}

/// A gateway for one test, with a path for each section; `settings` stand at the top of its bridge's configuration.
pub(crate) async fn own(profile: Profile, sections: &[Section], settings: &str) -> OwnGateway {
    Gateway(Box::new(start(profile, sections, settings).await))
}

/// The stack of a gateway with a path for each section.
pub(crate) async fn start(profile: Profile, sections: &[Section], settings: &str) -> Stack {
    let mut text = settings.to_owned();
    let mut environment = vec![("RUST_LOG".to_owned(), LOG.to_owned())];
    for section in sections {
        text.push_str(&section.toml);
        environment.extend(section.environment.clone());
    }
    let route = |section: &Section| {
        let cluster = format!(r#""cluster": "{}", "write": true"#, section.name);
        Route::session(&format!("/{}", section.name), &cluster)
    };
    let routes: Vec<Route> = sections.iter().map(route).collect();
    Stack::start(setup(profile, &routes, "", text, environment)).await.unwrap()
}

/// One of the filter's routes, and Envoy's for it.
pub(crate) struct Route {
    pub(crate) path: String,
    /// In JSON.
    pub(crate) object: String,
    /// Plain HTTP needs no route of Envoy's.
    is_session: bool,
}

impl Route {
    /// Sessions, with these keys.
    pub(crate) fn session(path: &str, keys: &str) -> Self {
        let object = format!(r#"{{"path": "{path}", {keys}}}"#);
        Self { path: path.to_owned(), object, is_session: true }
    }

    /// The REST proxies' resources.
    pub(crate) fn rest(path: &str, keys: &str) -> Self {
        Self { is_session: false, ..Self::session(path, &format!(r#""type": "rest", {keys}"#)) }
    }

    /// Bodies that become records.
    pub(crate) fn produce(path: &str, topic: &str, keys: &str) -> Self {
        let keys = format!(r#""type": "produce", "topic": "{topic}", {keys}"#);
        Self { is_session: false, ..Self::session(path, &keys) }
    }
}

/// A gateway for one test, with routes that carry their clusters; `settings` are its bridge's configuration, `keys` the
/// filter's.
pub(crate) async fn carrying(
    way: impl Into<Way>,
    routes: &[Route],
    settings: &str,
    keys: &str,
) -> OwnGateway {
    Gateway(Box::new(Stack::start(telling_all(way, routes, settings, keys)).await.unwrap()))
}

/// As [`carrying`], through an Envoy that takes new routes while it runs.
pub(crate) async fn changing(
    profile: Profile,
    routes: &[Route],
    settings: &str,
    keys: &str,
) -> (OwnGateway, Discovery) {
    // Changes that one connection has seen then go for all: workers take them one after the other.
    let setup = Setup { concurrency: 1, ..telling_all(profile, routes, settings, keys) };
    let mut stack = Stack::start(setup).await.unwrap();
    let discovery = Discovery::start(&mut stack).await;
    (Gateway(Box::new(stack)), discovery)
}

fn telling_all(way: impl Into<Way>, routes: &[Route], settings: &str, keys: &str) -> Setup {
    setup(way, routes, keys, settings.to_owned(), vec![("RUST_LOG".to_owned(), WHOLE_LOG.to_owned())])
}

fn setup(
    way: impl Into<Way>,
    all: &[Route],
    keys: &str,
    text: String,
    environment: Vec<(String, String)>,
) -> Setup {
    let objects: Vec<&str> = all.iter().map(|route| route.object.as_str()).collect();
    let sessions = all.iter().filter(|route| route.is_session);
    let paths: Vec<&str> = sessions.map(|route| route.path.as_str()).collect();
    // Without a route of its own there may be no Envoy.
    let edits = if all.is_empty() { Vec::new() } else { vec![plugin(keys, &objects), routes(&paths)] };
    Setup {
        bridge: BridgeConfig::Text(text),
        bridge_environment: environment,
        envoy_edits: edits,
        ..Setup::new(way, "")
    }
}

/// A session on a cluster.
pub(crate) async fn open(stack: &Stack, cluster: &str) -> Socket {
    Socket::open_at(&format!("ws://{}/{cluster}", stack.gateway())).await
}

/// Answer of `/readyz` about a cluster, and the time that it took.
pub(crate) async fn readiness(stack: &Stack, cluster: &str) -> (http::Answer, Duration) {
    let asked = Instant::now();
    let answer = http::get(stack.bridge.admin(), &format!("/readyz?cluster={cluster}")).await.unwrap();
    (answer, asked.elapsed())
}

/// All that the bridge can tell, but for the frames to and from Envoy, which fill nearly all of such a log and hold no
/// secret of a cluster.
const LOG: &str = "trace,h2=info";
/// The same with those frames: what routes carry is in them.
const WHOLE_LOG: &str = "trace";

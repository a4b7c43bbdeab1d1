//! A gateway whose bridge has many clusters, each behind a path of its name.

use std::ops::Deref;
use std::time::Duration;
use std::{fs, thread};

use sluicegate_tests::envoy::{Profile, plugin, routes};
use sluicegate_tests::http;
use sluicegate_tests::process::Process;
use sluicegate_tests::secrets::shown_in;
use sluicegate_tests::socket::Socket;
use sluicegate_tests::stack::{BridgeConfig, Lent, Setup, Stack};
use tokio::time::Instant;

use crate::section::Section;

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

impl<T: Deref<Target = Stack>> Drop for Gateway<T> {
    fn drop(&mut self) {
        if !thread::panicking() {
            for log in [&self.bridge.process, &self.envoy().process].map(Process::log) {
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
    let paths: Vec<String> = sections.iter().map(|section| format!("/{}", section.name)).collect();
    let object =
        |section: &Section| format!(r#"{{"path": "/{0}", "cluster": "{0}", "write": true}}"#, section.name);
    let objects: Vec<String> = sections.iter().map(object).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    let setup = Setup {
        bridge: BridgeConfig::Text(text),
        bridge_environment: environment,
        envoy_edits: vec![plugin("", &objects), routes(&paths)],
        ..Setup::new(profile, "")
    };
    Stack::start(setup).await.unwrap()
}

/// A session on a cluster.
pub(crate) async fn open(stack: &Stack, cluster: &str) -> Socket {
    Socket::open_at(&format!("ws://{}/{cluster}", stack.gateway())).await
}

/// What `/readyz` says of a cluster, and how long it took.
pub(crate) async fn readiness(stack: &Stack, cluster: &str) -> (http::Answer, Duration) {
    let asked = Instant::now();
    let answer = http::get(stack.bridge.admin(), &format!("/readyz?cluster={cluster}")).await.unwrap();
    (answer, asked.elapsed())
}

/// All that the bridge can tell, but for the frames to and from Envoy, which fill nearly all of such a log and hold no
/// secret of a cluster.
const LOG: &str = "trace,h2=info";

//! A gateway whose bridge has many clusters, each behind a path of its name.

use std::time::Duration;

use sluicegate_tests::envoy::{Profile, plugin, routes};
use sluicegate_tests::http;
use sluicegate_tests::socket::Socket;
use sluicegate_tests::stack::{BridgeConfig, Setup, Stack};
use tokio::time::Instant;

use crate::section::Section;

/// A gateway with a path for each section; `settings` stand at the top of its bridge's configuration.
pub(crate) async fn start(profile: Profile, sections: &[Section], settings: &str) -> Stack {
    start_with(profile, sections, settings, "info").await
}

/// As [`start`], with a bridge whose log is for those who look for secrets in it.
pub(crate) async fn start_talkative(profile: Profile, sections: &[Section]) -> Stack {
    start_with(profile, sections, "", "trace").await
}

async fn start_with(profile: Profile, sections: &[Section], settings: &str, level: &str) -> Stack {
    let mut text = settings.to_owned();
    let mut environment = vec![("RUST_LOG".to_owned(), level.to_owned())];
    for section in sections {
        text.push_str(&section.toml);
        environment.extend(section.environment.clone());
    }
    let paths: Vec<String> = sections.iter().map(|section| format!("/{}", section.name)).collect();
    let object = |section: &Section| format!(r#"{{"path": "/{0}", "cluster": "{0}"}}"#, section.name);
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
    Socket::open_at(&format!("ws://{}/{cluster}", stack.envoy.gateway())).await
}

/// What `/readyz` says of a cluster, and how long it took.
pub(crate) async fn readiness(stack: &Stack, cluster: &str) -> (http::Answer, Duration) {
    let asked = Instant::now();
    let answer = http::get(stack.bridge.admin(), &format!("/readyz?cluster={cluster}")).await.unwrap();
    (answer, asked.elapsed())
}

//! Starts all parts, watches them, and stops them.

use std::fs;
use std::future::pending;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sluicegate_stack::envoy::{
    DEMO_ROUTES, LIVE_PAGE, NATS_PAGE, guarded, instead, local_origins, login_page, page,
};
use sluicegate_stack::login::Provider;
use sluicegate_stack::process::watch;
use sluicegate_stack::registry::Registry;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::{Error as StackError, tools};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::Failure;
use crate::args::{Args, claim};
use crate::hints;
use crate::login;
use crate::orders::Orders;
use crate::routes::Routes;
use crate::server::Server;
use crate::source::{Source, System, system_of};

/// Runs until Ctrl-C, SIGTERM or a failure; nothing is left running.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let mut running = tokio::select! {
        running = Running::start(args) => running?,
        () = &mut stop => return Ok(()),
    };
    tokio::select! {
        failure = running.watch() => return Err(failure),
        () = &mut stop => hints::say("stopping"),
    }
    running.stop().await;
    Ok(())
}

struct Running {
    stack: Stack,
    server: Option<Server>,
    registry: Option<Registry>,
    provider: Option<Provider>,
}

impl Running {
    async fn start(args: Args) -> Result<Self, Failure> {
        let gateway = claim(args.port, "--port")?;
        if let Some(path) = &args.envoy {
            check_envoy(path).await?;
        }
        let own = args.routes.as_deref();
        let own = own.map(|file| Routes::read(file, &local_origins(args.port, &args.origin))).transpose()?;
        let (mut provider, mut registry) = (None, None);
        if args.login {
            hints::say("starting the OpenID provider");
            provider = Some(login::start(&args).await?);
        }
        if args.schemas {
            hints::say("starting the schema registry");
            registry = Some(Registry::start().await?);
        }
        let (bridge, source, server) = match (args.config, args.bootstrap_servers) {
            (Some(path), _) => {
                // Read only once: it may be a pipe.
                let text =
                    fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
                let Some(system) = system_of(&text) else {
                    let path = path.display();
                    return Err(format!(
                        "cluster `default` of {path} is missing: expected [clusters.default]"
                    )
                    .into());
                };
                (BridgeConfig::Text(text), Source::Config(system, path), None)
            }
            (None, Some(servers)) => {
                let bridge = BridgeConfig::Cluster { bootstrap: servers.clone(), settings: String::new() };
                (bridge, Source::Servers(servers), None)
            }
            (None, None) => {
                let system = if args.nats { System::Nats } else { System::Kafka };
                hints::say(&format!("starting {}", system.name()));
                let users = if args.login { login::topics() } else { Vec::new() };
                let mut orders = None;
                if let Some(registry) = &registry {
                    orders = Some(Orders::new(registry).await?);
                }
                let topics = args.topic.into_iter().chain(users).collect();
                let server = Server::start(system, &topics, orders).await?;
                let identity = provider.as_ref().map(login::bridge_config).unwrap_or_default();
                let config = identity + &server.bridge_config();
                (BridgeConfig::Text(config), server.source(), Some(server))
            }
        };

        hints::say("starting the bridge and Envoy");
        let secret = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().replace('-', "");
        let (pages, routes) = match (&provider, source.system()) {
            (Some(provider), _) => (login_page(args.port, &provider.issuer()), LOGIN_ROUTES),
            (None, System::Kafka) => (page(LIVE_PAGE, args.port), DEMO_ROUTES),
            (None, System::Nats) => (page(NATS_PAGE, args.port), NATS_ROUTES),
        };
        let mut envoy_edits = pages?.to_vec();
        let keys = format!("\"gateway_secret\": \"{secret}\",");
        match &own {
            Some(own) => envoy_edits.extend(own.edits(&keys, args.profile)),
            None => {
                let routes = guarded(&routes, args.port, &args.origin);
                let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
                envoy_edits.push(instead(&keys, &routes));
            }
        }
        let setup = Setup {
            bridge,
            // Overrides a secret in the user's configuration: both sides use this run's.
            bridge_environment: vec![("SLUICEGATE_GATEWAY_SECRET".to_owned(), secret)],
            envoy_edits,
            gateway: Some(gateway),
            envoy: args.envoy,
            ..Setup::new(args.profile, String::new())
        };
        let stack = Stack::start(setup).await.map_err(|error| match (error, &source) {
            // The bridge saw a copy of the file.
            (StackError::Configuration(problems), Source::Config(_, path)) => {
                format!("cannot use {}: {problems}", path.display()).into()
            }
            (error, _) => Failure::from(error),
        })?;
        let mut running = Self { stack, server, registry, provider };
        hints::say("waiting until a fetch works");
        running.ready(&source).await?;
        let Self { stack, registry, provider, .. } = &running;
        match (&own, provider) {
            (Some(own), _) => {
                if let Some(route) = own.pubsub().find(|route| !route.needs_identity) {
                    login::answers(&route.url(&stack.gateway()), None).await?;
                }
            }
            (None, Some(provider)) => login::admits_users(&stack.url(), provider).await?,
            (None, None) => login::answers(&stack.url(), None).await?,
        }
        hints::print(stack, &source, registry.as_ref(), provider.as_ref(), own.as_ref(), &tools::cli()?);
        Ok(running)
    }

    /// Waits until a fetch through the gateway works.
    async fn ready(&mut self, source: &Source) -> Result<(), Failure> {
        match self.stack.ready_within(READY_WITHIN).await {
            Err(StackError::Late { within, detail, .. }) => {
                let log = fs::read_to_string(self.stack.bridge.process.log()).unwrap_or_default();
                let cause = last_cause(&log).map(|cause| format!(": {cause}")).unwrap_or_default();
                Err(format!("{source} cannot be read after {} s{detail}{cause}", within.as_secs()).into())
            }
            result => Ok(result?),
        }
    }

    /// Waits until a part ends unexpectedly.
    async fn watch(&mut self) -> Failure {
        let Self { stack, server, registry, provider } = self;
        let server = async {
            match server {
                Some(server) => server.run().await,
                None => pending().await,
            }
        };
        tokio::select! {
            error = watch(registry.as_mut().map(|registry| &mut registry.process)) => error.into(),
            error = stack.watch() => error.into(),
            failure = server => failure,
            error = watch(provider.as_mut().map(|provider| &mut provider.process)) => error.into(),
        }
    }

    async fn stop(mut self) {
        self.stack.stop(STOP_WITHIN).await;
        if let Some(Provider { process, .. }) = &mut self.provider {
            process.terminate();
            let _ = process.wait(STOP_WITHIN).await;
        }
    }
}

/// Checks by its `--version` that the user's program is an Envoy.
async fn check_envoy(path: &Path) -> Result<(), Failure> {
    let mut version = Command::new(path);
    version.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    match timeout(STOP_WITHIN, version.output()).await {
        Ok(Err(error)) => Err(format!("cannot run {}: {error}", path.display()).into()),
        Ok(Ok(said)) if String::from_utf8_lossy(&said.stdout).contains(" version: ") => Ok(()),
        Ok(Ok(_)) | Err(_) => {
            Err(format!("{} does not answer --version as Envoy does", path.display()).into())
        }
    }
}

/// The last `cause` in the bridge's log, such as that of `cluster_unavailable`.
fn last_cause(log: &str) -> Option<String> {
    let (_, quoted) = log.rsplit_once(" cause=\"")?;
    let (cause, _) = quoted.lines().next()?.split_once("\" ")?;
    Some(cause.replace("\\\"", "\""))
}

/// Completes on the first SIGINT, SIGTERM or SIGHUP.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

const READY_WITHIN: Duration = Duration::from_secs(10);
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// As [`DEMO_ROUTES`], for users who log in: each has a topic of their own.
const LOGIN_ROUTES: [&str; 4] = [
    concat!(
        r#"{"path": "/pubsub", "cluster": "default", "identity": {"from": "token", "name": "demo"}, "#,
        r#""read": ["demo", "orders.${sub}"], "write": ["orders.${sub}"]}"#
    ),
    concat!(
        r#"{"path": "/produce", "type": "produce", "identity": {"from": "token", "name": "demo"}, "#,
        r#""topics": ["orders.${sub}"], "headerprefix": "x-kafka-", "overrides": ["topic", "partition", "key"], "#,
        r#""recordheaderprefix": "x-kafka-header-"}"#
    ),
    concat!(
        r#"{"path": "/kafka", "type": "rest", "identity": {"from": "token", "name": "demo"}, "#,
        r#""read": ["demo", "orders.${sub}"], "write": ["orders.${sub}"]}"#
    ),
    concat!(
        r#"{"path": "/streams", "type": "streams", "identity": {"from": "token", "name": "demo"}, "#,
        r#""read": ["demo", "orders.${sub}"], "write": ["orders.${sub}"]}"#
    ),
];

/// As [`DEMO_ROUTES`], in terms of NATS.
const NATS_ROUTES: [&str; 4] = [
    r#"{"path": "/pubsub", "cluster": "default", "write": true, "tables": ["*"]}"#,
    concat!(
        r#"{"path": "/produce", "type": "produce", "topic": "demo", "key": "demo.mine", "headerprefix": "x-nats-", "#,
        r#""overrides": ["topic", "key"], "recordheaderprefix": "x-nats-header-"}"#
    ),
    r#"{"path": "/nats", "type": "rest", "write": true, "tables": ["*"]}"#,
    r#"{"path": "/streams", "type": "streams", "write": true}"#,
];

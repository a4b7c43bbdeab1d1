//! The program itself: exit codes, output, log and signals.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sluicegate_stack::nats::Nats;
use sluicegate_stack::port::Port;
use sluicegate_stack::raw::Raw;
use sluicegate_stack::waiting::until;
use sluicegate_stack::{http as plain, tools};
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::http::{rest, send};
use crate::support::{Endpoint, Gateway, close};

const MINIMAL: &str = r#"
    listen = "127.0.0.1:0"
    admin_listen = "127.0.0.1:0"
    [clusters.default]
    bootstrap.servers = "127.0.0.1:1"
"#;
/// A cluster without brokers.
const DEAD_CLUSTER: &str = "[clusters.default]\nbootstrap.servers = \"127.0.0.1:1\"\n";

fn bridge(config: &NamedTempFile) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate-bridge"));
    // Variables of the tests are not keys.
    tools::VARIABLES.into_iter().for_each(|variable| _ = command.env_remove(variable));
    command
        .arg("--config")
        .arg(config.path())
        .kill_on_drop(true)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A bridge that runs: where gateways connect, and its admin port.
async fn started(command: &mut Command) -> (Child, [String; 2]) {
    let addresses = [(); 2].map(|()| Port::pick().unwrap().address().to_string());
    let [grpc, admin] = &addresses;
    let child = command.env("SLUICEGATE_LISTEN", grpc).env("SLUICEGATE_ADMIN_LISTEN", admin).spawn().unwrap();
    for address in &addresses {
        let connect = async || TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string());
        until("the bridge listens", Duration::from_secs(10), connect).await;
    }
    (child, addresses)
}

/// The log of a bridge that has ended.
async fn log(child: &mut Child) -> String {
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
    log
}

async fn signal(child: &Child, name: &str) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
}

#[tokio::test]
async fn bad_configuration_names_every_problem_and_exits_with_2() {
    let config = file("listen = 1\ncolour = 2\n");
    let variables = [("SLUICEGATE_READ__WAIT_MS", "soon"), ("RUST_LOG", "info=loud")];
    for check in [&[][..], &["--check"]] {
        let output = bridge(&config).args(check).envs(variables).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8(output.stderr).unwrap();
        let path = format!("{}: ", config.path().display());
        let keys: Vec<&str> =
            stderr.lines().filter_map(|line| line.trim_start_matches(&path).split(':').next()).collect();
        assert_eq!(
            keys,
            ["listen", "SLUICEGATE_READ__WAIT_MS", "clusters", "colour", "RUST_LOG"],
            "{stderr}"
        );
        let in_file: Vec<bool> = stderr.lines().map(|line| line.starts_with(&path)).collect();
        assert_eq!(in_file, [true, false, true, true, false], "{stderr}");
    }
}

#[tokio::test]
async fn missing_file_is_named() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate-bridge"));
    let output = command.args(["--config", "/nowhere/bridge.toml"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("/nowhere/bridge.toml: No such file"), "{stderr}");
}

#[tokio::test]
async fn check_starts_nothing() {
    let config = file(MINIMAL);
    let output = bridge(&config).arg("--check").output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}

#[tokio::test]
async fn address_in_use_exits_with_1() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = file(&MINIMAL.replacen("127.0.0.1:0", &taken.local_addr().unwrap().to_string(), 1));
    let output = bridge(&config).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(&format!("failed to bind {}: ", taken.local_addr().unwrap())), "{stderr}");
}

#[tokio::test]
async fn signal_exits_with_0() {
    for signal in ["TERM", "INT"] {
        let config = file(MINIMAL);
        let (mut child, addresses) = started(&mut bridge(&config)).await;
        for address in addresses {
            TcpStream::connect(address).await.unwrap();
        }
        let asked = Instant::now();
        self::signal(&child, signal).await;
        assert_eq!(child.wait().await.unwrap().code(), Some(0), "{signal}");
        assert!(asked.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn unwritable_log_harms_no_session() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let config = file(MINIMAL);
    for (format, stderr) in [("text", Stdio::piped()), ("text", full()), ("json", full())] {
        let mut command = bridge(&config);
        command.env("SLUICEGATE_LOG_FORMAT", format).env("RUST_LOG", "trace").stderr(stderr);
        let (mut child, [grpc, _]) = started(&mut command).await;
        // The reader of the log's pipe exits.
        drop(child.stderr.take());
        let gateway = Gateway::over(TcpStream::connect(grpc).await.unwrap()).await;
        let mut session = gateway.open(Endpoint::Connect, &[]).await.unwrap();
        signal(&child, "TERM").await;
        assert_eq!(session.next().await, Some(close(1001, "going away")));
        assert_eq!(session.next().await, None);
        drop((session, gateway));
        assert_eq!(child.wait().await.unwrap().code(), Some(0));
    }
}

#[tokio::test]
async fn file_descriptors_are_raised_and_few_are_warned_of() {
    for (limit, opens, warns) in [("ulimit -Sn 100", 110, false), ("ulimit -n 100", 20, true)] {
        let config = file(&format!("{MINIMAL}[limits]\nmax_sessions = 150\nmax_connections = 50\n"));
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{limit}; exec \"$0\" --config \"$1\"")])
            .arg(env!("CARGO_BIN_EXE_sluicegate-bridge"))
            .arg(config.path())
            .kill_on_drop(true)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (mut child, [address, _]) = started(&mut command).await;
        let mut clients = Vec::new();
        for _ in 0..opens {
            clients.push(Raw::open(address.parse().unwrap()).await);
        }
        signal(&child, "TERM").await;
        for mut client in clients {
            assert_eq!(client.closed().await, (1001, "going away".into()));
        }
        let log = log(&mut child).await;
        assert_eq!(log.contains("raise the limit (ulimit -n) given=100 needed=200"), warns, "{log}");
        assert_eq!(child.wait().await.unwrap().code(), Some(0));
    }
}

#[tokio::test]
async fn refused_gateway_is_logged_once_in_a_while() {
    let config = file(&format!("gateway_secret = \"correct-horse-battery-staple\"\n{MINIMAL}"));
    let (mut child, [address, _]) = started(bridge(&config).env("RUST_LOG", "info")).await;
    let gateway = Gateway::over(TcpStream::connect(address).await.unwrap()).await;
    for _ in 0..3 {
        assert_eq!(send(&gateway, rest("GET", "/topics")).await.status, 502);
    }
    drop(gateway);
    signal(&child, "TERM").await;
    let log = log(&mut child).await;
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("request_refused")).collect();
    let [warning] = warnings[..] else { panic!("{log}") };
    assert!(
        warning.contains("WARN")
            && warning.contains("request refused: header sluicegate-gateway-secret is missing"),
        "{log}"
    );
}

#[tokio::test]
async fn unknown_property_is_named() {
    let config = file(&format!("{MINIMAL}acks = \"all\"\n"));
    let output = bridge(&config).arg("--check").output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    let config = file(&format!("{MINIMAL}acks = \"all\"\nsocket.timout.ms = 1\n"));
    let output = bridge(&config).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let want = format!(
        "{}: clusters.default.socket.timout.ms: is not a librdkafka property, did you mean `socket.timeout.ms`?\n",
        config.path().display()
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), want);
}

#[tokio::test]
async fn log_outside_a_terminal_has_no_colours() {
    let config = file(MINIMAL);
    let (mut child, _) = started(bridge(&config).env("RUST_LOG", "info")).await;
    signal(&child, "TERM").await;
    let log = log(&mut child).await;
    assert!(log.contains("INFO") && log.contains("draining") && !log.contains('\u{1b}'), "{log:?}");
}

#[tokio::test]
async fn each_line_of_a_json_log_is_an_object_with_an_event() {
    // Nothing listens at the broker of the configuration.
    let config = file(MINIMAL);
    let mut command = bridge(&config);
    let (mut child, [address, _]) =
        started(command.env("SLUICEGATE_LOG_FORMAT", "json").env("RUST_LOG", "sluicegate=debug")).await;
    let gateway = Gateway::over(TcpStream::connect(&address).await.unwrap()).await;
    let response = send(&gateway, rest("GET", "/topics")).await;
    let problem: serde_json::Value = serde_json::from_str(response.text()).unwrap();
    drop(gateway);
    signal(&child, "TERM").await;
    let log = log(&mut child).await;
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_whole = |line: &serde_json::Value| {
        ["timestamp", "level", "message", "event", "target"].iter().all(|member| line[member].is_string())
    };
    assert!(lines.iter().all(is_whole), "{log}");
    let named = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    assert_eq!((named("listening").len(), named("draining").len()), (1, 1), "{log}");
    // Identifiers join the client's error and the log.
    let (failed, unavailable) = (named("command_failed"), named("cluster_unavailable"));
    assert_eq!(failed[0]["trace_id"], problem["trace_id"], "{log}");
    let reference = unavailable[0]["reference"].as_str().unwrap();
    assert!(problem["detail"].as_str().unwrap().contains(&format!("(reference {reference})")), "{problem}");
    for line in [failed[0], unavailable[0]] {
        assert_eq!((&line["cluster"], &line["level"]), (&"default".into(), &"WARN".into()));
    }
}

#[tokio::test]
async fn dead_brokers_are_named_once_in_the_log_of_the_start() {
    let nats =
        "[clusters.events]\nkind = \"nats\"\nservers = \"nats://127.0.0.1:1\"\nrequest.timeout.ms = 100\n";
    let config = file(&format!("{MINIMAL}{nats}"));
    let (mut child, [_, admin]) = started(bridge(&config).env("SLUICEGATE_LOG_FORMAT", "json")).await;
    // Its connection is tried again and again.
    let tried = async || {
        let metrics = plain::get(admin.parse().unwrap(), "/metrics").await?.body;
        let count = "sluicegate_nats_connections_total{cluster=\"events\",outcome=\"failed\"} ";
        let count = metrics.split(count).nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
        count.parse().ok().filter(|count: &u32| *count > 3).map(drop).ok_or_else(|| count.to_owned())
    };
    until("several attempts to connect", Duration::from_secs(20), tried).await;
    signal(&child, "TERM").await;
    let log = log(&mut child).await;
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let unavailable = |line: &&serde_json::Value| line["event"] == "cluster_unavailable";
    for cluster in ["default", "events"] {
        let named: Vec<_> =
            lines.iter().filter(unavailable).filter(|line| line["cluster"] == cluster).collect();
        let [line] = named[..] else { panic!("{log}") };
        assert_eq!(line["level"], "WARN");
        assert!(line["cause"].as_str().unwrap().contains("refused"), "{line}");
    }
    let others = lines.iter().filter(|line| line["level"] != "INFO").count();
    assert_eq!(others, 3, "a line for the broker too: {log}");
}

#[tokio::test]
async fn check_connects_to_every_cluster() {
    let server = Nats::jetstream("authorization: { token: \"right\" }").await.unwrap();
    let nats = |name: &str, token: &str| {
        let keys = "kind = \"nats\"\nrequest.timeout.ms = 5000";
        format!("[clusters.{name}]\n{keys}\nservers = \"nats://{}\"\ntoken = {token:?}\n", server.client())
    };
    let [alive, wrong] = [("alive", "right"), ("locked", "wrong")].map(|(name, token)| nats(name, token));
    let checked = async |text: &str| {
        let config = file(text);
        let output = bridge(&config).args(["--check", "--connect"]).output().await.unwrap();
        let path = format!("{}: ", config.path().display());
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), stdout, stderr.replace(&path, ""))
    };
    let connected = "clusters.alive: connected to nats-server 2.";
    let (code, stdout, stderr) = checked(&alive).await;
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert!(stdout.starts_with(connected) && stdout.ends_with(" with JetStream\n"), "{stdout}");
    let (code, stdout, stderr) = checked(&format!("{alive}{wrong}{DEAD_CLUSTER}")).await;
    assert_eq!(code, Some(1));
    assert!(stdout.starts_with(connected) && stdout.lines().count() == 1, "{stdout}");
    let lines: Vec<&str> = stderr.lines().collect();
    let [dead, locked] = lines[..] else { panic!("{stderr}") };
    assert!(dead.starts_with(
        "clusters.default.bootstrap.servers: no broker of 127.0.0.1:1 could be reached: cannot connect"
    ));
    assert!(locked.starts_with("clusters.locked.token: ") && !locked.contains("wrong"), "{locked}");
}

#[tokio::test]
async fn check_names_ignored_variables() {
    let config = file(MINIMAL);
    let output =
        bridge(&config).arg("--check").env("SLUICEGATE_LISTN", "127.0.0.1:1").output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    let want =
        "SLUICEGATE_LISTN (did you mean SLUICEGATE_LISTEN?): is not a key of this configuration, ignored\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), want);
}

#[tokio::test]
async fn running_program_writes_nothing_to_standard_output() {
    let config = file(MINIMAL);
    let (mut child, [grpc, admin]) = started(bridge(&config).env("RUST_LOG", "info")).await;
    signal(&child, "TERM").await;
    let log = log(&mut child).await;
    assert!(log.contains(&format!("listening address={grpc} admin={admin}")), "{log}");
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).await.unwrap();
    assert_eq!(stdout, "");
}

#[tokio::test]
async fn failed_start_is_a_line_of_a_json_log() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = file(&MINIMAL.replacen("127.0.0.1:0", &taken.local_addr().unwrap().to_string(), 1));
    let output = bridge(&config).env("SLUICEGATE_LOG_FORMAT", "json").output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(line["event"], "stopped");
    assert!(line["message"].as_str().unwrap().starts_with("failed to bind "), "{line}");
}

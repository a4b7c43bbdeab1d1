//! The program itself: exit codes, output, log and signals.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluicegate_protocol::metadata::{ACCESS, TOKEN};
use sluicegate_stack::nats::Nats;
use sluicegate_stack::port::Port;
use sluicegate_stack::raw::Raw;
use sluicegate_stack::waiting::until;
use sluicegate_stack::{http as plain, tools};
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::http::{rest, send};
use crate::support::{Endpoint, Gateway, SECRET, close, upgrade, with};

const MINIMAL: &str = r#"
    listen = "127.0.0.1:0"
    admin_listen = "127.0.0.1:0"
    [clusters.default]
    bootstrap.servers = "127.0.0.1:1"
"#;

pub(crate) fn bridge(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate-bridge"));
    // Variables of the tests are not keys.
    tools::VARIABLES.into_iter().for_each(|variable| _ = command.env_remove(variable));
    command.arg("--config").arg(config).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A server that answers each connection with these bytes.
async fn answering(answer: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read(&mut [0; 4096]).await;
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// Runs the program to its end: its exit code, output and errors. Its file is called FILE there.
async fn run(text: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let config = file(text);
    let mut command = bridge(config.path());
    let output = command.args(arguments).envs(variables.iter().copied()).output().await.unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code(), stdout, stderr.replace(config.path().to_str().unwrap(), "FILE"))
}

/// The program while it runs.
pub(crate) struct Program {
    child: Child,
    log: Option<BufReader<ChildStderr>>,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Program {
    pub(crate) async fn start(command: &mut Command) -> Self {
        let [address, admin] = [(); 2].map(|()| Port::pick().unwrap().address());
        let variables = [("SLUICEGATE_LISTEN", address), ("SLUICEGATE_ADMIN_LISTEN", admin)];
        command.envs(variables.map(|(name, address)| (name, address.to_string())));
        let mut child = command.spawn().unwrap();
        for address in [address, admin] {
            let connect =
                async || TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string());
            until("the bridge listens", Duration::from_secs(10), connect).await;
        }
        let log = child.stderr.take().map(BufReader::new);
        Self { child, log, address, admin }
    }

    pub(crate) async fn gateway(&self) -> Gateway {
        Gateway::over(TcpStream::connect(self.address).await.unwrap()).await
    }

    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
    }

    /// Waits for the next line of the log with this text.
    pub(crate) async fn logs(&mut self, text: &str) -> String {
        let log = self.log.as_mut().unwrap();
        let line = async {
            let mut line = String::new();
            while !line.contains(text) {
                line.clear();
                assert!(log.read_line(&mut line).await.unwrap() > 0, "no line with {text:?}");
            }
            line
        };
        timeout(Duration::from_secs(30), line).await.unwrap_or_else(|_| panic!("no {text:?}"))
    }

    /// Ends it; the rest of its log.
    async fn end(mut self, signal: &str) -> String {
        self.signal(signal).await;
        let mut log = String::new();
        if let Some(mut rest) = self.log.take() {
            rest.read_to_string(&mut log).await.unwrap();
        }
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).await.unwrap();
        assert_eq!((self.child.wait().await.unwrap().code(), &*stdout), (Some(0), ""), "{signal} {log}");
        log
    }
}

fn objects(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn bad_configuration_names_every_problem_and_exits_with_2() {
    let variables = [("SLUICEGATE_READ__WAIT_MS", "soon"), ("RUST_LOG", "debg")];
    for check in [&[][..], &["--check"]] {
        let (code, stdout, stderr) = run("listen = 1\ncolour = 2\n", check, &variables).await;
        assert_eq!((code, &*stdout), (Some(2), ""));
        let places = ["FILE: listen: ", "SLUICEGATE_READ__WAIT_MS: ", "FILE: clusters: ", "FILE: colour: "];
        assert!(stderr.lines().zip(places).all(|(line, place)| line.starts_with(place)), "{stderr}");
        let last = stderr.lines().last().unwrap();
        assert!(last.starts_with("RUST_LOG: ") && stderr.lines().count() == 5, "{stderr}");
    }
    let output = bridge(Path::new("/nowhere/bridge.toml")).output().await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("/nowhere/bridge.toml: No such file"), "{stderr}");
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn check_starts_nothing_and_names_ignored_variables() {
    let variable = ("SLUICEGATE_LISTN", "127.0.0.1:1");
    let ignored =
        "SLUICEGATE_LISTN (did you mean SLUICEGATE_LISTEN?): is not a key of this configuration, ignored\n";
    for (variables, want) in [(&[][..], ""), (&[variable], ignored)] {
        let checked = run(MINIMAL, &["--check"], variables).await;
        assert_eq!(checked, (Some(0), String::new(), want.to_owned()));
    }
}

#[tokio::test]
async fn failed_start_exits_with_1_and_is_logged() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = MINIMAL.replacen("127.0.0.1:0", &address, 1);
    let failed = format!("failed to bind {address} (listen): ");
    let (code, _, stderr) = run(&text, &[], &[]).await;
    assert!(code == Some(1) && stderr.contains(&failed), "{stderr}");
    let (code, _, stderr) = run(&text, &[], &[("SLUICEGATE_LOG_FORMAT", "json")]).await;
    let [line] = &objects(&stderr)[..] else { panic!("{stderr}") };
    assert_eq!((code, &line["event"]), (Some(1), &"stopped".into()));
    assert!(line["message"].as_str().unwrap().starts_with(&failed), "{line}");
    let admin = [("SLUICEGATE_ADMIN_LISTEN", &*address)];
    let (code, _, stderr) = run(MINIMAL, &[], &admin).await;
    let failed = format!("failed to bind {address} (admin_listen): ");
    assert!(code == Some(1) && stderr.contains(&failed), "{stderr}");
}

/// Nor does it write to standard output.
#[tokio::test]
async fn signal_exits_with_0_and_the_log_has_no_colours() {
    for signal in ["TERM", "INT"] {
        let config = file(MINIMAL);
        let program = Program::start(bridge(config.path()).env("RUST_LOG", "info")).await;
        let (address, admin) = (program.address, program.admin);
        let _open = (TcpStream::connect(address).await.unwrap(), TcpStream::connect(admin).await.unwrap());
        let asked = Instant::now();
        let log = program.end(signal).await;
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert!(log.contains(&format!("listening address={address} admin={admin}")), "{log}");
        assert!(log.contains("INFO") && log.contains("draining") && !log.contains('\u{1b}'), "{log:?}");
    }
}

#[tokio::test]
async fn unwritable_log_harms_no_session() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let config = file(MINIMAL);
    for (format, stderr) in [("text", Stdio::piped()), ("text", full()), ("json", full())] {
        let mut command = bridge(config.path());
        command.env("SLUICEGATE_LOG_FORMAT", format).env("RUST_LOG", "trace").stderr(stderr);
        let mut program = Program::start(&mut command).await;
        // The reader of the log's pipe exits.
        program.log = None;
        let gateway = program.gateway().await;
        let mut session = gateway.open(Endpoint::Connect, &[]).await.unwrap();
        let closed = async {
            assert_eq!(session.next().await, Some(close(1001, "going away")));
            assert_eq!(session.next().await, None);
            drop((session, gateway));
        };
        tokio::join!(program.end("TERM"), closed);
    }
}

#[tokio::test]
async fn clients_are_served_again_once_the_audit_log_has_room() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    symlink("/dev/full", &path).unwrap();
    let audit = format!("audit.file = {path:?}\naudit.on_full = \"refuse\"");
    let config = file(&format!("{audit}\ngateway_secret = {:?}\n{MINIMAL}", SECRET.1));
    let mut program = Program::start(bridge(config.path()).env("RUST_LOG", "info")).await;
    let gateway = program.gateway().await;
    // Its line is the first one.
    assert!(gateway.open(Endpoint::Connect, &[SECRET]).await.is_err());
    program.logs("audit_failed").await;
    let refused = async || {
        let answer = send(&gateway, with(rest("GET", "/topics"), &[SECRET])).await;
        answer.text().contains("the audit log cannot be written, try again")
    };
    assert!(refused().await);
    std::fs::remove_file(&path).unwrap();
    program.signal("HUP").await;
    let served = async || if refused().await { Err("refused".to_owned()) } else { Ok(()) };
    until("clients are served", Duration::from_secs(10), served).await;
    program.logs("audit_recovered").await;
}

#[tokio::test]
async fn file_descriptors_are_raised_and_few_are_warned_of() {
    for (limit, opens, warns) in [("ulimit -Sn 100", 110, false), ("ulimit -n 100", 20, true)] {
        let config = file(&format!("{MINIMAL}[limits]\nmax_sessions = 150\nmax_connections = 50\n"));
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limit}; exec \"$0\" --config \"$1\"")]);
        command.arg(env!("CARGO_BIN_EXE_sluicegate-bridge")).arg(config.path());
        command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = Program::start(&mut command).await;
        let mut clients = Vec::new();
        for _ in 0..opens {
            clients.push(Raw::open(program.address).await);
        }
        let closed = async {
            for mut client in clients {
                assert_eq!(client.closed().await, (1001, "going away".into()));
            }
        };
        let (log, ()) = tokio::join!(program.end("TERM"), closed);
        assert_eq!(log.contains("raise the limit (ulimit -n) given=100 needed=200"), warns, "{log}");
    }
}

#[tokio::test]
async fn refusals_are_logged_once_in_a_while_with_their_cause() {
    let issuer = "issuer = \"i\", audience = [\"app\"], secret = \"0123456789abcdef0123456789abcdef\"";
    let text = format!("identity.main = {{ {issuer} }}\ngateway_secret = {:?}\n{MINIMAL}", SECRET.1);
    let config = file(&text);
    let program = Program::start(bridge(config.path()).env("RUST_LOG", "info")).await;
    let headers =
        [SECRET, (ACCESS, r#"{"identity":{"token":"main"},"read":[]}"#), (TOKEN, "not-a.real.token")];
    let gateway = program.gateway().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        assert_eq!(send(&gateway, rest("GET", "/topics")).await.status, 502);
        let upgraded = Raw::connect(program.address).await.ask(&upgrade(&headers).bytes()).await;
        let asked = send(&gateway, with(rest("GET", "/topics"), &headers)).await;
        for response in [upgraded, asked] {
            let problem: Value = serde_json::from_str(response.text()).unwrap();
            assert_eq!((response.status, &problem["status"]), (401, &401.into()), "{problem}");
            ids.push(problem["trace_id"].as_str().expect("a trace id").to_owned());
        }
    }
    drop(gateway);
    let log = program.end("TERM").await;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("request_refused")).collect();
    let [warning, line] = lines[..] else { panic!("{log}") };
    let missing = "request refused: header sluicegate-gateway-secret is missing";
    assert!(warning.contains("WARN") && warning.contains(missing), "{log}");
    let cause = "request refused: the token is not a signed JSON Web Token";
    assert!(line.contains("INFO") && line.contains(cause) && line.contains(&ids[0]), "{log}");
    assert!(!log.contains("not-a.real"), "{log}");
}

#[tokio::test]
async fn each_line_of_a_json_log_is_an_object_with_an_event() {
    // Nothing listens at the broker of the configuration.
    let config = file(MINIMAL);
    let mut command = bridge(config.path());
    command.env("SLUICEGATE_LOG_FORMAT", "json").env("RUST_LOG", "sluicegate=debug");
    let program = Program::start(&mut command).await;
    let gateway = program.gateway().await;
    let response = send(&gateway, rest("GET", "/topics")).await;
    let problem: Value = serde_json::from_str(response.text()).unwrap();
    drop(gateway);
    let log = program.end("TERM").await;
    let lines = objects(&log);
    let members = ["timestamp", "level", "message", "event", "target"];
    assert!(lines.iter().all(|line| members.iter().all(|member| line[member].is_string())), "{log}");
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
    let program = Program::start(bridge(config.path()).env("SLUICEGATE_LOG_FORMAT", "json")).await;
    // Its connection is tried again and again.
    let tried = async || {
        let answer = plain::get(program.admin, "/metrics").await?;
        let count = "sluicegate_nats_connections_total{cluster=\"events\",outcome=\"failed\"} ";
        let count =
            answer.text().split(count).nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
        count.parse().ok().filter(|count: &u32| *count > 3).map(drop).ok_or_else(|| count.to_owned())
    };
    until("several attempts to connect", Duration::from_secs(20), tried).await;
    let log = program.end("TERM").await;
    let lines = objects(&log);
    for cluster in ["default", "events"] {
        let is_it = |line: &&Value| line["event"] == "cluster_unavailable" && line["cluster"] == cluster;
        let named: Vec<_> = lines.iter().filter(is_it).collect();
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
    let connected = "clusters.alive: connected to nats-server 2.";
    let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="},{"kid":"weak","kty":"RSA","e":"AQAB"}]}"#;
    let keys = answering(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len())).await;
    let issuer = |name: &str, url: &str| {
        format!("[identity.{name}]\nissuer = \"i\"\naudience = [\"a\"]\njwks_url = \"{url}\"\n")
    };
    let registry = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]".to_owned()).await;
    let schemas =
        |url: &str| format!("[schemas.main]\nurl = \"{url}\"\nusername = \"bridge\"\npassword = \"wrong\"\n");
    let keyed = format!(
        "{alive}{}{}",
        issuer("main", &format!("http://{keys}/keys")),
        schemas(&format!("http://{registry}/ccompat"))
    );
    let (code, stdout, stderr) = run(&keyed, &["--check", "--connect"], &[]).await;
    assert_eq!((code, &*stderr), (Some(0), ""));
    let lines: Vec<&str> = stdout.lines().collect();
    let [cluster, registered, found] = lines[..] else { panic!("{stdout}") };
    assert!(cluster.starts_with(connected) && cluster.ends_with(" with JetStream"), "{cluster}");
    assert_eq!(registered, format!("schemas.main: connected to {registry}/ccompat"));
    assert_eq!(found, r#"identity.main.jwks_url: usable keys: 1; skipped key "weak": n: is missing"#);
    let plain = issuer("main", &format!("https://{keys}/keys"));
    let schemas = schemas(&format!("http://{keys}"));
    let dead = format!("[clusters.default]\nbootstrap.servers = \"127.0.0.1:1\"\n{schemas}{plain}");
    let (code, stdout, stderr) = run(&format!("{alive}{wrong}{dead}"), &["--check", "--connect"], &[]).await;
    assert_eq!(code, Some(1));
    assert!(stdout.starts_with(connected) && stdout.lines().count() == 1, "{stdout}");
    let lines: Vec<&str> = stderr.lines().collect();
    let [dead, locked, other, plain] = lines[..] else { panic!("{stderr}") };
    let problem = "answered with something other than TLS: expected a TLS listener";
    assert!(plain.starts_with(&format!("FILE: identity.main.jwks_url: {problem}")), "{plain}");
    let unreachable = "no broker of 127.0.0.1:1 could be reached: cannot connect";
    assert!(dead.starts_with(&format!("FILE: clusters.default.bootstrap.servers: {unreachable}")), "{dead}");
    let problem = "is not a schema registry: expected a list of subjects";
    assert_eq!(other, format!("FILE: schemas.main: {keys}/ {problem}"));
    assert!(locked.starts_with("FILE: clusters.locked.token: ") && !locked.contains("wrong"), "{locked}");
}

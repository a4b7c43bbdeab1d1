//! The demo, from its user's point of view.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use sluicegate_stack::browser;
use sluicegate_stack::envoy::local_hosts;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http;
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Nats;
use sluicegate_stack::port::Port;
use sluicegate_stack::process::Process;
use sluicegate_stack::raw::{Raw, Upgrade};
use sluicegate_stack::tools;
use sluicegate_stack::waiting::becomes;

/// The variable by which a demo's processes are known.
const MARK: &str = "DEMO_OF";
const START: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(20);

/// Starts a demo. Its processes have the log's folder in [`MARK`].
fn start(log: &Path, args: &[&str]) -> Process {
    LazyLock::force(&EARLIER);
    let mut command = Command::new(tools::demo().unwrap());
    command.args(args).env(MARK, log.parent().unwrap());
    Process::spawn("the demo", command, log).unwrap()
}

/// A demo that is ready, and its gateway.
pub(crate) async fn ready(folder: &Folder, args: &[&str]) -> (Process, SocketAddr) {
    // Given back at once: the demo claims its port itself.
    let gateway = Port::pick().unwrap().address();
    let port = gateway.port().to_string();
    let mut demo = start(&folder.path().join("demo.log"), &[&["--port", &port], args].concat());
    says(&mut demo, "Ctrl-C stops everything", START).await;
    (demo, gateway)
}

pub(crate) async fn says(process: &mut Process, text: &str, within: Duration) {
    let log = process.log().to_owned();
    let said = async || match fs::read_to_string(&log).unwrap() {
        log if log.contains(text) => Ok(()),
        log => Err(format!("{text:?} is not in\n{log}")),
    };
    process.until("say it", within, said).await.unwrap();
}

/// The commands that the demo tells its user to try.
fn commands(demo: &Process) -> Vec<String> {
    let log = fs::read_to_string(demo.log()).unwrap();
    let (_, tries) = log.split_once("Try in another terminal:").unwrap();
    let lines: Vec<&str> = tries.lines().map(str::trim).collect();
    lines.windows(2).filter(|pair| pair[0].starts_with('#')).map(|pair| pair[1].to_owned()).collect()
}

/// The processes that this one started, while it runs.
fn children(process: &Process) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
    let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap());
    children
        .flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// The processes that a demo with its log in this folder has started, and their children.
fn run_in(folder: &Path) -> Vec<String> {
    let mark = format!("{MARK}={}\0", folder.display()).into_bytes();
    let marked = |id: &String| {
        fs::read(format!("/proc/{id}/environ"))
            .is_ok_and(|environment| environment.windows(mark.len()).any(|part| part == mark))
    };
    let all = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    all.filter(marked).collect()
}

/// The folders of the stacks that this process has made.
fn stacks_of(id: u32) -> Vec<PathBuf> {
    let own = format!("-{id}-");
    let is_own = |path: &PathBuf| path.to_string_lossy().contains(&own) && !EARLIER.contains(path);
    stacks().into_iter().filter(is_own).collect()
}

fn stacks() -> Vec<PathBuf> {
    let folder = tools::target_dir().unwrap().join("stacks");
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// Kept by failed tests before, whose process ids can come again.
static EARLIER: LazyLock<Vec<PathBuf>> = LazyLock::new(stacks);

/// Waits until none of them runs; a process that nobody waited for is not running.
async fn gone(processes: &[u32]) {
    let runs = |id: &u32| {
        fs::read_to_string(format!("/proc/{id}/status")).is_ok_and(|status| status.contains("VmRSS:"))
    };
    becomes("something is left running", false, STEP, async || processes.iter().any(runs)).await;
}

/// Runs the commands that the demo shows, each of which shows what is wanted. The first one also shows what the second
/// writes.
async fn run_shown(demo: &Process, folder: &Folder, wanted: [&str; 5]) {
    let commands = commands(demo);
    assert_eq!(commands.len(), wanted.len(), "{commands:?}");
    let mut shells = Vec::new();
    for (number, (command, wanted)) in commands.iter().zip(wanted).enumerate() {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{command}; echo done; sleep 60")]);
        let log = folder.path().join(format!("{number}.log"));
        let mut shell = Process::spawn("a shown command", shell, &log).unwrap();
        says(&mut shell, wanted, STEP).await;
        shells.push(shell);
    }
    says(&mut shells[0], "{\"gate\": \"mine\"}", STEP).await;
}

#[tokio::test]
async fn shown_commands_work() {
    let folder = Folder::new("demo-test").unwrap();
    let (demo, _) = ready(&folder, &[]).await;
    let wanted = [
        "\"gate\":\"north\"",
        "{\"topic\":\"demo\",\"partition\":0,\"offset\":",
        "\"value\":{\"gate\":\"north\"",
        "demo [2] offset 0",
        "\"gate\":\"north\"",
    ];
    run_shown(&demo, &folder, wanted).await;
}

#[tokio::test]
async fn shown_commands_work_on_nats() {
    let folder = Folder::new("demo-test").unwrap();
    let (demo, gateway) = ready(&folder, &["--nats"]).await;
    let wanted = [
        "\"gate\":\"north\"",
        "{\"stream\":\"demo\",\"sequence\":",
        "\"data\":{\"gate\":\"north\"",
        "demo sequence 1",
        "\"gate\":\"north\"",
    ];
    run_shown(&demo, &folder, wanted).await;
    let asked = async |request: &str| panic!("unknown request {request:?}");
    browser::run("nats.ts", &[&gateway.to_string()], START, asked).await.unwrap();
}

/// A demo with logins, and its gateway.
async fn with_logins(folder: &Folder) -> (Process, SocketAddr) {
    let provider = Port::pick().unwrap().number().to_string();
    ready(folder, &["--login", "--login-port", &provider]).await
}

#[tokio::test]
async fn shown_commands_work_with_logins() {
    let folder = Folder::new("demo-test").unwrap();
    let (demo, _) = with_logins(&folder).await;
    // In one shell: they share a token.
    let mut shell = Command::new("sh");
    shell.args(["-c", &(commands(&demo).join("; echo; ") + "; echo; echo done; sleep 60")]);
    let log = folder.path().join("commands.log");
    let mut shell = Process::spawn("the shown commands", shell, &log).unwrap();
    for wanted in [
        "\"status\":401",
        "{\"topic\":\"orders.alice\",\"partition\":0,\"offset\":0",
        "{\"order\": \"3 planks\"}",
        "\"status\":403",
        "done",
    ] {
        says(&mut shell, wanted, STEP).await;
    }
}

#[tokio::test]
async fn hints_name_the_system_of_a_given_configuration() {
    let server = Nats::jetstream("").await.unwrap();
    let folder = Folder::new("demo-test").unwrap();
    let config = format!("[clusters.default]\nkind = \"nats\"\nservers = \"nats://{}\"\n", server.client());
    let config = folder.write("own.toml", &config).unwrap();
    let (demo, gateway) = ready(&folder, &["--config", config.to_str().unwrap()]).await;
    let log = fs::read_to_string(demo.log()).unwrap();
    assert!(
        log.contains("/?stream=STREAM") && log.contains("/nats/streams") && !log.contains("TOPIC"),
        "{log}"
    );
    let streams = http::get(gateway, "/nats/streams").await.unwrap();
    assert_eq!((streams.status, streams.body.as_str()), (200, "[]"));
}

#[tokio::test]
async fn pages_of_a_given_origin_can_read_and_write() {
    let folder = Folder::new("demo-test").unwrap();
    let page = "http://127.0.0.1:3000";
    let (_demo, gateway) = ready(&folder, &["--origin", page]).await;
    for (origin, upgraded, status, allowed) in
        [(page, 101, 200, Some(page)), ("http://127.0.0.1:3001", 403, 403, None)]
    {
        let upgrade = Upgrade::default().with("host", gateway.to_string()).with("origin", origin);
        assert_eq!(Raw::connect(gateway).await.ask(&upgrade.bytes()).await.status, upgraded, "{origin}");
        let answer = ask(gateway, Request::get("/kafka/topics").with("origin", origin)).await;
        assert_eq!(answer.status, status, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin}");
    }
}

/// Expects the gateway to serve pages and names of this machine, and no others: upgrades, writes and reads.
pub(crate) async fn serves_local_pages_and_hosts_only(gateway: SocketAddr) {
    let [ip, name, ipv6] = &local_hosts(gateway.port());
    let foreign = &format!("evil.example:{}", gateway.port());
    let page = |host: &str| Some(format!("http://{host}"));
    let (served, forbidden, unknown) = ([101, 200, 200], [403; 3], [404; 3]);
    for (host, origin, wanted) in [
        (ip, None, served),
        (name, None, served),
        (ipv6, None, served),
        (ip, page(ip), served),
        (name, page(name), served),
        (ip, page(foreign), forbidden),
        (ip, page("127.0.0.1:1"), forbidden),
        (ip, Some("null".to_owned()), forbidden),
        // As a page whose name resolves to this machine reads it.
        (foreign, None, unknown),
    ] {
        let mut upgrade = Upgrade::default().with("host", host.as_bytes());
        // A page can send this without a preflight.
        let mut write = Request::post("/produce", "{}").with("host", host).with("content-type", "text/plain");
        let mut read = Request::get("/kafka/topics").with("host", host);
        if let Some(origin) = &origin {
            upgrade = upgrade.with("origin", origin.as_bytes());
            [write, read] = [write, read].map(|request| request.with("origin", origin));
        }
        let opened = Raw::connect(gateway).await.ask(&upgrade.bytes()).await.status;
        let statuses = [opened, ask(gateway, write).await.status, ask(gateway, read).await.status];
        assert_eq!(statuses, wanted, "{host}, {origin:?}");
    }
}

#[tokio::test]
async fn foreign_pages_and_hosts_are_refused() {
    for profile in ["tunnel", "relay"] {
        let folder = Folder::new("demo-test").unwrap();
        let (_demo, gateway) = ready(&folder, &["--profile", profile]).await;
        serves_local_pages_and_hosts_only(gateway).await;
        fs::remove_file(folder.path().join("demo.log")).unwrap();
    }
}

#[tokio::test]
async fn demo_creates_nothing_on_a_given_cluster() {
    let kafka = Kafka::start().await.unwrap();
    let folder = Folder::new("demo-test").unwrap();
    let (demo, _) = ready(&folder, &["--bootstrap-servers", &kafka.bootstrap()]).await;
    let commands = commands(&demo);
    let [.., write, raw] = &commands[..] else { panic!("{commands:?}") };
    for (command, wanted) in [(write, "\"status\":403"), (raw, "hello")] {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains(wanted), "{output:?}");
    }
    assert_eq!(kafka.topics().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn given_configuration_may_have_a_gateway_secret() {
    let kafka = Kafka::shared().await.unwrap();
    let folder = Folder::new("demo-test").unwrap();
    let config = format!(
        "listen = \"127.0.0.1:1\"\ngateway_secret = \"of the user's own\"\n\
         [clusters.default]\nbootstrap.servers = \"{}\"\n",
        kafka.bootstrap()
    );
    let config = folder.write("own.toml", &config).unwrap();
    // It answered a ping before it said that it is ready.
    ready(&folder, &["--config", config.to_str().unwrap()]).await;
}

#[tokio::test]
async fn sigterm_leaves_nothing_behind() {
    let folder = Folder::new("demo-test").unwrap();
    let (mut demo, gateway) = ready(&folder, &[]).await;
    assert_eq!(http::get(gateway, "/readyz").await.unwrap().status, 200);
    let parts = children(&demo);
    assert_eq!(parts.len(), 2, "bridge and Envoy");
    assert_eq!(run_in(folder.path()).len(), 3, "they and the demo");
    assert_eq!(stacks_of(demo.id()).len(), 1);
    stops(&mut demo, &folder, &parts).await;
}

#[tokio::test]
async fn sigterm_ends_the_provider_too() {
    let folder = Folder::new("demo-test").unwrap();
    let (mut demo, _) = with_logins(&folder).await;
    let parts = children(&demo);
    assert_eq!(parts.len(), 3, "bridge, Envoy and the OpenID provider");
    stops(&mut demo, &folder, &parts).await;
}

/// Terminates a demo, and expects it to leave nothing behind.
async fn stops(demo: &mut Process, folder: &Folder, parts: &[u32]) {
    demo.terminate();
    assert!(demo.wait(STEP).await.unwrap().success());
    gone(parts).await;
    assert_eq!(run_in(folder.path()), Vec::<String>::new());
    assert_eq!(stacks_of(demo.id()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn kill_leaves_nothing_behind() {
    let folder = Folder::new("demo-test").unwrap();
    let (mut demo, _) = ready(&folder, &[]).await;
    let parts = children(&demo);
    demo.kill_alone();
    gone(&parts).await;
}

#[tokio::test]
async fn death_of_a_part_ends_the_demo_and_is_named() {
    for (name, program) in
        [("Envoy", "envoy"), ("the bridge", "sluicegate-brid"), ("the OpenID provider", "node")]
    {
        let folder = Folder::new("demo-test").unwrap();
        let (mut demo, _) = with_logins(&folder).await;
        let parts = children(&demo);
        let runs = |id: &&u32| fs::read_link(format!("/proc/{id}/exe")).unwrap();
        let part =
            parts.iter().find(|id| runs(id).file_name().unwrap().to_str().unwrap().starts_with(program));
        let killed = Command::new("kill").args(["-9", &part.unwrap().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(demo.wait(STEP).await.unwrap().code(), Some(1));
        assert!(demo.log_tail().contains(&format!("demo: {name} ended (signal: 9")), "{}", demo.log_tail());
        gone(&parts).await;
    }
}

#[tokio::test]
async fn stopping_closes_sessions_with_1001() {
    let folder = Folder::new("demo-test").unwrap();
    let (mut demo, gateway) = ready(&folder, &[]).await;
    let mut follow = Command::new(tools::cli().unwrap());
    follow.args(["-u", &format!("ws://{gateway}/pubsub"), "fetch", "demo", "-p", "0", "--follow"]);
    let mut follow = Process::spawn("a client", follow, &folder.path().join("follow.log")).unwrap();
    says(&mut follow, "\"gate\":\"north\"", STEP).await;
    demo.terminate();
    // It would continue if the bridge came back.
    says(&mut follow, "the server closed it with 1001 \"going away\"; retrying", STEP).await;
    assert!(demo.wait(STEP).await.unwrap().success());
}

#[tokio::test]
async fn unwritable_output_ends_nothing() {
    for redirection in ["| true", ">/dev/full 2>&1", ">&- 2>&-"] {
        let folder = Folder::new("demo-test").unwrap();
        let gateway = Port::pick().unwrap().address();
        let script = format!("\"$0\" --port {} {redirection}", gateway.port());
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(tools::demo().unwrap());
        let mut shell = Process::spawn("a shell", shell, &folder.path().join("demo.log")).unwrap();
        let serves = async || match http::get(gateway, "/readyz").await?.status {
            200 => Ok(()),
            status => Err(status.to_string()),
        };
        shell.until("serve", START, serves).await.unwrap();
        shell.terminate();
        shell.wait(STEP).await.unwrap();
        let said = shell.log_tail();
        assert!(!said.contains("panicked"), "{redirection}: {said}");
    }
}

#[tokio::test]
async fn configuration_is_read_from_a_pipe() {
    let folder = Folder::new("demo-test").unwrap();
    let free = Port::pick().unwrap().number();
    let config = r#"[clusters.default]\nbootstrap.servers = "127.0.0.1:1"\n"#;
    let script = format!("exec \"$0\" --port {free} --config <(printf '{config}')");
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).arg(tools::demo().unwrap());
    let mut shell = Process::spawn("a shell", shell, &folder.path().join("demo.log")).unwrap();
    assert_eq!(shell.wait(START).await.unwrap().code(), Some(1));
    // It was started with it: an empty one would have been refused.
    let said = shell.log_tail();
    assert!(said.contains("cannot be read after 10 s"), "{said}");
}

#[tokio::test]
async fn wrong_input_is_one_sentence() {
    let folder = Folder::new("demo-test").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    let free = Port::pick().unwrap().number().to_string();
    let write = |name: &str, text: &str| folder.write(name, text).unwrap().to_str().unwrap().to_owned();
    let wrong = write("wrong.toml", "nonsense = 1\nclusters.default.acks = 1\n");
    let torn = write("torn.toml", "[clusters.default");
    let other = write("other.toml", "[clusters.other]\nbootstrap.servers = \"127.0.0.1:1\"\n");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--port", &taken], 1, "is in use; choose another with --port"),
        (&["--port", "0"], 2, "0 is not in 1..=65535"),
        (&["--login", "--nats"], 2, "'--login' cannot be used with '--nats'"),
        (&["--login", "--config", "x"], 2, "'--login' cannot be used with '--config"),
        (&["--login", "--bootstrap-servers", "a:1"], 2, "'--login' cannot be used with '--bootstrap-servers"),
        (&["--login-port", "1"], 2, "arguments were not provided: --login"),
        (&["--token-seconds", "60"], 2, "arguments were not provided: --login"),
        (&["--login", "--token-seconds", "4"], 2, "4 is not in 5..=65535"),
        (
            &["--port", &free, "--login", "--login-port", &taken],
            1,
            "is in use; choose another with --login-port",
        ),
        (
            &["--port", &free, "--login", "--login-port", &free],
            1,
            "is in use; choose another with --login-port",
        ),
        (&["--profile", "x"], 2, "[possible values: tunnel, relay]"),
        (&["--bootstrap-servers", "nowhere"], 2, "is not HOST:PORT"),
        (&["--config", "/nowhere/bridge.toml"], 1, "cannot read /nowhere/bridge.toml: No such file"),
        (&["--bootstrap-servers", "a b:1"], 2, "\"a b:1\" is not HOST:PORT"),
        (&["--bootstrap-servers", "http://x:9"], 2, "\"http://x:9\" is not HOST:PORT"),
        (&["--prot", "1"], 2, "unexpected argument '--prot' found (see ./dev demo --help)"),
        (
            &["--port", &free, "--config", &wrong],
            1,
            "wrong.toml: clusters.default.bootstrap.servers: is required",
        ),
        (&["--port", &free, "--config", &wrong], 1, "; nonsense: is not a key of this configuration"),
        (&["--port", &free, "--config", &torn], 1, "torn.toml: "),
        (&["--port", &free, "--config", &other], 1, "other.toml is missing: expected [clusters.default]"),
        (&["--port", &free, "--envoy", "/nowhere/envoy"], 1, "cannot run /nowhere/envoy: No such file"),
        (&["--port", &free, "--envoy", "/bin/true"], 1, "does not answer --version as Envoy does"),
        (&["--port", &free, "--bootstrap-servers", "127.0.0.1:1"], 1, "onnection refused"),
    ];
    for (number, (args, status, wanted)) in cases.iter().enumerate() {
        let log = folder.path().join(number.to_string());
        fs::create_dir(&log).unwrap();
        let mut demo = start(&log.join("demo.log"), args);
        let id = demo.id();
        assert_eq!(demo.wait(START).await.unwrap().code(), Some(*status), "{args:?}");
        let said = fs::read_to_string(demo.log()).unwrap();
        let steps = ["demo: starting the ", "demo: waiting until "];
        let rest: Vec<&str> =
            said.lines().filter(|line| !steps.iter().any(|step| line.starts_with(step))).collect();
        assert!(
            matches!(*rest, [line] if line.starts_with("demo: ") && line.contains(wanted)),
            "{args:?}: {said}"
        );
        assert_eq!(run_in(&log), Vec::<String>::new(), "{args:?}");
        assert_eq!(stacks_of(id), Vec::<PathBuf>::new(), "{args:?}");
    }
}

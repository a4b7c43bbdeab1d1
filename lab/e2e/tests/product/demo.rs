//! The demo, from its user's point of view.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sluicegate_stack::browser;
use sluicegate_stack::envoy::local_hosts;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::Kafka;
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
fn start(mut command: Command, log: &Path, args: &[&str]) -> Process {
    command.args(args).env(MARK, log.parent().unwrap());
    Process::spawn("the demo", command, log).unwrap()
}

/// A demo that is ready, and its gateway.
pub(crate) async fn ready(folder: &Folder, args: &[&str]) -> (Process, SocketAddr) {
    // Given back at once: the demo claims its port itself.
    let gateway = Port::pick().unwrap().address();
    let port = gateway.port().to_string();
    let command = Command::new(tools::demo().unwrap());
    let mut demo = start(command, &folder.path().join("demo.log"), &[args, &["--port", &port]].concat());
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
pub(crate) fn commands(demo: &Process) -> Vec<String> {
    let log = fs::read_to_string(demo.log()).unwrap();
    let (_, tries) = log.split_once("Try in another terminal:").unwrap();
    let lines: Vec<&str> = tries.lines().map(str::trim).collect();
    lines.windows(2).filter(|pair| pair[0].starts_with('#')).map(|pair| pair[1].to_owned()).collect()
}

/// The processes that this one started, while it runs.
pub(crate) fn children(process: &Process) -> Vec<u32> {
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

/// Waits until none of them runs; a process that nobody waited for is not running.
pub(crate) async fn gone(processes: &[u32]) {
    let runs = |id: &u32| {
        fs::read_to_string(format!("/proc/{id}/status")).is_ok_and(|status| status.contains("VmRSS:"))
    };
    becomes("something is left running", false, STEP, async || processes.iter().any(runs)).await;
}

/// Runs the commands that the demo shows, each of which shows what is wanted.
async fn run_shown(demo: &Process, folder: &Folder, wanted: &[&str]) -> Vec<Process> {
    let commands = commands(demo);
    assert_eq!(commands.len(), wanted.len(), "{commands:?}");
    let mut shells = Vec::new();
    for (number, (command, wanted)) in commands.iter().zip(wanted).enumerate() {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{command}; echo done; sleep 60")]);
        let log = folder.path().join(format!("shown-{number}.log"));
        let mut shell = Process::spawn("a shown command", shell, &log).unwrap();
        says(&mut shell, wanted, STEP).await;
        shells.push(shell);
    }
    shells
}

/// Expects the commands on readings to work, of which the first one shows what the second one has written. `wanted` are those
/// of the second one and of the fourth one, and the member of a value.
pub(crate) async fn shown_commands_work(demo: &Process, folder: &Folder, wanted: [&str; 3]) {
    let [written, begins, value] = wanted;
    let (north, read) = ("\"gate\":\"north\"", format!("\"{value}\":{{\"gate\":\"north\""));
    let mut shells = run_shown(demo, folder, &[north, written, &read, begins, north]).await;
    says(&mut shells[0], "{\"gate\": \"mine\"}", STEP).await;
}

/// And so do those on NATS.
#[tokio::test]
async fn shown_commands_work_until_the_demo_is_killed() {
    let folder = Folder::new("demo-test").unwrap();
    let (mut demo, gateway) = ready(&folder, &["--nats"]).await;
    let wanted = ["{\"stream\":\"demo\",\"sequence\":", "demo sequence 1", "data"];
    shown_commands_work(&demo, &folder, wanted).await;
    let asked = async |request: &str| panic!("unknown request {request:?}");
    browser::run("nats.ts", &[&gateway.to_string()], START, asked).await.unwrap();
    let parts = children(&demo);
    demo.kill_alone();
    gone(&parts).await;
}

#[tokio::test]
async fn shown_commands_and_page_show_avro_as_json_until_the_registry_ends() {
    let folder = Folder::new("demo-test").unwrap();
    let (demo, gateway) = ready(&folder, &["--schemas"]).await;
    let wanted = [
        "\"value\":{\"order\":",
        "\"value\":{\"order\":0,\"status\":\"open\",\"amount\":\"10.00\",",
        "\"value\":\"AAAAAAEA",
        "\"subject\":\"orders-value\"",
    ];
    run_shown(&demo, &folder, &wanted).await;
    let asked = async |request: &str| panic!("unknown request {request:?}");
    let screenshots = browser::screenshots().unwrap();
    let args = [&gateway.to_string(), screenshots.to_str().unwrap()];
    browser::run("schemas.ts", &args, START, asked).await.unwrap();
    ends_with(demo, "the schema registry", "schema-registry").await;
}

/// Expects the commands for a demo with logins to work. Nothing is ordered yet.
pub(crate) async fn shown_commands_work_with_logins(demo: &Process, folder: &Folder) {
    // In one shell: they share a token.
    let mut shell = Command::new("sh");
    shell.args(["-c", &(commands(demo).join("; echo; ") + "; echo; echo done; sleep 60")]);
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
    assert_eq!(children(demo).len(), 4, "Kafka, the bridge, Envoy and the OpenID provider");
    assert_eq!(run_in(folder.path()).len(), 5, "they and the demo");
}

/// Expects the gateway to serve pages and names of this machine, and no others: upgrades, writes and reads at these paths.
pub(crate) async fn serves_local_pages_and_hosts_only(
    gateway: SocketAddr,
    [session, produce, topics]: [&str; 3],
) {
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
        let mut upgrade = Upgrade::to(session).with("host", host.as_bytes());
        // A page can send this without a preflight.
        let mut write = Request::post(produce, "{}").with("host", host).with("content-type", "text/plain");
        let mut read = Request::get(topics).with("host", host);
        if let Some(origin) = &origin {
            upgrade = upgrade.with("origin", origin.as_bytes());
            [write, read] = [write, read].map(|request| request.with("origin", origin));
        }
        let opened = Raw::connect(gateway).await.ask(&upgrade.bytes()).await.status;
        let statuses = [opened, ask(gateway, write).await.status, ask(gateway, read).await.status];
        assert_eq!(statuses, wanted, "{host}, {origin:?}");
    }
    for request in [Request::get("/nothing"), Request::get("/").with("host", foreign)] {
        let answer = ask(gateway, request).await;
        assert_eq!((answer.status, answer.text()), (404, "no route of the gateway has this path and host\n"));
    }
    let answer = ask(gateway, Request::get(topics).with("host", foreign)).await;
    let words = "the filter has this route, but the gateway has none to the bridge for it\n";
    assert_eq!((answer.status, answer.text()), (404, words));
}

#[tokio::test]
async fn own_routes_and_kafka_are_served_and_foreign_pages_refused() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("own", 1, &[]).await.unwrap();
    let folder = Folder::new("demo-test").unwrap();
    let routes = r#"[{"path": "/live", "write": true}, {"path": "/more"}, {"path": "/mine", "type": "rest"},
        {"path": "/write", "type": "produce", "topic": "TOPIC"}]"#;
    let routes = folder.write("routes.json", &routes.replace("TOPIC", &topic)).unwrap();
    let config = format!("clusters.default.\"bootstrap.servers\" = {:?}\n", kafka.bootstrap());
    let config = folder.write("bridge.toml", &(config + "write.clusters = [\"default\"]\n")).unwrap();
    let own = ["--routes", routes.to_str().unwrap(), "--config", config.to_str().unwrap()];
    for (profile, part, program) in [("tunnel", "Envoy", "envoy"), ("relay", "the bridge", "sluicegate-brid")]
    {
        let (demo, gateway) = ready(&folder, &[&own[..], &["--profile", profile]].concat()).await;
        serves_local_pages_and_hosts_only(gateway, ["/live", "/write", "/mine/topics"]).await;
        for (path, status) in [("/more", 101), ("/pubsub", 404)] {
            let upgrade = Upgrade::to(path).with("host", gateway.to_string());
            let answer = Raw::connect(gateway).await.ask(&upgrade.bytes()).await;
            assert_eq!(answer.status, status, "{profile} {path}");
        }
        let commands = commands(&demo);
        assert_eq!(commands.len(), 4, "{commands:?}");
        for command in commands {
            let output = Command::new("sh").args(["-c", &command]).output().unwrap();
            assert!(output.status.success(), "{command}: {output:?}");
        }
        ends_with(demo, part, program).await;
        fs::remove_file(folder.path().join("demo.log")).unwrap();
    }
}

/// Kills the part that runs this program. The demo ends, and names it.
pub(crate) async fn ends_with(mut demo: Process, name: &str, program: &str) {
    let parts = children(&demo);
    let runs = |id: &&u32| fs::read_link(format!("/proc/{id}/exe")).unwrap();
    let part = parts.iter().find(|id| runs(id).file_name().unwrap().to_str().unwrap().starts_with(program));
    let killed = Command::new("kill").args(["-9", &part.unwrap().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(demo.wait(STEP).await.unwrap().code(), Some(1));
    let said = fs::read_to_string(demo.log()).unwrap();
    assert!(said.contains(&format!("demo: {name} ended (signal: 9")), "{said}");
    gone(&parts).await;
}

#[tokio::test]
async fn wrong_input_is_one_sentence() {
    let folder = Folder::new("demo-test").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    let free = Port::pick().unwrap().number().to_string();
    let write = |name: &str, text: &str| folder.write(name, text).unwrap().to_str().unwrap().to_owned();
    let routes = write("routes.json", r#"[{"path": "/a", "orgins": 1}]"#);
    let wrong = write("wrong.toml", "nonsense = 1\nclusters.default.acks = 1\n");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--port", &taken], 1, "is in use; choose another with --port"),
        (&["--login", "--nats"], 2, "'--login' cannot be used with '--nats'"),
        (&["--nats", "--schemas"], 2, "'--nats' cannot be used with '--schemas'"),
        (&["--login-port", "1"], 2, "arguments were not provided: --login"),
        (
            &["--port", &free, "--login", "--login-port", &taken],
            1,
            "is in use; choose another with --login-port",
        ),
        (&["--profile", "x"], 2, "[possible values: tunnel, relay]"),
        (&["--topic", "a b"], 2, "is not 1 to 249 letters, digits"),
        (&["--topic", "a", "--bootstrap-servers", "a:1"], 2, "cannot be used with '--bootstrap-servers"),
        (
            &["--port", &free, "--routes", &routes],
            1,
            "routes.json: routes[0].orgins: unknown key, did you mean `origins`?",
        ),
        (&["--config", "/nowhere/bridge.toml"], 1, "cannot read /nowhere/bridge.toml: No such file"),
        (&["--prot", "1"], 2, "unexpected argument '--prot' found (see ./dev demo --help)"),
        (
            &["--port", &free, "--config", &wrong],
            1,
            "wrong.toml: clusters.default.bootstrap.servers: is required",
        ),
        (&["--port", &free, "--envoy", "/bin/true"], 1, "does not answer --version as Envoy does"),
        (&["--port", &free, "--bootstrap-servers", "127.0.0.1:1"], 1, "onnection refused"),
    ];
    for (number, (args, status, wanted)) in cases.iter().enumerate() {
        let log = folder.path().join(number.to_string());
        fs::create_dir(&log).unwrap();
        let demo = Command::new(tools::demo().unwrap());
        let mut demo = start(demo, &log.join("demo.log"), args);
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
    }
}

//! Runs the commands of the documents as a reader would, and opens their pages.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sluicegate_stack::browser;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http;
use sluicegate_stack::port::Port;
use sluicegate_stack::process::Process;
use sluicegate_stack::tools;

use crate::product::demo::{
    ends_with, ready, says, serves_local_pages_and_hosts_only, shown_commands_work,
    shown_commands_work_with_logins,
};

const RUN: [&str; 3] = ["sh", "js", "python"];
const STEP: Duration = Duration::from_secs(20);
/// Expected output of commands that show something. The others only have to succeed.
const SHOWN: [(&str, &str); 20] = [
    ("x-kafka-topic: orders' http://127.0.0.1:8080/produce", r#"{"topic":"orders","partition":0,"#),
    ("x-kafka-partition: 0' http", r#"{"topic":"demo","partition":0,"#),
    ("topics/orders/partitions/0/records", "3 planks"),
    ("topics/demo/partitions/0/records", r#""value":{"gate":"north""#),
    ("curl -N 'http", r#""value":{"gate":"north""#),
    ("-i http://127.0.0.1:8080/kafka/topics", r#"["demo","orders"]"#),
    ("fetch demo -p 0 --from earliest -c 5", r#""gate":"north""#),
    ("list-offsets orders", "orders [0]"),
    ("fetch(url", "item: '3 planks'"),
    ("bytes of records", " bytes of records"),
    ("console.log(JSON.parse(data).messages)", "partition: 0"),
    ("subscribe:", "delivered"),
    ("gate.subscribe(", r#"{"gate":"north""#),
    ("print(ws.recv())", "b'"),
    ("print(\"written:\", json", "written: [{'partition': "),
    ("print(record[\"partition\"]", "{'gate': 'north'"),
    ("subscribe demo --from earliest --count 5", r#""gate":"north""#),
    ("| sed -un", r#""value":{"gate":"north""#),
    ("-i 'http", "HTTP/1.1 401 Unauthorized"),
    ("grant_type=client_credentials", r#"["demo","orders.alice"]"#),
];
/// Its commands need a demo with logins.
const LOGINS: &str = "tutorials/each-user-sees-their-own.md";

/// A block of code that a page shows.
struct Block {
    page: String,
    language: String,
    /// Why it is not run, if it is not.
    skipped: Option<String>,
    text: String,
}

/// On one demo, as its own commands: the records of the first tutorial are in the topic of the second.
#[tokio::test]
async fn documented_commands_and_programs_work_as_they_are_shown() {
    let folder = Folder::new("documents").unwrap();
    // In place of the tutorial's port 3000.
    let page = Port::pick().unwrap().number().to_string();
    let origin = format!("http://127.0.0.1:{page}");
    let (demo, gateway) = ready(&folder, &["--topic", "orders", "--origin", &origin]).await;
    let run = run(&folder, gateway, "8081", |page| !page.ends_with(LOGINS)).await;
    assert!(run >= 12, "{run} blocks");
    let source = include_str!("../../../../crates/client/examples/follow.rs");
    let shown: Vec<Block> = blocks().into_iter().filter(|block| block.language == "rust").collect();
    let [Block { text, .. }] = &shown[..] else { panic!("{} blocks", shown.len()) };
    assert!(source.trim_end().ends_with(text), "crates/client/examples/follow.rs is not\n{text}");
    follow::follow(&format!("ws://{gateway}/pubsub"), 5).await.unwrap();

    let asked = async |request: &str| panic!("unknown request {request:?}");
    let args = [&gateway.to_string(), &page];
    browser::run("tutorial.ts", &args.map(String::as_str), Duration::from_secs(60), asked).await.unwrap();
    serves_local_pages_and_hosts_only(gateway, ["/pubsub", "/produce", "/kafka/topics"]).await;
    let wanted = ["{\"topic\":\"demo\",\"partition\":0,\"offset\":", "demo [2] offset 0", "value"];
    shown_commands_work(&demo, &folder, wanted).await;
    ends_with(demo, "Kafka", "java").await;
}

#[tokio::test]
async fn tutorial_with_logins_works() {
    let folder = Folder::new("tutorial").unwrap();
    let [page, provider] = [(); 2].map(|()| Port::pick().unwrap().number().to_string());
    let origin = format!("http://127.0.0.1:{page}");
    let args = ["--login", "--login-port", &provider, "--token-seconds", "8", "--origin", &origin];
    let (demo, gateway) = ready(&folder, &args).await;
    assert_eq!(http::get(gateway, "/readyz").await.unwrap().status, 200);
    shown_commands_work_with_logins(&demo, &folder).await;
    let run = run(&folder, gateway, &provider, |page| page.ends_with(LOGINS)).await;
    assert_eq!(run, 2, "blocks");
    let asked = async |request: &str| panic!("unknown request {request:?}");
    let screenshots = browser::screenshots().unwrap();
    let gateway = gateway.to_string();
    let args = [&gateway, &provider, &page, screenshots.to_str().unwrap()];
    browser::run("login-tutorial.ts", &args, Duration::from_secs(120), asked).await.unwrap();
    ends_with(demo, "the OpenID provider", "node").await;
}

/// Runs the blocks of some pages as their readers would, with an OpenID provider at this port, and returns how many there
/// were.
async fn run(
    folder: &Folder,
    gateway: SocketAddr,
    provider: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> usize {
    let gateway = &gateway.to_string();
    let cli = tools::cli().unwrap().display().to_string();
    let mut run = 0;
    let is_run = |block: &&Block| block.skipped.is_none() && RUN.contains(&block.language.as_str());
    for block in blocks().iter().filter(is_run).filter(|block| is_wanted(&block.page)) {
        let text = block.text.replace("127.0.0.1:8080", gateway).replace("target/debug/sluicegate", &cli);
        let text = text.replace("127.0.0.1:8081", &format!("127.0.0.1:{provider}"));
        let mut shell = Command::new("bash");
        let script = folder.write(&format!("{run}.mjs"), &text).unwrap();
        let script = script.display();
        let python = tools::workspace().join("target/tools/venv/bin/python");
        let node = tools::node().unwrap();
        let command = match block.language.as_str() {
            "sh" => format!("set -euo pipefail; . {script}; echo every command succeeded; sleep 60"),
            "python" => format!("{} {script}; sleep 60", python.display()),
            _ => format!("{} {script}; sleep 60", node.display()),
        };
        shell.args(["-c", &command]);
        shell.current_dir(tools::workspace()).env("SLUICEGATE_URL", format!("ws://{gateway}/pubsub"));
        // Its output is no terminal here.
        shell.env("PYTHONUNBUFFERED", "1");
        let log = folder.path().join(format!("{run}.log"));
        let mut shell = Process::spawn("a documented block", shell, &log).unwrap();
        let shown = SHOWN.iter().filter(|(command, _)| block.text.contains(command)).map(|(_, shown)| *shown);
        let ends = block.language == "sh"
            && !["curl -N", "curl -sN"].iter().any(|endless| block.text.contains(endless));
        let succeeds = ends.then_some("every command succeeded");
        for text in shown.chain(succeeds) {
            says(&mut shell, text, STEP).await;
        }
        drop(shell);
        run += 1;
    }
    run
}

#[path = "../../../../crates/client/examples/follow.rs"]
#[expect(dead_code, unreachable_pub, reason = "a program, whose `main` uses the demo's own address")]
mod follow;

#[test]
fn skipped_blocks_give_a_reason() {
    for Block { page, language, skipped, text } in blocks() {
        let known = [
            "sh", "js", "ts", "html", "json", "toml", "yaml", "python", "rust", "go", "promql", "text",
            "vcl", "",
        ]
        .contains(&language.as_str());
        assert!(known, "{page}: ```{language}");
        if let Some(reason) = skipped {
            // CommonMark allows no backtick there.
            let is_reason = reason.split(' ').count() > 2 && !reason.contains('`');
            assert!(is_reason, "{page}: {reason:?}\n{text}");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for (page, text) in pages() {
        let folder = Path::new(&page).parent().unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { Path::new(&page).to_owned() } else { folder.join(file) };
            let to = fs::read_to_string(&path).or_else(|_| fs::read_dir(&path).map(|_| String::new()));
            let to = to.unwrap_or_else(|error| panic!("{page}: {target}: {error}"));
            assert!(
                anchor.is_empty() || anchors(&to).iter().any(|known| known == anchor),
                "{page}: {target} has no such heading"
            );
        }
    }
}

#[test]
fn promises_name_tests_that_exist() {
    let page =
        fs::read_to_string(tools::workspace().join("docs/explanation/delivery-guarantees.md")).unwrap();
    let (_, promises) = page.split_once("\n## The test of each promise\n").unwrap();
    let (mut source, mut tests) = (String::new(), 0);
    for name in promises.lines().filter_map(|row| row.rsplit_once(" | ")).flat_map(|(_, cell)| quoted(cell)) {
        if name.ends_with(".rs") {
            source =
                fs::read_to_string(tools::workspace().join(name)).unwrap_or_else(|_| panic!("no {name}"));
        } else {
            assert!(source.contains(&format!("fn {name}(")), "no test {name}");
            tests += 1;
        }
    }
    assert!(tests > 30, "{tests} tests");
}

/// The code in a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The texts that readers look for are those of the code.
#[test]
fn quoted_texts_are_those_of_the_code() {
    let mut sources = String::new();
    let crates = "backend bridge delivery dialect identity kafka nats reader schemas telemetry ws-session";
    let crates = crates.split(' ').map(|name| format!("crates/{name}/src"));
    for folder in crates.chain(["wasm/src", "clients/typescript/src"].map(str::to_owned)) {
        read_sources(&tools::workspace().join(folder), &mut sources);
    }
    // A literal that goes on in the next line.
    let sources: String = sources.split("\\\n").map(|part| part.trim_start_matches(' ')).collect();
    let page = fs::read_to_string(tools::workspace().join("docs/how-to/troubleshoot.md")).unwrap();
    let cells = page.lines().filter(|line| line.starts_with("| ")).filter_map(|row| row.split(" | ").next());
    let texts: Vec<&str> = cells.flat_map(quoted).filter(|text| !FOREIGN.contains(text)).collect();
    assert!(texts.len() > 30, "{texts:?}");
    for text in texts {
        for part in text.split('…').map(str::trim) {
            assert!(
                sources.contains(&part.replace('"', "\\\"")) || sources.contains(part),
                "no {text:?} is in the code"
            );
        }
    }
}

/// Of other programs, or a name that the code puts together.
const FOREIGN: [&str; 3] = ["Route Not Found", "Retry-After", "sluicegate-outcome: unknown"];

fn read_sources(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && !entry.ends_with("tests") {
            read_sources(&entry, sources);
        } else if entry.is_file() && !entry.ends_with("tests.rs") {
            sources.push_str(&fs::read_to_string(&entry).unwrap());
        }
    }
}

/// Every document, with its path.
fn pages() -> Vec<(String, String)> {
    let workspace = tools::workspace();
    let folders =
        ["", "apisix", "docs", "docs/tutorials", "docs/how-to", "docs/reference", "docs/explanation"];
    let folders = folders.map(|folder| fs::read_dir(workspace.join(folder)).unwrap());
    let paths = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    paths.sort();
    let page = |path: PathBuf| (path.display().to_string(), fs::read_to_string(path).unwrap());
    paths.into_iter().map(page).collect()
}

fn blocks() -> Vec<Block> {
    let mut all = Vec::new();
    for (page, text) in pages() {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(info) = line.trim_start().strip_prefix("```") else { continue };
            let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
            let text: Vec<&str> = lines.by_ref().take_while(|line| line.trim_start() != "```").collect();
            all.push(Block {
                page: page.clone(),
                language: language.to_owned(),
                skipped: rest.strip_prefix("skip: ").map(str::to_owned),
                text: text.join("\n"),
            });
        }
    }
    all
}

/// The anchors of a page: its own, and those of headings, of which equal ones are numbered.
pub(crate) fn anchors(page: &str) -> Vec<String> {
    let mut slugs: Vec<String> = Vec::new();
    let own = page.split("<a id=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    let mut anchors: Vec<String> = own.map(|(id, _)| id.to_owned()).collect();
    for slug in page.lines().filter(|line| line.starts_with('#')).map(slug) {
        let before = slugs.iter().filter(|other| **other == slug).count();
        anchors.push(if before == 0 { slug.clone() } else { format!("{slug}-{before}") });
        slugs.push(slug);
    }
    anchors
}

/// A heading's anchor, as GitHub makes it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|one| one.is_alphanumeric() || " -_".contains(*one));
    kept.collect::<String>().replace(' ', "-")
}

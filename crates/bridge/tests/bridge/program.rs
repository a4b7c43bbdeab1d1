//! The program itself: its exit codes, its one line of output, its signals.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const MINIMAL: &str = r#"
    listen = "127.0.0.1:0"
    admin_listen = "127.0.0.1:0"
    [clusters.default]
    bootstrap.servers = "127.0.0.1:1"
"#;

fn bridge(config: &NamedTempFile) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate-bridge"));
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

async fn started(config: &NamedTempFile) -> (Child, String) {
    let mut child = bridge(config).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("a line");
    (child, line)
}

#[tokio::test]
async fn a_bad_configuration_names_every_problem_and_exits_with_2() {
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
async fn a_missing_file_is_named() {
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
async fn an_address_in_use_ends_it_with_1() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = file(&MINIMAL.replacen("127.0.0.1:0", &taken.local_addr().unwrap().to_string(), 1));
    let output = bridge(&config).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(&format!("failed to bind {}: ", taken.local_addr().unwrap())), "{stderr}");
}

#[tokio::test]
async fn it_says_where_it_listens_and_ends_with_0_on_a_signal() {
    for signal in ["TERM", "INT"] {
        let config = file(MINIMAL);
        let (mut child, line) = started(&config).await;
        let (grpc, admin) = line.strip_prefix("listening grpc=").unwrap().split_once(" admin=").unwrap();
        for address in [grpc, admin] {
            tokio::net::TcpStream::connect(address).await.unwrap();
        }
        let asked = Instant::now();
        let id = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().await.unwrap().success());
        assert_eq!(child.wait().await.unwrap().code(), Some(0), "{signal}");
        assert!(asked.elapsed() < Duration::from_secs(5));
    }
}

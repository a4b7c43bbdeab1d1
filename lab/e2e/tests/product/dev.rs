//! `./dev demo`.

use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::port::Port;
use sluicegate_stack::process::Process;
use sluicegate_stack::tools;

use crate::product::demo::{children, commands, gone, says};

/// `./dev test` has built the demo; otherwise the first start does.
const BUILD: Duration = Duration::from_secs(540);
const STEP: Duration = Duration::from_secs(20);

/// With the programs of `./dev demo`, which link another librdkafka than those of the tests.
#[tokio::test]
async fn demo_starts_and_checks_its_arguments_first() {
    let folder = Folder::new("dev-test").unwrap();
    let run = |log: &str, args: &[&str]| {
        let mut dev = Command::new(tools::workspace().join("dev"));
        // Cargo's variables for this package would make build scripts run again.
        for (name, _) in env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
            {
                dev.env_remove(name);
            }
        }
        dev.args(args).current_dir(folder.path());
        Process::spawn("./dev", dev, &folder.path().join(log)).unwrap()
    };
    let kafka = Kafka::shared().await.unwrap();
    let port = Port::pick().unwrap().number().to_string();
    let mut demo = run("demo.log", &["demo", "--port", &port, "--bootstrap-servers", &kafka.bootstrap()]);
    says(&mut demo, "Ctrl-C stops everything", BUILD).await;
    // It creates and writes nothing there.
    let commands = commands(&demo);
    let [.., write, raw] = &commands[..] else { panic!("{commands:?}") };
    for (command, wanted) in [(write, "\"status\":403"), (raw, "hello")] {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains(wanted), "{output:?}");
    }
    assert!(!kafka.topics().unwrap().contains(&"demo".to_owned()));
    let parts = children(&demo);
    demo.terminate();
    assert!(demo.wait(STEP).await.unwrap().success(), "{}", demo.log_tail());
    gone(&parts).await;
    // Its arguments are checked before anything is built.
    for (number, (args, status, said)) in [
        (["demo", "--help"].as_slice(), 0, "Usage: ./dev demo"),
        (&["demo", "-h"], 0, "(see more with '--help')"),
        (&["help", "demo"], 0, "Usage: ./dev demo"),
        (&["demo", "--port", "80000"], 2, "demo: invalid value '80000' for '--port <N>'"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut dev = run(&format!("arguments-{number}.log"), args);
        assert_eq!(dev.wait(STEP).await.unwrap().code(), Some(status), "{}", dev.log_tail());
        let log = fs::read_to_string(dev.log()).unwrap();
        assert!(log.contains(said) && !log.contains("dev: ") && !log.contains("cargo"), "{log}");
    }
    let mut help = run("help.log", &["help"]);
    assert_eq!(help.wait(STEP).await.unwrap().code(), Some(0), "{}", help.log_tail());
    let listed = fs::read_to_string(help.log()).unwrap();
    assert!(listed.starts_with("Available recipes:\n    demo "), "{listed}");
    // Paths are relative to the caller's folder.
    folder.write("torn.toml", "[clusters.default").unwrap();
    let port = Port::pick().unwrap().number().to_string();
    let mut dev = run("own.log", &["demo", "--port", &port, "--config", "torn.toml"]);
    assert!(!dev.wait(BUILD).await.unwrap().success(), "{}", dev.log_tail());
    assert!(dev.log_tail().contains("demo: cannot use torn.toml: "), "{}", dev.log_tail());
    // As the program of a reader who follows the documents.
    let mut bridge = Command::new(tools::workspace().join("target/debug/sluicegate-bridge"));
    assert!(bridge.arg("--version").status().unwrap().success());
}

//! `./dev demo`, and `./dev` in a scratch project with stubs of Rust's tools: what a signal leaves, damaged packages.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sluicegate_stack::folder::Folder;
use sluicegate_stack::port::Port;
use sluicegate_stack::process::Process;
use sluicegate_stack::tools;

use crate::product::demo::says;

/// `./dev test` has built the demo; otherwise the first start does.
const BUILD: Duration = Duration::from_secs(540);
const STEP: Duration = Duration::from_secs(20);

/// A project with the real script, recipes and tools, and nothing else.
struct Project {
    folder: Folder,
}

impl Project {
    fn new() -> Self {
        let folder = Folder::new("dev-test").unwrap();
        let project = Self { folder };
        for name in ["dev", "justfile", "Cargo.lock"] {
            fs::copy(tools::workspace().join(name), project.path(name)).unwrap();
        }
        for name in ["target/tools/bin", "stubs", "elsewhere"] {
            fs::create_dir_all(project.path(name)).unwrap();
        }
        for folder in ["target/tools", "target/tools/bin"] {
            for tool in fs::read_dir(tools::workspace().join(folder)).unwrap() {
                let tool = tool.unwrap().path();
                let name = tool.file_name().unwrap().to_str().unwrap();
                if !["bin", "npm"].contains(&name) {
                    symlink(&tool, project.path(folder).join(name)).unwrap();
                }
            }
        }
        project.program("target/tools/bin/npm", "exit 0");
        // The targets are there where the toolchain is the workspace's, which `rustc` says.
        let mut rustc = Command::new("rustc");
        rustc.args(["--print", "sysroot"]).current_dir(tools::workspace());
        let sysroot = rustc.output().unwrap().stdout;
        project.program("stubs/rustc", &format!("echo {}", String::from_utf8(sysroot).unwrap().trim()));
        project.program("stubs/cargo", "exit 0");
        project.program("stubs/rustup", "exit 0");
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.folder.write(name, &format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    /// `./dev` from the folder `elsewhere`, as a terminal would start it.
    fn run(&self, args: &[&str]) -> Process {
        let path = std::env::var("PATH").unwrap();
        let mut dev = Command::new("env");
        dev.arg("--default-signal=HUP,INT,TERM")
            .arg(self.path("dev"))
            .args(args)
            .env("PATH", format!("{}:{path}", self.path("stubs").display()))
            .env("STARTED", self.path("started"))
            .current_dir(self.path("elsewhere"));
        Process::spawn("./dev", dev, &self.path("dev.log")).unwrap()
    }
}

/// With the programs of `./dev demo`, which link another librdkafka than those of the tests.
#[tokio::test]
async fn demo_starts_twice_and_checks_its_arguments_first() {
    let folder = Folder::new("dev-test").unwrap();
    let run = |log: &str, args: &[&str]| {
        let mut dev = Command::new(tools::workspace().join("dev"));
        dev.args(args).current_dir(folder.path());
        Process::spawn("./dev", dev, &folder.path().join(log)).unwrap()
    };
    for log in ["first.log", "second.log"] {
        let port = Port::pick().unwrap().number().to_string();
        let mut demo = run(log, &["demo", "--port", &port]);
        says(&mut demo, "Ctrl-C stops everything", BUILD).await;
        demo.terminate();
        assert!(demo.wait(STEP).await.unwrap().success(), "{}", demo.log_tail());
    }
    // Its arguments are checked before anything is built.
    for (number, (args, status, said)) in [
        (["demo", "--help"].as_slice(), 0, "Usage: ./dev demo"),
        (&["demo", "-h"], 0, "(see more with '--help')"),
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
    // Paths are relative to the caller's folder.
    folder.write("torn.toml", "[clusters.default").unwrap();
    for (log, args) in [("own.log", ["demo"].as_slice()), ("recipe.log", &["-v", "demo"])] {
        let port = Port::pick().unwrap().number().to_string();
        let mut dev = run(log, &[args, &["--port", &port, "--config", "torn.toml"]].concat());
        assert!(!dev.wait(BUILD).await.unwrap().success(), "{}", dev.log_tail());
        assert!(dev.log_tail().contains("demo: cannot use torn.toml: "), "{}", dev.log_tail());
    }
    // As the program of a reader who follows the documents.
    let mut bridge = Command::new(tools::workspace().join("target/debug/sluicegate-bridge"));
    assert!(bridge.arg("--version").status().unwrap().success());
}

#[tokio::test]
async fn signal_leaves_no_process() {
    for (slow, signal, status) in [
        ("stubs/cargo", "-TERM", 143),
        ("stubs/cargo", "-INT", 130),
        ("stubs/cargo", "-HUP", 129),
        ("stubs/rustup", "-TERM", 143),
        ("stubs/rustup", "-INT", 130),
    ] {
        let project = Project::new();
        if slow == "stubs/rustup" {
            project.program("stubs/rustc", "echo /nowhere");
        }
        // Its child would outlive a program that is killed alone.
        project.program(
            slow,
            "sleep 600 & echo $$ $! >\"$STARTED.part\"; mv \"$STARTED.part\" \"$STARTED\"; wait",
        );
        let mut dev = project.run(&["demo"]);
        let started = async || fs::read_to_string(project.path("started")).map_err(|e| e.to_string());
        let started = dev.until("start it", STEP, started).await.unwrap();
        // This process only: a terminal's whole group would be told in any case.
        assert!(Command::new("kill").args([signal, &dev.id().to_string()]).status().unwrap().success());
        assert_eq!(dev.wait(STEP).await.unwrap().code(), Some(status), "{slow} {signal}: {}", dev.log_tail());
        for id in started.split_whitespace() {
            let left = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            assert!(!left.contains("VmRSS:"), "{slow} {signal}: {left}");
        }
    }
}

#[tokio::test]
async fn damaged_packages_are_fetched_again() {
    let project = Project::new();
    project.folder.write("package-lock.json", "").unwrap();
    // `whole` stands for what `npm ls` looks at.
    let npm = "case $1 in ls) test -e whole ;; \
               ci) echo fetched; mkdir -p node_modules; touch whole node_modules/.package-lock.json ;; esac";
    project.program("target/tools/bin/npm", npm);
    for (damage, fetched) in [(false, true), (false, false), (true, true)] {
        if damage {
            fs::remove_file(project.path("whole")).unwrap();
        }
        let mut dev = project.run(&["web"]);
        assert!(dev.wait(STEP).await.unwrap().success(), "{}", dev.log_tail());
        let log = fs::read_to_string(dev.log()).unwrap();
        assert_eq!(log.contains("fetched"), fetched, "damage: {damage}: {log}");
        fs::remove_file(dev.log()).unwrap();
    }
}

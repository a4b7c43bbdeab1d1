//! `sluicegate completions`, and what its scripts ask for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Instant;

use tokio::process::Command;

use super::*;

#[tokio::test]
async fn script_calls_the_program_and_needs_no_gateway() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let run = finish(command("", &["completions", shell]).env("SLUICEGATE_PROFILE", "absent")).await;
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(run.stdout.contains("_SLUICEGATE_COMPLETE"), "{shell}");
        assert!(run.stdout.contains(env!("CARGO_BIN_EXE_sluicegate")), "{shell}");
    }
}

#[tokio::test]
async fn names_of_topics_are_completed() {
    for (line, want) in [
        ("topics o", "orders open"),
        ("fetch or", "orders"),
        ("fetch ", "orders open bytes"),
        ("-q subscribe bytes o", "orders open"),
        ("produce -l file b", "bytes"),
    ] {
        assert_eq!(completed(&kafka::serve().await, line).await, want, "{line:?}");
    }
    let line = format!("fetch -u {} by", kafka::serve().await);
    assert_eq!(completed("ws://127.0.0.1:1/", &line).await, "bytes");
}

#[tokio::test]
async fn commands_and_options_are_completed() {
    let commands =
        "ping topics list-offsets fetch subscribe table produce admin check-routes completions help";
    for (line, want) in [
        ("", commands),
        ("pro", "produce"),
        ("admin s", "sessions"),
        ("fetch orders --isolation read_c", "read_committed"),
        ("fetch orders --fol", "--follow"),
        ("--cac", "--cacert"),
    ] {
        assert_eq!(completed("", line).await, want, "{line:?}");
    }
    let options = completed("", "produce orders ").await;
    assert!(options.contains("--partition") && options.contains("--url"), "{options}");
}

#[tokio::test]
async fn gateway_that_does_not_answer_is_not_waited_for() {
    let (_listener, url) = server::listener().await;
    let start = Instant::now();
    assert_eq!(completed(&url, "fetch or").await, "");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(completed("ws://127.0.0.1:1/", "fetch or").await, "");
}

#[tokio::test]
async fn words_that_are_not_unicode_are_no_obstacle() {
    let url = kafka::serve().await;
    let mut shell = command(&url, &["--", "sluicegate", "produce", "-l"]);
    shell.arg(OsStr::from_bytes(b"\xFF")).arg("by");
    shell.env("_SLUICEGATE_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "4");
    let run = finish(&mut shell).await;
    run.is(0, "bytes", "");
}

/// Words that bash offers for the last word of `line`, with nothing on standard error.
async fn completed(url: &str, line: &str) -> String {
    let script = r#"source <("$0" completions bash)
        COMP_WORDS=(sluicegate "$@"); COMP_CWORD=$#
        _clap_complete_sluicegate sluicegate "${COMP_WORDS[-1]}"
        echo "${COMPREPLY[*]}""#;
    let mut bash = Command::new("bash");
    bash.args(["-c", script, env!("CARGO_BIN_EXE_sluicegate")]).args(line.split(' '));
    bash.env("SLUICEGATE_URL", url).stdin(Stdio::null());
    let run = finish(&mut bash).await;
    assert_eq!((run.code, &*run.stderr), (Some(0), ""), "{run:?}");
    run.stdout.trim_end().to_owned()
}

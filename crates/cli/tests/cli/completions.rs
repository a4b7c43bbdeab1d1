//! `sluicegate completions`.

use crate::program::{command, finish};

#[tokio::test]
async fn script_completes_commands_without_a_gateway() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let run = finish(command("", &["completions", shell]).env("SLUICEGATE_PROFILE", "absent")).await;
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(run.stdout.contains("list-offsets") && run.stdout.contains("key-delimiter"), "{shell}");
    }
}

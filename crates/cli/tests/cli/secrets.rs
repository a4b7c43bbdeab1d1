//! Profiles and header files: secrets reach the gateway and nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::program::{Run, command, finish};
use crate::server;

#[tokio::test]
async fn headers_of_profile_file_and_environment_reach_the_gateway() {
    let (head, run) = ping(0o600, 0o600, "X-Env: 1").await;
    for line in ["authorization: Bearer s3cret", "x-own: 2", "x-env: 1"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(!run.stderr.contains("s3cret") && !run.stderr.contains("t0ken"), "{run:?}");
    assert!(!run.stderr.contains("warning"), "{run:?}");
}

#[tokio::test]
async fn readable_files_with_headers_are_warned_of() {
    for (config, token, end) in [
        (0o644, 0o600, "/sluicegate/config.toml: run chmod 600, or use header_files"),
        (0o600, 0o640, "/sluicegate/token: run chmod 600"),
    ] {
        let (_, run) = ping(config, token, "X-Env: 1").await;
        let (warning, rest) = run.stderr.split_once('\n').unwrap();
        assert!(warning.starts_with("sluicegate: warning: other users can read the headers in /"), "{run:?}");
        assert!(warning.ends_with(end) && !rest.contains("warning"), "{run:?}");
    }
}

#[tokio::test]
async fn header_that_cannot_be_sent_is_not_shown() {
    let run =
        finish(command("ws://127.0.0.1:1/", &["ping"]).env("SLUICEGATE_HEADERS", "X: s3\x01cret")).await;
    assert_eq!(run.code, Some(2), "{run:?}");
    assert_eq!(run.stderr, "sluicegate: failed to send the header \"X\": invalid header value\n");
}

/// Pings a gateway that refuses, with a configuration file and a header file of these modes; also the head of the
/// request.
async fn ping(mode: u32, token_mode: u32, headers: &str) -> (String, Run) {
    let (listener, url) = server::listener().await;
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("sluicegate/config.toml");
    fs::create_dir(config.parent().unwrap()).unwrap();
    let token = config.with_file_name("token");
    fs::write(&token, "Authorization: Bearer s3cret\n").unwrap();
    fs::set_permissions(&token, Permissions::from_mode(token_mode)).unwrap();
    let text = format!(
        "[profile.p]\nurl = \"{url}?key=t0ken\"\nheaders = {{ X-Own = \"2\", X-Env = \"0\" }}\n\
         header_files = [\"token\"]\n"
    );
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, Permissions::from_mode(mode)).unwrap();
    let head = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 401 x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let mut command = command("", &["ping", "--profile", "p"]);
    command.env("XDG_CONFIG_HOME", folder.path()).env("SLUICEGATE_HEADERS", headers);
    let run = finish(&mut command).await;
    (head.await.unwrap(), run)
}

//! Profiles and header files: secrets reach the gateway and nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use sluicegate_protocol::SessionExpiringResp;
use tempfile::TempDir;

use super::*;

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
        assert!(warning.starts_with("sluicegate: warning: other users can read the secrets in /"), "{run:?}");
        assert!(warning.ends_with(end) && !rest.contains("warning"), "{run:?}");
    }
}

/// A server that says that the identity expires gets the token that the file has by then.
#[tokio::test]
async fn token_of_a_file_is_renewed() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "first\n").unwrap();
    let replaced = file.clone();
    let url = server::serve(async move |mut session| {
        fs::write(&replaced, "second\n").unwrap();
        while let Some((sequence, request)) = session.any_request().await {
            match request {
                Req::CmdSession(_) => {
                    session.tell_limits(sequence).await;
                    let expiring = SessionExpiringResp { expires_in_ms: 1000 };
                    session.answer(sequence, Resp::SessionExpiringResp(expiring)).await;
                }
                Req::CmdAuth(auth) => {
                    assert_eq!(auth.token, "second");
                    return session.send(Message::Close(None)).await;
                }
                Req::CmdPing(ping) => {
                    session.answer(sequence, Resp::PongResp(PongResp { state: ping.state })).await;
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("the identity was not renewed");
    })
    .await;
    let run = finish(&mut command(&url, &["ping", "-v", "--token-file", file.to_str().unwrap()])).await;
    assert!(run.stderr.contains("renew the identity"), "{run:?}");
    for secret in ["first", "second"] {
        assert!(!run.stderr.contains(secret), "{run:?}");
    }
    let missing = finish(&mut command(&url, &["ping", "--token-file", "/nowhere"])).await;
    missing.tells(2, "", &["sluicegate: failed to log in: /nowhere: "]);
}

/// Pings a gateway that refuses, with a configuration file and a header file of these modes; also the head of the
/// request.
async fn ping(mode: u32, token_mode: u32, headers: &str) -> (String, Run) {
    let (url, heads) = server::http(vec![(401, String::new())]).await;
    let url = url.replace("http:", "ws:");
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("sluicegate/config.toml");
    fs::create_dir(config.parent().unwrap()).unwrap();
    let text = format!(
        "[profile.p]\nurl = \"{url}/?key=t0ken\"\nheaders = {{ X-Own = \"2\", X-Env = \"0\" }}\n\
         header_files = [\"token\"]\n"
    );
    let token = "Authorization: Bearer s3cret\n";
    for (file, text, mode) in [(&config, &*text, mode), (&config.with_file_name("token"), token, token_mode)]
    {
        fs::write(file, text).unwrap();
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }
    let mut command = command("", &["ping", "--profile", "p"]);
    command.env("XDG_CONFIG_HOME", folder.path()).env("SLUICEGATE_HEADERS", headers);
    let run = finish(&mut command).await;
    (heads.await.unwrap().remove(0), run)
}

//! Wrong usage and failing gateways, with their exit codes.

use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;

#[tokio::test]
async fn wrong_usage_is_one_line_and_exit_code_2() {
    for (args, words) in [
        ("-q", "requires a subcommand but one was not provided [subcommands: ping, topics, "),
        ("consume t", "unrecognized subcommand 'consume'; did you mean subscribe, for new messages"),
        ("fetch", "<TOPIC|--stream <STREAM>>"),
        ("fetch t -p x", "expected a partition number, 0 to 2147483647 (see sluicegate fetch --help)"),
        ("-u fetch ping -c 0", "(see sluicegate ping --help)"),
        ("fetch t -p -1", "'-1' for '--partition <PARTITION>': expected a partition number, 0 to 2147483647"),
        ("fetch t -p 0 --from soon", "expected an offset, -N, earliest, latest or s@TIME"),
        ("fetch t -p 0 --isolation x", "[possible values: read_uncommitted, read_committed]"),
        ("fetch t -p 0 -c 0", "expected a number, at least 1"),
        ("ping -c -1", "expected a number, at least 1"),
        ("fetch t -p 0 -f %s --json", "cannot be used with"),
        ("fetch t -p 0 -f %s -K :", "cannot be used with"),
        ("fetch t -p 0 --follow -e", "cannot be used with"),
        ("subscribe t --linger 10.1", "expected seconds, at most 10"),
        ("list-offsets t --at noon", "\"noon\" is neither milliseconds since 1970, a time like"),
        ("fetch t\n\n\x1b[2J -p 0 more", "unexpected argument 'more' found"),
        ("ping \x1b[2J", "unexpected argument '"),
        ("produce t -r novalue", "expected KEY=VALUE"),
        ("fetch --stream s -p 0", "'--stream <STREAM>' cannot be used with '--partition <PARTITION>'"),
        ("fetch --stream s --isolation read_committed", "cannot be used with '--isolation <LEVEL>'"),
        ("fetch --stream s -K :", "'--stream <STREAM>' cannot be used with '--key-delimiter <TEXT>'"),
        ("fetch --stream s -f %o[%p]", "a stream has no partitions: --format has %p"),
        ("subscribe --stream s --record-key k", "cannot be used with '--record-key <KEY>'"),
        ("subscribe t --subject a", "cannot be used with"),
        ("subscribe t --group g -p 0", "'--group <GROUP>' cannot be used with '--partition <PARTITION>'"),
        ("subscribe --stream s --group g", "cannot be used with"),
        ("subscribe t --group g --on-lag skip", "a group gets every message: --group has --on-lag skip"),
        ("list-offsets --stream s -p 0", "cannot be used with '--partition <PARTITION>'"),
        ("produce --stream s", "--stream needs --subject, or --json with a subject in each line"),
        ("produce --stream s --subject a -K :", "cannot be used with '--key-delimiter <TEXT>'"),
        ("produce t --message-id 1", "cannot be used with"),
        ("produce --stream s --subject a --value-schema 7", "used with '--value-schema <SUBJECT|ID>'"),
        ("fetch --stream s --decode", "'--stream <STREAM>' cannot be used with '--decode'"),
        ("fetch t --no-decode", "--json"),
        ("ping --timeout never", "expected seconds"),
        ("ping -q -v", "cannot be used with"),
        ("ping --cacert /nowhere", "failed to set up TLS: /nowhere: "),
        ("ping -H a:b -H Upgrade:x", "send the header \"Upgrade\": the handshake sets it"),
        ("ping -H X:s3\x01cret", "sluicegate: failed to send the header \"X\": invalid header value\n"),
        ("ping -u 127.0.0.1:8080", "failed to use the URL \"127.0.0.1:8080\": expected ws:// or wss://"),
        ("ping -u http://127.0.0.1/", "\"http://127.0.0.1/\": expected ws:// or wss://, a WebSocket route"),
        ("admin sessions", "the admin port needs a token: use --token-file, or set SLUICEGATE_ADMIN_TOKEN"),
        ("admin sessions --end", "--end needs a filter: --issuer, --subject, --route, --cluster, --addr"),
        ("admin sessions --end --id 1 -J", "used with '--json' (see sluicegate admin sessions --help)"),
        ("admin sessions --address 192.0.2.1:80", "invalid IP address syntax"),
        ("admin sessions --id 1 -u ws://g/", "the admin port is not the gateway: use --admin instead of"),
        ("-H a:b admin sessions --id 1", "the admin port is not the gateway: use --admin instead of --url"),
    ] {
        let run = run("ws://127.0.0.1:1/", args).await;
        run.tells(2, "", &[words]);
        let line = run.stderr.strip_suffix('\n').unwrap();
        assert!(line.starts_with("sluicegate: ") && !line.contains(char::is_control), "{args}: {line:?}");
    }
}

#[tokio::test]
async fn no_gateway_is_exit_code_3() {
    let (listener, url) = server::listener().await;
    drop(listener);
    let run = run(&url, "ping -c 1").await;
    run.tells(3, "", &[&format!("sluicegate: failed to connect to {url}: ")]);
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
}

#[tokio::test]
async fn no_arguments_get_the_help_as_an_error() {
    let run = run("", "").await;
    run.tells(2, "", &["Usage: sluicegate [OPTIONS] <COMMAND>\n", "  list-offsets  Show where"]);
}

#[tokio::test]
async fn refused_upgrade_shows_status_body_and_a_hint() {
    let page = format!("<!doctype html>\n<title>Live orders</title>\n{}", "<p>text".repeat(1_000));
    for (path, status, body, shown) in [
        ("", 503, "bridge \u{1b}[2J down\n", "503: bridge  [2J down\n"),
        (
            "",
            200,
            &page,
            "200: Live orders; the URL has no path: add that of a `pubsub` route, for example /pubsub\n",
        ),
        ("/topics", 404, "", "404; is /topics the path of a `pubsub` route?\n"),
    ] {
        let (url, _) = server::http(vec![(status, body.to_owned())]).await;
        let url = url.replace("http:", "ws:") + path;
        let told =
            format!("sluicegate: failed to open a WebSocket at {url}: the server answered HTTP {shown}");
        run(&url, "ping -c 1").await.is(3, "", &told);
    }
}

#[tokio::test]
async fn silent_server_is_exit_code_3_after_the_timeout() {
    let (_listener, url) = server::listener().await;
    let connecting = run(&url, "--timeout 0.1 ping -c 1").await;
    connecting.tells(3, "", &[&format!("sluicegate: failed to connect to {url} within 0.1 s\n")]);

    let url = server::serve(async |mut session: Session| while session.request().await.is_some() {}).await;
    let waiting = run(&url, "--timeout 0.1 list-offsets t").await;
    waiting.is(3, "", "sluicegate: failed to get an answer within 0.1 s\n");
}

#[tokio::test]
async fn closed_session_is_exit_code_3() {
    let url = server::serve(async |mut session: Session| {
        session.request().await;
        let close = CloseFrame { code: 1001.into(), reason: "drain".into() };
        session.send(Message::Close(Some(close))).await;
        session.request().await;
    })
    .await;
    let want = "sluicegate: failed to keep the session: the server closed it with 1001 \"drain\"\n";
    run(&url, "fetch t -p 0").await.is(3, "", want);
}

#[tokio::test]
async fn wrong_answer_is_exit_code_3_and_a_rejection_1() {
    for (resp, code, stderr) in [
        (Resp::PongResp(PongResp { state: "other".into() }), 3, "ping 1 came back with another state"),
        (server::failed("unknown command\x07"), 1, "sluicegate: unknown command\n"),
    ] {
        let (url, _) = server::tell(vec![resp]).await;
        let run = run(&url, "ping -c 1").await;
        assert_eq!(run.code, Some(code), "{run:?}");
        assert!(run.stderr.contains(stderr), "{}", run.stderr);
        assert!(run.stdout.contains("1 sent, 0 answered") && !run.stdout.contains("rtt"), "{}", run.stdout);
    }
}

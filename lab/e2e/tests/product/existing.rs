//! `envoy/existing.yaml`: Sluicegate merged into an Envoy that serves another application, and the document's parts of
//! it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sluicegate_client::{Client, ConnectError, Tls};
use sluicegate_stack::bridge::Bridge;
use sluicegate_stack::certificates::Authority;
use sluicegate_stack::envoy::Envoy;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::port::Port;
use sluicegate_stack::tools;
use sluicegate_stack::waiting::becomes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

const FILE: &str = include_str!("../../../../envoy/existing.yaml");
const PAGE: &str = include_str!("../../../../docs/how-to/envoy.md");
const SECRET: &str = "a-secret-of-16-or-more-characters";
const DISCOVERY: &str = "## Change routes without a restart";

#[tokio::test]
async fn merged_routes_work_beside_others() {
    check(false).await;
}

/// And one that is removed refuses new sessions.
#[tokio::test]
async fn routes_and_filter_in_files_of_their_own_work_too() {
    check(true).await;
}

#[test]
fn document_shows_parts_of_the_file() {
    let (merged, _) = PAGE.split_once(DISCOVERY).unwrap();
    let blocks = blocks(merged, "yaml");
    assert_eq!(blocks.len(), 5);
    let lines: Vec<&str> = FILE.lines().collect();
    for block in blocks {
        let part: Vec<&str> = block.lines().collect();
        let is_part = |lines: &[&str]| {
            let depth = lines[0].len() - lines[0].trim_start().len();
            lines.iter().zip(&part).all(|(line, shown)| line.get(depth..).unwrap_or_default() == *shown)
        };
        assert!(lines.windows(part.len()).any(is_part), "envoy/existing.yaml has no\n{block}");
    }
}

/// Starts the file, or what the document makes of it with discovery, with TLS on both sides of Envoy.
async fn check(discovery: bool) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("existing", 1, &[]).await.unwrap();
    let folder = Folder::new("existing").unwrap();
    let dir = folder.path();
    let authority = Authority::new("existing").unwrap();
    for (name, certificate) in [
        ("gateway", authority.server("localhost").unwrap()),
        ("bridge", authority.server("bridge.internal").unwrap()),
        ("client", authority.client("envoy").unwrap()),
    ] {
        folder.write(&format!("{name}.pem"), &certificate.certificate).unwrap();
        folder.write(&format!("{name}-key.pem"), &certificate.key).unwrap();
    }
    for name in ["ca.pem", "bridge-ca.pem", "gateways-ca.pem"] {
        folder.write(name, &authority.pem()).unwrap();
    }

    folder.write("gateway-secret", SECRET).unwrap();
    let config = edited(
        blocks(PAGE, "toml")[0],
        &[
            ("kafka-1:9092,kafka-2:9092", kafka.bootstrap()),
            ("/etc/sluicegate/", format!("{}/", dir.display())),
        ],
    );
    let config = folder.write("bridge.toml", &config).unwrap();
    let bridge = Bridge::start(&config, Vec::new(), dir).await.unwrap();
    let (gateway, admin) = (Port::pick().unwrap(), Port::pick().unwrap());
    let at = |port: u16| format!("address: 127.0.0.1, port_value: {port}");
    let text = edited(
        &if discovery { discovered(dir) } else { FILE.to_owned() },
        &[
            ("address: 127.0.0.1, port_value: 9901", at(admin.number())),
            ("address: 0.0.0.0, port_value: 8443", at(gateway.number())),
            ("address: 127.0.0.1, port_value: 3000", at(application().await.port())),
            ("address: bridge.internal, port_value: 7400", at(bridge.grpc().port())),
        ],
    );
    let text = own_files(&text, dir);
    for file in ["routes.yaml", "filter.yaml"].map(|name| dir.join(name)).iter().filter(|file| file.exists())
    {
        let text = own_files(&fs::read_to_string(file).unwrap(), dir);
        fs::write(file, text.replace("\"demo\"", &format!("{topic:?}"))).unwrap();
    }
    let envoy = Envoy::start_with(text.replace("\"demo\"", &format!("{topic:?}")), gateway, admin, dir);
    let envoy = envoy.await.unwrap();

    let ca = dir.join("ca.pem").display().to_string();
    let host = format!("localhost:{}", envoy.gateway().port());
    let curl = async |args: &[&str], path: &str| {
        let url = format!("https://{host}{path}");
        run("curl", &[&["-sSi", "-m", "20", "--cacert", &ca, &url], args].concat()).await
    };
    let written = curl(&["-d", "hello"], "/produce").await;
    assert!(written.contains(r#""partition":0,"offset":0"#), "{written}");
    let topics = curl(&[], "/kafka/topics").await;
    assert!(topics.contains(&format!("[{topic:?}]")), "{topics}");
    let session = format!("wss://{host}/pubsub");
    let fetch = ["--cacert", &ca, "-u", &session, "fetch", topic, "-p", "0", "--from", "earliest", "-c", "1"];
    let cli = tools::cli().unwrap().display().to_string();
    assert!(run(&cli, &fetch).await.contains("hello"));

    let other = curl(&["-H", "sluicegate-x: kept"], "/hello").await;
    assert!(other.contains("GET /hello ") && other.contains("sluicegate-x: kept"), "{other}");
    let upgrade = ["--http1.1", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket"];
    let refused = curl(&upgrade, "/hello").await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    if discovery {
        let tls = Tls::new(Some(Path::new(&ca)), None).unwrap();
        remove(dir, async || Client::builder(&session).tls(tls.clone()).connect().await).await;
    }
}

/// Removes the route for sessions while one is open, which goes on, and adds it again.
async fn remove(dir: &Path, open: impl AsyncFn() -> Result<Client, ConnectError>) {
    let session = open().await.unwrap();
    let [filter, routes] = ["filter.yaml", "routes.yaml"].map(|name| dir.join(name));
    // Envoy looks at a file when another takes its place.
    let publish = |file: &Path, text: &str| {
        let next = file.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, file).unwrap();
    };
    let becomes = async |what: &str, want: u16| {
        let status = async || match open().await {
            Ok(_) => 101,
            Err(ConnectError::Refused { status, .. }) => status,
            Err(other) => panic!("{other:?}"),
        };
        becomes(what, want, Duration::from_secs(10), status).await;
        session.ping("still there").await.unwrap();
    };
    let [whole_filter, whole_routes] = [&filter, &routes].map(|file| fs::read_to_string(file).unwrap());
    let kept = whole_filter.lines().filter(|line| !line.contains(r#"{"path": "/pubsub""#));
    publish(&filter, &kept.collect::<Vec<_>>().join("\n"));
    becomes("the status of a bridge that nobody tells the secret", 401).await;
    let (head, rest) = whole_routes.split_once("- match: {path: /pubsub}").unwrap();
    let (_, tail) = rest.split_once("- match: {path: /produce}").unwrap();
    publish(&routes, &format!("{head}- match: {{path: /produce}}{tail}"));
    becomes("the status of the other application", 403).await;
    publish(&filter, &whole_filter);
    publish(&routes, &whole_routes);
    becomes("the status of a route", 101).await;
}

/// The document's blocks on discovery, with the file's own routes and filter. Writes two of the files.
fn discovered(dir: &Path) -> String {
    let (_, section) = PAGE.split_once(DISCOVERY).unwrap();
    let [instead, node, routes_file, filter_file] = blocks(section, "yaml")[..] else { panic!("{section}") };
    let (head, rest) = FILE.split_once("          route_config:\n").unwrap();
    let (routes, rest) = rest.split_once("          http_filters:\n").unwrap();
    let (_, filter) = rest.split_once("            typed_config:\n").unwrap();
    let (filter, _) = filter.split_once("          # end\n").unwrap();
    let (_, tail) = rest.split_once("          # end\n").unwrap();
    let whole = |file: &str, place: &str, key: &str, lines: &str| {
        let lines = format!("{key}{lines}");
        let lines = lines.lines().map(|line| format!("{}\n", line.get(10..).unwrap_or_default()));
        let elided = file.lines().find(|line| line.trim_start().starts_with(place)).unwrap();
        file.replace(elided, &lines.collect::<String>())
    };
    let routes = whole(routes_file, "virtual_hosts: …", "", routes);
    let filter = whole(filter_file, "typed_config: …", "            typed_config:\n", filter);
    fs::write(dir.join("routes.yaml"), routes).unwrap();
    fs::write(dir.join("filter.yaml"), filter).unwrap();
    [node, head, instead, tail].concat()
}

fn own_files(text: &str, dir: &Path) -> String {
    let filter = tools::filter().unwrap().display().to_string();
    text.replace("/etc/envoy/sluicegate_filter.wasm", &filter)
        .replace("/etc/envoy/", &format!("{}/", dir.display()))
}

/// With each of the texts replaced, of which there is at least one.
fn edited(text: &str, edits: &[(&str, String)]) -> String {
    edits.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "no {old} in\n{text}");
        text.replace(old, new)
    })
}

/// The blocks of a language in a document.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let parts = page.split(&format!("```{language}\n")).skip(1).collect::<Vec<_>>();
    parts.into_iter().map(|rest| rest.split_once("```").unwrap().0).collect()
}

/// An application that answers with the head of each request.
async fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let length = client.read(&mut head).await.unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            client.write_all(answer.as_bytes()).await.unwrap();
            client.write_all(&head[..length]).await.unwrap();
        }
    });
    address
}

async fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

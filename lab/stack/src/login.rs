//! The OpenID provider of demo and tests, with the users of [`USERS`]: `examples/login/provider.ts`.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::folder::Folder;
use crate::http::client::{Client, Request};
use crate::port::Port;
use crate::process::Process;
use crate::{Error, http, tools};

/// A running provider. Dropping it stops it.
pub struct Provider {
    port: Port,
    /// The process, which ends with the demo.
    pub process: Process,
    _folder: Folder,
}

impl Provider {
    /// Starts the provider, and waits until it listens. Pages of `origins` can log users in, with access tokens that are
    /// valid for `lifetime`.
    pub async fn start(port: Port, origins: &[String], lifetime: Duration) -> Result<Self, Error> {
        let folder = Folder::new("login")?;
        tools::built(PACKAGE)?;
        let mut node = tools::typescript("examples/login/provider.ts")?;
        node.args(["--port", &port.number().to_string(), "--token-seconds", &lifetime.as_secs().to_string()]);
        node.args(origins.iter().flat_map(|origin| ["--origin", origin]));
        let mut process = Process::spawn("the OpenID provider", node, &folder.path().join("login.log"))?;
        let listens = async || http::is_ok(port.address(), "/jwks").await;
        process.until("listen", START_WITHIN, listens).await?;
        Ok(Self { port, process, _folder: folder })
    }

    /// The claim `iss` of its tokens, and its URL.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address())
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The table of the bridge's configuration that believes its tokens, as `[identity.NAME]`.
    pub fn table(&self, name: &str) -> String {
        let issuer = self.issuer();
        format!(
            "[identity.{name}]\nissuer = \"{issuer}\"\naudience = [\"{AUDIENCE}\"]\njwks_url = \"{issuer}/jwks\"\n"
        )
    }

    /// An access token for a program of this user, by client credentials (RFC 6749, section 4.4).
    pub async fn token(&self, user: &str) -> Result<String, String> {
        let credentials = STANDARD.encode(format!("{user}:{PROGRAM_SECRET}"));
        let request = Request::post("/token", "grant_type=client_credentials")
            .with("content-type", "application/x-www-form-urlencoded")
            .with("authorization", format!("Basic {credentials}"));
        let response = Client::connect(self.address()).await?.ask(request).await?;
        let answer: Value = serde_json::from_slice(&response.body).map_err(|error| error.to_string())?;
        let token = answer.get("access_token").and_then(Value::as_str);
        token.map(str::to_owned).ok_or_else(|| format!("{} {answer}", response.status))
    }
}

/// The claims `sub` of its users.
pub const USERS: [&str; 2] = ["alice", "bob"];
/// The secret of clients whose id is a user's, for programs of that user.
pub const PROGRAM_SECRET: &str = "demo";
/// The claim `aud` of its access tokens.
const AUDIENCE: &str = "sluicegate-demo";
const PACKAGE: &str = "node_modules/oidc-provider/package.json";
const START_WITHIN: Duration = Duration::from_secs(10);

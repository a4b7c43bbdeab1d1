//! A real nginx that relays WebSocket upgrades to the bridge's own endpoint, as APISIX does.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::port::Port;
use crate::process::Process;
use crate::{Error, folder, tools};
use sluicegate_protocol::metadata::{
    CLUSTER, CLUSTER_DEFINITION, GATEWAY_SECRET, SUBPROTOCOL, TABLES, WRITE,
};

pub struct Nginx {
    gateway: Port,
    pub process: Process,
}

/// The gateway's headers for upgrades to one path. They replace the client's.
#[derive(Clone, Debug)]
pub struct Route {
    path: String,
    metadata: Vec<(&'static str, String)>,
}

impl Route {
    /// A route to the cluster `default`, without further headers.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), metadata: Vec::new() }.with(CLUSTER, "default")
    }

    /// Sets one header of [`sluicegate_protocol::metadata`]. Quotation marks, backslashes and `$` are special to nginx.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.metadata.retain(|(other, _)| *other != name);
        self.metadata.push((name, value.into()));
        self
    }

    fn location(&self) -> String {
        let value =
            |name| self.metadata.iter().find(|(other, _)| *other == name).map_or("", |(_, value)| value);
        // nginx omits a header with an empty value, the client's included.
        let metadata =
            METADATA.map(|name| format!("proxy_set_header {name} \"{}\";\n", value(name))).concat();
        let Self { path, .. } = self;
        format!("location = \"{path}\" {{\n{UPGRADE}{metadata}proxy_pass http://bridge$upstream_uri;\n}}\n")
    }
}

impl Nginx {
    /// Starts nginx in front of a bridge, with its configuration and log in `dir`, and waits until it accepts
    /// connections.
    pub async fn start(
        gateway: Port,
        bridge: SocketAddr,
        routes: &[Route],
        dir: &Path,
    ) -> Result<Self, Error> {
        let file = tools::workspace().join("lab/stack/nginx/nginx.conf");
        let text = fs::read_to_string(&file).map_err(Error::failed(format!("read {}", file.display())))?;
        let routes: String = routes.iter().map(Route::location).collect();
        let text = text
            .replace("GATEWAY", &gateway.address().to_string())
            .replace("BRIDGE", &bridge.to_string())
            .replace("ROUTES", &routes);
        folder::write(dir, "nginx.conf", &text)?;
        let mut command = Command::new(tools::nginx()?);
        // Paths in its configuration are relative to this.
        command.arg("-p").arg(dir).args(["-c", "nginx.conf", "-e", "stderr"]);
        let mut process = Process::spawn("nginx", command, &dir.join("nginx.log"))?;
        process.until("listen", START_WITHIN, async || gateway.listens().await).await?;
        Ok(Self { gateway, process })
    }

    pub fn gateway(&self) -> SocketAddr {
        self.gateway.address()
    }
}

/// Directives that APISIX and the filter set too.
const UPGRADE: &str = "proxy_set_header Host $http_host;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $http_connection;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header Sec-WebSocket-Extensions '';
";
/// Headers that are removed from clients' requests. The filter removes them by prefix, nginx those that the tests send.
const METADATA: [&str; 7] =
    [CLUSTER, CLUSTER_DEFINITION, GATEWAY_SECRET, SUBPROTOCOL, TABLES, WRITE, "sluicegate-x"];
const START_WITHIN: Duration = Duration::from_secs(10);

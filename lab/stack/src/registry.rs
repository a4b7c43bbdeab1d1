//! Schema registries: `lab/stack/registry`, which is srfake of franz-go, or Apicurio's if a recipe wants it.

#![expect(clippy::panic, reason = "test code: a failure is a panic")]

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::folder::Folder;
use crate::http::client::{self, Request};
use crate::http::is_ok;
use crate::port::Port;
use crate::process::Process;
use crate::{Error, tools};

/// A running registry. Its schemas are in its memory.
pub struct Registry {
    port: Port,
    _folder: Folder,
    /// The header that requests must have, or nothing.
    authorization: String,
    pub process: Process,
}

impl Registry {
    /// Starts a registry without schemas.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(&[], "").await
    }

    /// Starts a registry with `options` of `lab/stack/registry`, which answers only requests with this `authorization`.
    pub async fn start_with(options: &[String], authorization: &str) -> Result<Self, Error> {
        let (port, folder) = (Port::pick()?, Folder::new("registry")?);
        let mut process = spawn(&port, &folder, options, authorization)?;
        let listens = async || match tools::apicurio() {
            Some(_) => is_ok(port.address(), &format!("{APICURIO}/subjects")).await,
            None => port.listens().await,
        };
        process.until("listen", Duration::from_secs(60), listens).await?;
        Ok(Self { port, _folder: folder, authorization: authorization.to_owned(), process })
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its URL, without TLS.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address(), base())
    }

    /// Registers a schema, as `POST /subjects/SUBJECT/versions` takes it, and returns its id.
    pub async fn register(&self, subject: &str, schema: &Value) -> u32 {
        let path = format!("{}/subjects/{subject}/versions", base());
        let request = Request::post(&path, schema.to_string()).with("content-type", "application/json");
        let answer = client::ask(self.address(), request.with("authorization", &self.authorization)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let id = answer.json().get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        id.unwrap_or_else(|| panic!("no id: {answer:?}"))
    }

    /// The number of requests so far, by path.
    pub async fn requests(&self) -> Value {
        client::ask(self.address(), Request::get("/-/requests")).await.json()
    }
}

fn spawn(port: &Port, folder: &Folder, options: &[String], authorization: &str) -> Result<Process, Error> {
    let address = port.address();
    let command = match tools::apicurio() {
        Some(apicurio) => {
            let mut command = Command::new(tools::apicurio_java()?);
            command.args(["-Xmx512m", "-jar"]).arg(apicurio.join("quarkus-run.jar"));
            command.env("QUARKUS_HTTP_HOST", address.ip().to_string());
            command.env("QUARKUS_HTTP_PORT", address.port().to_string()).env("QUARKUS_MANAGEMENT_PORT", "0");
            command
        }
        None => {
            let mut command = Command::new(tools::schema_registry()?);
            command.arg("-listen").arg(address.to_string()).args(options);
            if !authorization.is_empty() {
                command.args(["-authorization", authorization]);
            }
            command
        }
    };
    Process::spawn("the schema registry", command, &folder.path().join("registry.log"))
}

/// The path of Confluent's API.
fn base() -> &'static str {
    if tools::apicurio().is_some() { APICURIO } else { "" }
}

const APICURIO: &str = "/apis/ccompat/v7";

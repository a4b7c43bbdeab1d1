//! Paths of programs: built by cargo beside this one, or installed by `./dev` into `target/tools`.
//!
//! The environment [`VARIABLES`] override them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

pub fn envoy() -> Result<PathBuf, Error> {
    find("SLUICEGATE_ENVOY", "Envoy", workspace().join("target/tools/bin/envoy"), INSTALL)
}

pub fn nginx() -> Result<PathBuf, Error> {
    find("SLUICEGATE_NGINX", "nginx", workspace().join("target/tools/bin/nginx"), INSTALL)
}

pub fn nats() -> Result<PathBuf, Error> {
    find("SLUICEGATE_NATS", "nats-server", workspace().join("target/tools/bin/nats-server"), INSTALL)
}

pub fn schema_registry() -> Result<PathBuf, Error> {
    existing("the schema registry", workspace().join("target/tools/bin/schema-registry"), INSTALL)
}

/// The folder of Apicurio's registry, if a recipe wants it.
pub fn apicurio() -> Option<PathBuf> {
    env::var_os("SLUICEGATE_APICURIO").map(PathBuf::from)
}

/// The Java for Apicurio's registry.
pub fn apicurio_java() -> Result<PathBuf, Error> {
    existing(
        "Apicurio's Java",
        workspace().join("target/tools/bin/apicurio-java"),
        "`./dev apicurio` installs it",
    )
}

/// Python with the packages of `./dev`, and a program, a file of the workspace.
pub fn python(file: &str) -> Result<Command, Error> {
    let python = workspace().join("target/tools/venv/bin/python");
    let mut command = Command::new(existing("Python", python, INSTALL)?);
    command.arg("-B").arg(workspace().join(file));
    Ok(command)
}

/// The folder of Kafka's jars.
pub fn kafka_lib() -> Result<PathBuf, Error> {
    let path = workspace().join("target/tools/kafka/lib");
    find("SLUICEGATE_KAFKA_LIB", "Apache Kafka", path, INSTALL)
}

/// The expected prefix of Kafka's version, if a recipe sets one.
pub fn kafka_version() -> Option<String> {
    env::var("SLUICEGATE_KAFKA_VERSION").ok()
}

pub fn bridge() -> Result<PathBuf, Error> {
    find("SLUICEGATE_BRIDGE", "the bridge", beside_this("sluicegate-bridge")?, BUILD)
}

pub fn cli() -> Result<PathBuf, Error> {
    find("SLUICEGATE_CLI", "the command line client", beside_this("sluicegate")?, BUILD)
}

/// The demo as `./dev demo` runs it, with a bridge of its own beside it.
pub fn demo() -> Result<PathBuf, Error> {
    existing("the demo", target_dir()?.join("debug/demo"), BUILD)
}

pub fn filter() -> Result<PathBuf, Error> {
    let path = target_dir()?.join("wasm32-wasip1/wasm/sluicegate_filter.wasm");
    find("SLUICEGATE_FILTER", "the filter", path, "`./dev wasm` builds it")
}

/// Whether the filter is the one that is built here.
pub fn filter_is_of_this_version() -> bool {
    env::var_os("SLUICEGATE_FILTER").is_none()
}

/// Whether the bridge is the one that is built here.
pub fn bridge_is_of_this_version() -> bool {
    env::var_os("SLUICEGATE_BRIDGE").is_none()
}

/// A file of the workspace that is there once `./dev web` has built the pages.
pub fn built(file: &str) -> Result<PathBuf, Error> {
    existing("the page", workspace().join(file), "`./dev web` builds it")
}

pub fn node() -> Result<PathBuf, Error> {
    find("SLUICEGATE_NODE", "Node", workspace().join("target/tools/bin/node"), INSTALL)
}

/// Node with a program in TypeScript, a file of the workspace.
pub fn typescript(file: &str) -> Result<Command, Error> {
    let mut command = Command::new(node()?);
    command.args(["--disable-warning=ExperimentalWarning", "--experimental-transform-types"]);
    command.arg(workspace().join(file));
    Ok(command)
}

/// The project's root.
pub fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}

/// Cargo's target folder, which contains this program.
pub fn target_dir() -> Result<PathBuf, Error> {
    Ok(profile_dir()?.parent().unwrap_or(workspace()).to_owned())
}

fn beside_this(program: &str) -> Result<PathBuf, Error> {
    Ok(profile_dir()?.join(program))
}

/// `target/debug` or the like. Test programs are in its `deps`, others in the folder itself.
fn profile_dir() -> Result<PathBuf, Error> {
    let program = env::current_exe().map_err(Error::failed("find this program's path"))?;
    let dir = program.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).unwrap_or(workspace());
    Ok(dir.to_owned())
}

fn find(
    variable: &str,
    what: &'static str,
    default: PathBuf,
    remedy: &'static str,
) -> Result<PathBuf, Error> {
    existing(what, env::var_os(variable).map_or(default, PathBuf::from), remedy)
}

fn existing(what: &'static str, path: PathBuf, remedy: &'static str) -> Result<PathBuf, Error> {
    if path.exists() { Ok(path) } else { Err(Error::Missing { what, path, remedy }) }
}

/// A number that recipes pass to tests in `name`, one of [`VARIABLES`]; by default `default`.
#[expect(clippy::panic, reason = "test code: a misspelt number must not become a short run")]
pub fn number(name: &str, default: u64) -> u64 {
    let given = env::var_os(name).map_or(Ok(default), |text| text.to_string_lossy().parse());
    given.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The size of a test: `full` in recipes that set `SLUICEGATE_FULL`, otherwise `small`, which still shows that it works.
pub fn scale<T>(small: T, full: T) -> T {
    if env::var_os("SLUICEGATE_FULL").is_some() { full } else { small }
}

pub const VARIABLES: [&str; 14] = [
    "SLUICEGATE_FULL",
    "SLUICEGATE_ENVOY",
    "SLUICEGATE_NATS",
    "SLUICEGATE_NGINX",
    "SLUICEGATE_KAFKA_LIB",
    "SLUICEGATE_KAFKA_VERSION",
    "SLUICEGATE_BRIDGE",
    "SLUICEGATE_CLI",
    "SLUICEGATE_FILTER",
    "SLUICEGATE_NODE",
    "SLUICEGATE_APICURIO",
    "SLUICEGATE_CHURN_ROUNDS",
    "SLUICEGATE_DIFFERENTIAL_ROUNDS",
    "SLUICEGATE_DIFFERENTIAL_SEED",
];
const INSTALL: &str = "`./dev e2e` installs it";
const BUILD: &str = "`./dev e2e` and `./dev demo` build it";

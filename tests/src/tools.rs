//! Paths of programs: those that cargo built beside this one, and those that `./dev` installed into `target/tools`.
//!
//! The environment [`VARIABLES`] name others.

use std::env;
use std::path::{Path, PathBuf};

use crate::Error;

/// The Envoy program.
///
/// # Errors
/// [`Error::Missing`].
pub fn envoy() -> Result<PathBuf, Error> {
    find("SLUICEGATE_ENVOY", "Envoy", workspace().join("target/tools/bin/envoy"), INSTALL)
}

/// The nginx program.
///
/// # Errors
/// [`Error::Missing`].
pub fn nginx() -> Result<PathBuf, Error> {
    find("SLUICEGATE_NGINX", "nginx", workspace().join("target/tools/bin/nginx"), INSTALL)
}

/// The folder of Kafka's jars.
///
/// # Errors
/// [`Error::Missing`].
pub fn kafka_lib() -> Result<PathBuf, Error> {
    let path = workspace().join("target/tools/kafka/lib");
    find("SLUICEGATE_KAFKA_LIB", "Apache Kafka", path, INSTALL)
}

/// How Kafka's version has to begin, where a recipe chose one.
#[must_use]
pub fn kafka_version() -> Option<String> {
    env::var("SLUICEGATE_KAFKA_VERSION").ok()
}

/// The bridge.
///
/// # Errors
/// [`Error::Missing`].
pub fn bridge() -> Result<PathBuf, Error> {
    find("SLUICEGATE_BRIDGE", "the bridge", beside_this("sluicegate-bridge")?, BUILD)
}

/// The command line client.
///
/// # Errors
/// [`Error::Missing`].
pub fn cli() -> Result<PathBuf, Error> {
    find("SLUICEGATE_CLI", "the command line client", beside_this("sluicegate")?, BUILD)
}

/// The filter.
///
/// # Errors
/// [`Error::Missing`].
pub fn filter() -> Result<PathBuf, Error> {
    let path = target_dir()?.join("wasm32-wasip1/wasm/sluicegate_filter.wasm");
    find("SLUICEGATE_FILTER", "the filter", path, "`./dev wasm` builds it")
}

/// The project's root.
#[must_use]
pub fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Cargo's target folder, which this program runs from.
///
/// # Errors
/// [`Error::Io`] where the system does not say what program this is.
pub fn target_dir() -> Result<PathBuf, Error> {
    Ok(profile_dir()?.parent().unwrap_or(workspace()).to_owned())
}

fn beside_this(program: &str) -> Result<PathBuf, Error> {
    Ok(profile_dir()?.join(program))
}

/// `target/debug` or the like: test programs lie in its `deps`, others in itself.
fn profile_dir() -> Result<PathBuf, Error> {
    let program = env::current_exe().map_err(Error::io("find out what program this is"))?;
    let dir = program.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).unwrap_or(workspace());
    Ok(dir.to_owned())
}

fn find(
    variable: &str,
    what: &'static str,
    default: PathBuf,
    remedy: &'static str,
) -> Result<PathBuf, Error> {
    let path = env::var_os(variable).map_or(default, PathBuf::from);
    if path.exists() { Ok(path) } else { Err(Error::Missing { what, path, remedy }) }
}

/// A number that a recipe may give to a test: `name` is one of [`VARIABLES`], and `default` what it is otherwise.
#[must_use]
#[expect(clippy::panic, reason = "for tests alone: a long run that was misspelt is not a short one")]
pub fn number(name: &str, default: u64) -> u64 {
    let given = env::var_os(name).map_or(Ok(default), |text| text.to_string_lossy().parse());
    given.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The environment's names for all of these.
pub const VARIABLES: [&str; 10] = [
    "SLUICEGATE_ENVOY",
    "SLUICEGATE_NGINX",
    "SLUICEGATE_KAFKA_LIB",
    "SLUICEGATE_KAFKA_VERSION",
    "SLUICEGATE_BRIDGE",
    "SLUICEGATE_CLI",
    "SLUICEGATE_FILTER",
    "SLUICEGATE_SOAK_ROUNDS",
    "SLUICEGATE_DIFFERENTIAL_ROUNDS",
    "SLUICEGATE_DIFFERENTIAL_SEED",
];
const INSTALL: &str = "`./dev e2e` installs it";
const BUILD: &str = "`./dev e2e` and `./dev demo` build it";

//! Makes what is released out of what is built: images, archives, bills of materials, checksums and notes.
//!
//! 1. [`source`], [`check`]: the version and its commit
//! 2. [`crates`], [`notices`], [`sbom`]: what the programs contain
//! 3. [`images`] in [`oci`] layouts; the Helm [`chart`]; [`artefacts`]: all files of a release
//! 4. [`archive`]: archives with the same bytes on every machine

mod archive;
mod artefacts;
mod chart;
mod check;
mod crates;
mod images;
mod notices;
mod oci;
mod sbom;
mod source;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use ring::digest::{SHA256, digest};

use crate::artefacts::Artefacts;
use crate::source::Source;

/// Packs what `./dev` has built
#[derive(Parser)]
#[command(name = "release")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fail unless this version can be released from here
    Check { version: String },
    /// Write both images
    Images {
        #[command(flatten)]
        parts: Parts,
        /// Where to
        folder: PathBuf,
    },
    /// Write everything but the packages of other tools
    Pack {
        #[command(flatten)]
        parts: Parts,
        /// Where to
        folder: PathBuf,
    },
    /// Print the CA certificates of the bridge's image, in PEM
    Roots,
    /// Write SHA256SUMS of all files of a folder
    Sums { folder: PathBuf },
}

/// Architectures and contents of the programs.
#[derive(clap::Args)]
struct Parts {
    /// Architectures of the programs
    #[arg(long, value_enum, value_delimiter = ',', required = true)]
    architectures: Vec<Architecture>,
    /// Licence of something that is linked but no crate
    #[arg(long, value_name = "NAME=FILE", value_parser = notice)]
    notice: Vec<(String, PathBuf)>,
}

/// An architecture, in Go's words.
#[derive(Clone, Copy, ValueEnum)]
enum Architecture {
    Amd64,
    Arm64,
}

fn main() -> ExitCode {
    match run(Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "release: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Box<dyn Error>> {
    match task {
        Task::Check { version } => {
            let source = Source::here()?;
            let changelog = fs::read_to_string("CHANGELOG.md")?;
            let chart = fs::read_to_string("deploy/helm/sluicegate/Chart.yaml")?;
            check::none(&check::obstacles(&version, &source.version, &chart, &changelog, source::is_dirty()?))
        }
        Task::Images { parts, folder } => Artefacts::new(Source::here()?, parts, folder)?.images(),
        Task::Pack { parts, folder } => Artefacts::new(Source::here()?, parts, folder)?.all(),
        Task::Roots => Ok(std::io::stdout().write_all(images::roots().as_bytes())?),
        Task::Sums { folder } => artefacts::sums(&folder),
    }
}

fn notice(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("expected NAME=FILE")?;
    Ok((name.to_owned(), PathBuf::from(file)))
}

/// The SHA-256 of `bytes` in hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

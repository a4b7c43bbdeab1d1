//! The files of a release.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::archive::{Entry, gzip, tar};
use crate::crates;
use crate::images::{self, Program};
use crate::oci::Layout;
use crate::source::Source;
use crate::{Architecture, Parts, chart, check, notices, sbom, sha256};

/// A release in the making.
pub(crate) struct Artefacts {
    source: Source,
    parts: Parts,
    folder: PathBuf,
    notes: Vec<String>,
}

impl Artefacts {
    /// A release whose files go into `folder`.
    pub(crate) fn new(source: Source, parts: Parts, folder: PathBuf) -> Result<Self, Box<dyn Error>> {
        fs::create_dir_all(&folder)?;
        Ok(Self { source, parts, folder, notes: Vec::new() })
    }

    pub(crate) fn images(mut self) -> Result<(), Box<dyn Error>> {
        self.bridge_image()?;
        self.filter_image()
    }

    /// All that this program makes.
    pub(crate) fn all(mut self) -> Result<(), Box<dyn Error>> {
        self.bridge_image()?;
        self.filter_image()?;
        for architecture in self.parts.architectures.clone() {
            self.program(
                "sluicegate-bridge",
                architecture,
                &[("bridge.toml", "crates/bridge/example.toml")],
            )?;
            self.program("sluicegate-cli", architecture, &[])?;
        }
        self.filter()?;
        let chart = chart::package(Path::new("deploy/helm/sluicegate"), self.source.time)?;
        self.write(&format!("sluicegate-chart-{}.tgz", self.source.version), &chart)?;
        let changelog = fs::read_to_string("CHANGELOG.md")?;
        let changes = check::section(&changelog, &self.source.version).unwrap_or_default();
        let notes = format!("{changes}\n\n### Images\n\n{}\n", self.notes.join("\n"));
        self.write("RELEASE-NOTES.md", notes.as_bytes())
    }

    fn bridge_image(&mut self) -> Result<(), Box<dyn Error>> {
        let mut programs = Vec::new();
        let mut notices = Vec::new();
        for architecture in &self.parts.architectures {
            let contents = self.contents("sluicegate-bridge", architecture.target())?;
            let executable = built(architecture.target(), "sluicegate-bridge")?;
            programs.push(Program { architecture: architecture.name(), executable, sbom: contents.sbom });
            notices = contents.notices;
        }
        let image = images::bridge(&self.source, &notices, programs)?;
        self.layout("sluicegate-bridge-image", images::BRIDGE, &image)
    }

    fn filter_image(&mut self) -> Result<(), Box<dyn Error>> {
        let contents = self.contents("sluicegate-filter", WASM)?;
        let image = images::filter(&self.source, &contents.notices, &filter()?)?;
        self.layout("sluicegate-filter-image", images::FILTER, &image)
    }

    fn layout(&mut self, file: &str, name: &str, layout: &Layout) -> Result<(), Box<dyn Error>> {
        let version = &self.source.version;
        self.notes.push(format!("- `{name}:{version}@{}`", layout.digest));
        self.write(&format!("{file}-{version}.oci.tar"), &layout.tar)?;
        self.write(&format!("{file}-{version}.digest"), format!("{}\n", layout.digest).as_bytes())
    }

    /// An archive of a program with its notices, and its bill of materials.
    fn program(
        &self,
        package: &str,
        architecture: Architecture,
        examples: &[(&str, &str)],
    ) -> Result<(), Box<dyn Error>> {
        let name = format!("{package}-{}-linux-{}", self.source.version, architecture.name());
        let program = if package == "sluicegate-cli" { "sluicegate" } else { package };
        let contents = self.contents(package, architecture.target())?;
        let executable = built(architecture.target(), program)?;
        let mut entries = vec![Entry::program(format!("{name}/{program}"), executable)];
        for (file, example) in examples {
            entries.push(Entry::file(format!("{name}/{file}"), read(Path::new(example))?));
        }
        entries.extend(
            contents
                .notices
                .into_iter()
                .map(|notice| Entry::file(format!("{name}/{}", notice.path), notice.bytes)),
        );
        self.write(&format!("{name}.tar.gz"), &gzip(&tar(&entries, self.source.time)?)?)?;
        self.write(&format!("{name}.cdx.json"), &contents.sbom)
    }

    fn filter(&self) -> Result<(), Box<dyn Error>> {
        let (wasm, name) = (filter()?, format!("sluicegate_filter-{}.wasm", self.source.version));
        self.write(&format!("{name}.sha256"), format!("{}  {name}\n", sha256(&wasm)).as_bytes())?;
        self.write(&name, &wasm)?;
        let contents = self.contents("sluicegate-filter", WASM)?;
        self.write(&format!("sluicegate_filter-{}.cdx.json", self.source.version), &contents.sbom)?;
        let third = contents.notices.into_iter().find(|notice| notice.path == THIRD_PARTY);
        let third = third.ok_or("the filter has no notices")?;
        self.write(&format!("sluicegate_filter-{}.{THIRD_PARTY}", self.source.version), &third.bytes)
    }

    fn contents(&self, package: &str, target: &str) -> Result<Contents, Box<dyn Error>> {
        let crates = crates::linked(package, target)?;
        let libraries = crates::libraries(&crates)?;
        let third = notices::text(&crates, &libraries, &self.parts.notice)?;
        Ok(Contents {
            sbom: sbom::cyclonedx(package, &self.source, &crates, &libraries).into_bytes(),
            notices: vec![
                Entry::file("LICENSE", read(Path::new("LICENSE"))?),
                Entry::file(THIRD_PARTY, third),
            ],
        })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let path = self.folder.join(name);
        Ok(fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?)
    }
}

struct Contents {
    sbom: Vec<u8>,
    notices: Vec<Entry>,
}

impl Architecture {
    fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }
}

/// Writes the SHA-256 of all files of a folder, as `sha256sum --check` reads them.
pub(crate) fn sums(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != SUMS {
            lines.push((name, sha256(&read(&entry.path())?)));
        }
    }
    lines.sort();
    let lines: String = lines.into_iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
    Ok(fs::write(folder.join(SUMS), lines)?)
}

fn built(target: &str, program: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    read(&target_folder().join(target).join("dist").join(program))
}

fn filter() -> Result<Vec<u8>, Box<dyn Error>> {
    read(&target_folder().join(WASM).join("wasm/sluicegate_filter.wasm"))
}

fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

fn read(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?)
}

const WASM: &str = "wasm32-wasip1";
const THIRD_PARTY: &str = "THIRD-PARTY.txt";
const SUMS: &str = "SHA256SUMS";

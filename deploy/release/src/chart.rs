//! The Helm chart as one file, as `helm install` and `helm push` read it.

use std::error::Error;
use std::fs;
use std::path::Path;

use crate::archive::{Entry, gzip, tar};

/// The chart in `folder`, without the values of its tests, all files from `time`, in seconds since 1970.
///
/// Helm's own `package` would give each file the time of packing.
pub(crate) fn package(folder: &Path, time: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut entries = Vec::new();
    add(folder, "sluicegate", &mut entries)?;
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(gzip(&tar(&entries, time)?)?)
}

fn add(folder: &Path, name: &str, entries: &mut Vec<Entry>) -> Result<(), Box<dyn Error>> {
    for file in fs::read_dir(folder)? {
        let file = file?;
        let path = format!("{name}/{}", file.file_name().to_string_lossy());
        if path == VALUES_OF_TESTS {
            continue;
        }
        if file.file_type()?.is_dir() {
            add(&file.path(), &path, entries)?;
        } else {
            entries.push(Entry::file(path, fs::read(file.path())?));
        }
    }
    Ok(())
}

const VALUES_OF_TESTS: &str = "sluicegate/ci";

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;

    #[test]
    fn chart_is_packed_without_the_values_of_its_tests() {
        let chart = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../helm/sluicegate"));
        let packed = package(chart, 7).unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(packed.as_slice()));
        let paths =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        let paths: Vec<String> = paths.collect();
        for file in ["Chart.yaml", "values.yaml", "values.schema.json", "templates/deployment.yaml"] {
            assert!(paths.contains(&format!("sluicegate/{file}")), "{file} in {paths:?}");
        }
        assert!(!paths.iter().any(|path| path.contains("/ci")), "{paths:?}");
    }
}

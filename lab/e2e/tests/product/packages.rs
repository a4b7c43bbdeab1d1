//! Packages for registries are complete, and the links of their pages work outside of this repository.

use std::fs;
use std::process::Command;

use sluicegate_stack::folder::Folder;
use sluicegate_stack::tools;

use crate::product::documents::anchors;

const REPOSITORY: &str = "https://github.com/sluicegate/sluicegate";
/// Files that are read outside of the repository.
const READ_ELSEWHERE: [&str; 5] = [
    "clients/typescript/README.md",
    "crates/client/README.md",
    "deploy/helm/sluicegate/Chart.yaml",
    "deploy/helm/sluicegate/values.yaml",
    "deploy/helm/sluicegate/values.schema.json",
];

#[test]
fn rust_client_can_be_packed() {
    let folder = Folder::new("package").unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "package",
        "-p",
        "sluicegate-protocol",
        "-p",
        "sluicegate-client",
        "--no-verify",
        "--allow-dirty",
        "--offline",
    ]);
    cargo.arg("--target-dir").arg(folder.path()).current_dir(tools::workspace());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn packages_name_the_repository() {
    for file in ["Cargo.toml", "clients/typescript/package.json", "deploy/helm/sluicegate/Chart.yaml"] {
        let text = fs::read_to_string(tools::workspace().join(file)).unwrap();
        assert!(text.contains(REPOSITORY), "{file}");
    }
}

#[test]
fn links_of_packages_work_outside_of_the_repository() {
    let pages = format!("{REPOSITORY}/blob/main/");
    for file in READ_ELSEWHERE {
        let text = fs::read_to_string(tools::workspace().join(file)).unwrap();
        assert!(!text.contains("](.") && !text.contains("](#"), "{file} has a relative link");
        let links = text
            .split(&pages)
            .skip(1)
            .map(|rest| rest.split(|end: char| end.is_whitespace() || ");".contains(end)).next().unwrap());
        for link in links {
            let (page, anchor) = link.split_once('#').unwrap_or((link, ""));
            let page = fs::read_to_string(tools::workspace().join(page));
            let page = page.unwrap_or_else(|error| panic!("{file}: {link}: {error}"));
            assert!(
                anchor.is_empty() || anchors(&page).iter().any(|known| known == anchor),
                "{file}: {link}"
            );
        }
        let elsewhere = text.split("docs/").count() - 1;
        assert_eq!(
            elsewhere,
            text.matches(&format!("{pages}docs/")).count(),
            "{file} names a file without its address"
        );
    }
}

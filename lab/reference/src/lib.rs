//! Compares the generated parts of `docs/reference` with the code, in tests; `./dev gen` rewrites them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

/// Expects the part of the page between the markers of `region` to be `fresh`.
#[track_caller]
pub fn check(page: &str, region: &str, fresh: &str) {
    // Regions of one page are rewritten one after the other.
    static WRITING: Mutex<()> = Mutex::new(());
    let _one = WRITING.lock();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- generated: {region} -->\n"), format!("<!-- end: {region} -->\n"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{page} has no {begin:?}"));
    let (current, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{page} has no {end:?}"));
    if current == fresh {
        return;
    }
    if std::env::var_os("SLUICEGATE_GEN").is_some() {
        fs::write(&path, format!("{before}{begin}{fresh}{end}{after}")).unwrap();
    } else {
        panic!("docs/reference/{page} differs from the code: run `./dev gen`");
    }
}

/// A table in Markdown.
#[track_caller]
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let long: Vec<&String> = cells.iter().filter(|cell| cell.chars().count() > MAX_CELL).collect();
        assert!(long.is_empty(), "a cell has at most {MAX_CELL} characters: {long:?}");
        format!("| {} |\n", cells.join(" | "))
    };
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(heads.len()));
    line(&heads) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

/// Expects a file of the repository to have this test, and to run it.
#[track_caller]
pub fn check_test(file: &str, test: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(runs_test(&text, test), "{file} has no test {test:?}, or ignores it");
}

/// Whether a source has this test, and runs it.
#[must_use]
pub fn runs_test(text: &str, test: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {test}(")) else {
        // In TypeScript.
        return text.contains(&format!("\ntest(\"{test}\", "));
    };
    // Above the line of the function.
    let above = before.rsplit('\n').skip(1).map(str::trim_start);
    let attributes: Vec<&str> =
        above.take_while(|line| line.starts_with('#') || line.starts_with("//")).collect();
    let has = |attribute: &str| attributes.iter().any(|line| line.starts_with(attribute));
    // Macros turn the functions that they list into tests.
    let is_listed = text.lines().any(|line| line.trim() == test);
    (has("#[test]") || has("#[tokio::test") || is_listed) && !has("#[ignore")
}

/// The longest cell that can be read at a glance, in characters.
const MAX_CELL: usize = 80;

//! The bridge's ways in beside an oracle, and documents that name tests.

mod entries;

use sluicegate_reference as reference;

/// Expects a table of `errors.md` to have these rows. Behind them are the causes, which are written there.
#[track_caller]
pub(crate) fn check_causes(region: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let page = include_str!("../../../docs/reference/errors.md");
    let with_cause = |row: Vec<String>| {
        let begin = format!("| {} | ", row.join(" | "));
        let cause = page.lines().find_map(|line| line.strip_prefix(&begin)?.strip_suffix(" |"));
        let cause = cause.unwrap_or_else(|| panic!("errors.md has no row {begin}CAUSE |"));
        [row, vec![cause.to_owned()]].concat()
    };
    let rows: Vec<_> = rows.map(with_cause).collect();
    reference::check("errors.md", region, &reference::table(heads, &rows));
}

/// The last cell of each row in these tables is a link to a test.
#[test]
fn attacks_and_shared_limits_have_the_tests_that_documents_name() {
    let model = include_str!("../../../docs/explanation/security-model.md");
    let configuration = include_str!("../../../docs/reference/bridge-configuration.md");
    for (page, heads) in
        [(model, "attack | what holds"), (configuration, "limit | who loses when it is full")]
    {
        let heads = format!("\n| {heads} | test |\n|---|---|---|\n");
        let (_, rows) = page.split_once(&heads).expect(&heads);
        let rows: Vec<&str> = rows.lines().take_while(|line| line.starts_with('|')).collect();
        assert!(rows.len() > 20, "{rows:?}");
        for row in rows {
            let link = row.strip_suffix(") |").and_then(|row| row.rsplit_once(" | ["));
            let (test, file) = link.and_then(|(_, link)| link.split_once("](../../")).expect(row);
            let code = test.strip_prefix('`').and_then(|test| test.strip_suffix('`'));
            reference::check_test(file, code.unwrap_or(test));
        }
    }
}

#[test]
fn function_that_is_not_run_is_no_test() {
    for (text, runs) in [
        ("#[test]\nfn t() {}", true),
        ("    /// Why.\n    #[tokio::test(start_paused = true)]\n    async fn t() {}", true),
        ("directly! {\n    t\n}\nasync fn t(way: Way) {}", true),
        ("\ntest(\"t\", async () => {});", true),
        ("#[test]\n\nfn t() {}", false),
        ("#[test]\nfn other() {}\nfn t() {}", false),
        ("#[test]\n#[ignore = \"slow\"]\nfn t() {}", false),
        ("test.skip(\"t\", async () => {});", false),
        ("t();", false),
    ] {
        assert_eq!(reference::runs_test(text, "t"), runs, "{text}");
    }
}

//! Schemas that refer to others.

use super::*;
use crate::{MAX_REFERENCES, MAX_SCHEMA_BYTES};

/// The names that the schema "root" needs, where each of `graph` refers to others by the names of their subjects.
async fn names(graph: &[(&str, &[&str])]) -> Result<Vec<String>, Fault> {
    let fake = Fake::new();
    let version = |name: &&str| Version { name: name.to_string(), subject: name.to_string(), version: 3 };
    let mut root = Vec::new();
    for (subject, names) in graph {
        let references: Vec<Version> = names.iter().map(version).collect();
        let schema =
            if subject.starts_with("large") { "x".repeat(MAX_SCHEMA_BYTES / 2) } else { subject.to_string() };
        let answer = serde_json::json!({"schema": schema, "version": 3, "references": references});
        fake.set(&format!("/subjects/{subject}/versions/3"), 200, &answer.to_string());
        if *subject == "root" {
            root = references;
        }
    }
    let text = SchemaText { references: root, ..text() };
    let (_, references) = resolve(&*fake, text).await?;
    assert_eq!(fake.asked(), references.len(), "each once");
    assert!(references.iter().all(|reference| reference.name == reference.schema));
    Ok(references.into_iter().map(|reference| reference.name).collect())
}

#[tokio::test(start_paused = true)]
async fn dependencies_are_first_and_each_is_fetched_once() {
    for (graph, want) in [
        (&[("root", &[][..])][..], &[][..]),
        (&[("root", &["a"]), ("a", &["b"]), ("b", &[])], &["b", "a"]),
        (&[("root", &["a", "b"]), ("a", &["c"]), ("b", &["c"]), ("c", &[])], &["c", "a", "b"]),
        (&[("root", &["a", "a", "b"]), ("a", &["b"]), ("b", &[])], &["b", "a"]),
    ] {
        assert_eq!(names(graph).await.unwrap(), want, "{graph:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn references_without_an_end_are_refused() {
    let all: Vec<String> = (0..=MAX_REFERENCES).map(|number| number.to_string()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let pairs: Vec<_> = all.windows(2).map(|pair| (pair[0], &pair[1..])).collect();
    let chain = [&[("root", &all[..1])], &pairs[..]].concat();
    let last = (all[MAX_REFERENCES], &[][..]);
    for (graph, words) in [
        (&[("root", &["a"][..]), ("a", &["b"]), ("b", &["a"])][..], r#"its references form a circle at "a""#),
        (&[("root", &["a"]), ("a", &["a"])], r#"its references form a circle at "a""#),
        (&[&chain[..], &[last]].concat(), "it refers to more than 100 schemas"),
        (&[("root", &all[..])], "it refers to more than 100 schemas"),
        (&[("root", &["a"])], r#"version 3 of subject "a" is not in the registry"#),
        (&[("root", &[".."])], r#"version 3 of subject ".." is not in the registry"#),
        (
            &[("root", &["large", "larger"]), ("large", &[]), ("larger", &[])],
            "it has, with the schemas that it refers to, more than",
        ),
    ] {
        let Err(Fault::Unusable(error)) = names(graph).await else { panic!("{words}") };
        assert!(error.starts_with(words), "{error}");
    }
    let most = [&chain[..MAX_REFERENCES], &[(all[MAX_REFERENCES - 1], &[][..])]].concat();
    assert_eq!(names(&most).await.unwrap().len(), MAX_REFERENCES);
}

#[tokio::test(start_paused = true)]
async fn schema_of_another_version_is_refused() {
    let named = |version| Version { name: "a".to_owned(), subject: "a".to_owned(), version };
    for (asked, path, answered, is_known) in [(3, "3", 3, true), (3, "3", 4, false), (-1, "latest", 4, true)]
    {
        let answer = format!(r#"{{"schema": "x", "version": {answered}}}"#);
        let fake = Fake::with(&[(&format!("/subjects/a/versions/{path}"), &answer)]);
        let resolved = resolve(&*fake, SchemaText { references: vec![named(asked)], ..text() }).await;
        assert_eq!(resolved.is_ok(), is_known, "{asked} {answered}");
    }
}

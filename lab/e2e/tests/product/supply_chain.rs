//! Base images, actions and tags, which others can change without a commit here.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::tools;

use crate::product::collect;

#[test]
fn images_of_others_have_digests() {
    let mut files = vec![tools::workspace().join("Dockerfile")];
    collect(&tools::workspace().join("deploy"), &mut files);
    let mut pinned = 0;
    let mut by_tag = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let images = text.lines().filter_map(|line| {
            let line = line.trim();
            line.strip_prefix("FROM ").or_else(|| line.strip_prefix("image: "))?.split(' ').next()
        });
        for image in images.map(|image| image.trim_matches('"')) {
            let is_own = image.starts_with("ghcr.io/sluicegate/") || image.starts_with("{{");
            match image.split_once("@sha256:") {
                _ if is_own || image == "scratch" => {}
                Some((_, digest)) => {
                    assert!(
                        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
                        "{image}"
                    );
                    pinned += 1;
                }
                None => by_tag.push(image.to_owned()),
            }
        }
    }
    assert!(pinned >= 4, "{pinned}");
    assert_eq!(by_tag, BY_TAG);
}

#[test]
fn actions_are_pinned_by_commit() {
    let folder = tools::workspace().join(".github/workflows");
    let mut pinned = 0;
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let uses = text.lines().filter_map(|line| line.split_once("uses: "));
        for action in
            uses.filter_map(|(_, rest)| rest.split(' ').next()).filter(|action| !action.starts_with("./"))
        {
            let commit = action.split_once('@').unwrap().1;
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
            pinned += 1;
        }
    }
    assert!(pinned >= 10, "{pinned}");
}

#[test]
fn only_commits_of_main_are_released() {
    let jobs = workflow("release")["jobs"].as_object().unwrap().clone();
    for (name, job) in jobs.iter().filter(|(_, job)| job["permissions"].to_string().contains("write")) {
        assert!(needs(&jobs, job, "tag"), "{name}");
    }

    let folder = Folder::new("tags").unwrap();
    let git = |script: &str| {
        let script =
            format!("git() {{ command git -c user.name=n -c user.email=e@example \"$@\"; }}; {script}");
        let output = bash(&script, folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    git("git init -q -b main main; cd main; for n in 1 2; do git commit -q --allow-empty -m $n; done");
    git("git clone -q main checkout; cd main; git checkout -q -b side; git commit -q --allow-empty -m side");
    git("cd checkout; git fetch -q");
    let check = |commit: &str| -> Output {
        git(&format!("cd checkout; git checkout -q --detach {commit}"));
        bash(&script("release", "tag"), &folder.path().join("checkout")).output().unwrap()
    };
    for commit in ["origin/main", "origin/main~1"] {
        assert!(check(commit).status.success(), "{commit}");
    }
    assert!(!check("origin/side").status.success());
}

#[test]
fn everything_published_is_signed() {
    let jobs = workflow("release")["jobs"].clone();
    let steps = |job: &str| jobs[job]["steps"].as_array().unwrap().clone();
    let attest = |job: &str| -> Vec<Value> {
        let is_attest =
            |step: &Value| step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/attest@"));
        steps(job).into_iter().filter(is_attest).map(|step| step["with"].clone()).collect()
    };
    assert_eq!(attest("build")[0]["subject-checksums"], "target/release-artefacts/SHA256SUMS");

    let push = steps("publish").into_iter().find(|step| step["id"] == "push").unwrap();
    let push = push["run"].as_str().unwrap();
    let images = push.split_once("for image in ").unwrap().1.split_once(';').unwrap().0;
    assert_eq!(push.matches("helm push").count(), 1);
    let pushed: Vec<(String, String)> = images
        .split(' ')
        .map(|image| (format!("ghcr.io/sluicegate/{image}"), image))
        .chain([("ghcr.io/sluicegate/charts/sluicegate".to_owned(), "chart")])
        .map(|(name, output)| (name, format!("${{{{ steps.push.outputs.{output} }}}}")))
        .collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let signed: Vec<(String, String)> = attest("publish")
        .iter()
        .inspect(|with| assert_eq!(with["push-to-registry"], true))
        .map(|with| (text(&with["subject-name"]), text(&with["subject-digest"])))
        .collect();
    assert_eq!(signed, pushed);

    let justfile = fs::read_to_string(tools::workspace().join("justfile")).unwrap();
    let architectures = justfile.split_once("--architectures ").unwrap().1.split(' ').next().unwrap();
    let programs = architectures.split(',').flat_map(|architecture| {
        ["bridge", "cli"].map(|program| format!("sluicegate-{program}-{{0}}-linux-{architecture}.tar.gz"))
    });
    let wanted: Vec<String> = programs.chain(["sluicegate_filter-{0}.wasm".to_owned()]).collect();
    let matrix = jobs["contents"]["strategy"]["matrix"]["include"].as_array().unwrap();
    let listed: Vec<String> =
        matrix.iter().map(|row| format!("{}{}", text(&row["name"]), text(&row["end"]))).collect();
    assert_eq!(listed, wanted);
    assert!(attest("contents")[0]["sbom-path"].as_str().unwrap().ends_with(".cdx.json"));
}

/// Whether a job waits for another one.
fn needs(jobs: &serde_json::Map<String, Value>, job: &Value, other: &str) -> bool {
    let list = match &job["needs"] {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    list.iter().filter_map(Value::as_str).any(|name| name == other || needs(jobs, &jobs[name], other))
}

/// The last command of a job.
fn script(name: &str, job: &str) -> String {
    let steps = &workflow(name)["jobs"][job]["steps"];
    steps.as_array().unwrap().last().unwrap()["run"].as_str().unwrap().to_owned()
}

fn workflow(name: &str) -> Value {
    let file = tools::workspace().join(".github/workflows").join(name).with_extension("yml");
    serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// A command, run as GitHub does.
fn bash(script: &str, folder: &Path) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-e", "-c", script]).current_dir(folder);
    shell
}

/// Images whose digest is not known yet. The weekly job shows it.
const BY_TAG: [&str; 2] = ["rust:1.99.1-alpine", "envoyproxy/envoy:v1.40.0"];

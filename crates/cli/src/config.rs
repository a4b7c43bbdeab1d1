//! The configuration file: a profile's URL, headers, token and TLS files.
//!
//! Errors name the file, the line and the key, and never show a value: it can be a secret.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::header::Header;

/// Settings that the user need not type.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Profile {
    pub(crate) url: Option<String>,
    pub(crate) headers: Vec<Header>,
    pub(crate) header_files: Vec<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) cacert: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// The profile `name` in the text of the file `path`, if it has one.
///
/// # Errors
/// The text is not a configuration, or the profile is invalid.
pub(crate) fn profile(path: &Path, text: &str, name: &str) -> Result<Option<Profile>, String> {
    let shown = path.display();
    let file: Table = text.parse().map_err(|why: toml::de::Error| {
        let before = why.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        format!("{shown}, line {line}: invalid TOML")
    })?;
    if let Some(unknown) = file.keys().find(|key| *key != "profile") {
        return Err(format!("{shown}: unknown key {unknown:?}, expected [profile.NAME]"));
    }
    let Some(profiles) = file.get("profile") else { return Ok(None) };
    let profiles = profiles.as_table().ok_or_else(|| format!("{shown}: expected [profile.NAME]"))?;
    let Some(table) = profiles.get(name) else { return Ok(None) };
    let read = table.as_table().ok_or_else(|| "expected a table".to_owned());
    let read = read.and_then(|table| self::read(table, path.parent().unwrap_or(Path::new(""))));
    read.map(Some).map_err(|why| format!("{shown}, profile {name:?}: {why}"))
}

fn read(table: &Table, folder: &Path) -> Result<Profile, String> {
    let mut profile = Profile::default();
    for (key, value) in table {
        let text = || value.as_str().map(str::to_owned).ok_or_else(|| format!("{key}: expected a string"));
        let file = || text().map(|file| folder.join(file));
        match key.as_str() {
            "url" => profile.url = Some(text()?),
            "rest_url" => return Err("rest_url: every command takes url, topics too: remove this key".into()),
            "headers" => {
                profile.headers = headers(value).ok_or("headers: expected { NAME = \"VALUE\", … }")?
            }
            "header_files" => {
                profile.header_files = files(value, folder).ok_or("header_files: expected [\"FILE\", …]")?;
            }
            "token_file" => profile.token_file = Some(file()?),
            "cacert" => profile.cacert = Some(file()?),
            "cert" => profile.cert = Some(file()?),
            "key" => profile.key = Some(file()?),
            _ => {
                return Err(format!(
                    "unknown key {key:?}, expected one of url, headers, header_files, token_file, cacert, cert, key"
                ));
            }
        }
    }
    Ok(profile)
}

fn headers(value: &Value) -> Option<Vec<Header>> {
    let header = |(name, value): (&String, &Value)| {
        Some(Header { name: name.clone(), value: value.as_str()?.to_owned() })
    };
    value.as_table()?.iter().map(header).collect()
}

fn files(value: &Value, folder: &Path) -> Option<Vec<PathBuf>> {
    value.as_array()?.iter().map(|file| Some(folder.join(file.as_str()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<Profile>, String> {
        profile(Path::new("/etc/s/config.toml"), text, "prod")
    }

    #[test]
    fn profile_has_url_headers_and_files_beside_it() {
        let text = r#"
            [profile.other]
            url = 5
            [profile.prod]
            url = "wss://g/pubsub"
            headers = { Authorization = "Bearer s3cret" }
            header_files = ["token", "/run/token"]
            token_file = "jwt"
            cacert = "ca.pem"
            cert = "/tls/cert.pem"
            key = "../key.pem"
        "#;
        let want = Profile {
            url: Some("wss://g/pubsub".into()),
            headers: vec![Header { name: "Authorization".into(), value: "Bearer s3cret".into() }],
            header_files: vec!["/etc/s/token".into(), "/run/token".into()],
            token_file: Some("/etc/s/jwt".into()),
            cacert: Some("/etc/s/ca.pem".into()),
            cert: Some("/tls/cert.pem".into()),
            key: Some("/etc/s/../key.pem".into()),
        };
        assert_eq!(of(text), Ok(Some(want)));
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("[profile.other]"), Ok(None));
    }

    #[test]
    fn errors_name_the_key_and_never_a_value() {
        for (text, says) in [
            ("[profile.prod]\nheaders = \"s3cret", "line 2: invalid TOML"),
            ("[profile.prod]\nheaders = { A = s3cret }", "line 2: invalid TOML"),
            ("[profile.prod]\nheaders = \"s3cret\"", "headers: expected {"),
            ("[profile.prod]\nheaders = [\"A: s3cret\"]", "headers: expected {"),
            ("[profile.prod]\nheaders = { A = [\"s3cret\"] }", "headers: expected {"),
            ("[profile.prod]\nheader_files = \"s3cret\"", "header_files: expected ["),
            ("[profile.prod]\nurl = [\"s3cret\"]", "url: expected a string"),
            ("[profile.prod]\nrest_url = \"s3cret\"", "rest_url: every command takes url"),
            ("[profile.prod]\ntoken = \"s3cret\"", "unknown key \"token\", expected one of url"),
            ("token = \"s3cret\"", "unknown key \"token\", expected [profile.NAME]"),
            ("profile = \"s3cret\"", "expected [profile.NAME]"),
            ("profile.prod = \"s3cret\"", "expected a table"),
        ] {
            let why = of(text).unwrap_err();
            assert!(why.starts_with("/etc/s/config.toml") && why.contains(says), "{text}: {why}");
            assert!(!why.contains("s3cret"), "{why}");
        }
    }
}

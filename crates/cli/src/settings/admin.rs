//! The settings of `admin`: the URL of the admin port and its token.

use std::fs;
use std::path::Path;

use super::{Environment, Settings};
use crate::args::Admin;
use crate::header::Header;

/// The URL as given, and the token as a header.
///
/// # Errors
/// There is no token, or its file cannot be read.
pub(super) fn resolve(args: &Admin, variable: Environment<'_>) -> Result<Settings, String> {
    let url = args.admin.clone().or_else(|| variable("SLUICEGATE_ADMIN"));
    let token = match &args.token_file {
        Some(file) => token(file)?,
        None => variable("SLUICEGATE_ADMIN_TOKEN").ok_or(NO_TOKEN)?,
    };
    let authorization = Header { name: "Authorization".into(), value: format!("Bearer {token}") };
    Ok(Settings {
        url: url.unwrap_or_else(|| DEFAULT_URL.into()),
        headers: vec![authorization],
        ..Settings::default()
    })
}

fn token(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|why| format!("{}: {why}", file.display()))?;
    match text.trim() {
        "" => Err(format!("{}: expected the bridge's admin_token, the file is empty", file.display())),
        token => Ok(token.to_owned()),
    }
}

const NO_TOKEN: &str = "the admin port needs a token: use --token-file, or set SLUICEGATE_ADMIN_TOKEN";
/// The default of the bridge's `admin_listen`.
const DEFAULT_URL: &str = "http://127.0.0.1:7401";

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::Parser as _;
    use tempfile::NamedTempFile;

    use super::*;
    use crate::args::Args;
    use crate::settings::tests::environment;

    /// URL and token for these words behind the program's name, and variables.
    fn of(words: &str, variables: &[(&str, &str)]) -> Result<(String, String), String> {
        let args = Args::try_parse_from(["sluicegate"].into_iter().chain(words.split(' '))).unwrap();
        let settings = Settings::resolve(&args, &environment(variables))?;
        let [Header { name, value }] = &settings.headers[..] else { panic!("{settings:?}") };
        assert_eq!((name.as_str(), settings.token_file), ("Authorization", None));
        Ok((settings.url, value.clone()))
    }

    #[test]
    fn url_and_token_come_from_argument_then_environment() {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(b"of-file\n").unwrap();
        let file = file.path().to_str().unwrap();
        let token = ("SLUICEGATE_ADMIN_TOKEN", "of-env");
        // Settings of the gateway are not for the admin port.
        let gateway = [("SLUICEGATE_URL", "ws://g/"), ("SLUICEGATE_TOKEN_FILE", "/g"), token];
        for (words, variables, url, token) in [
            ("admin sessions", &gateway[..], "http://127.0.0.1:7401", "of-env"),
            ("admin sessions", &[("SLUICEGATE_ADMIN", "http://env"), token], "http://env", "of-env"),
            (
                "admin sessions --admin http://arg",
                &[("SLUICEGATE_ADMIN", "http://env"), token],
                "http://arg",
                "of-env",
            ),
            (&format!("admin sessions --token-file {file}"), &[token], "http://127.0.0.1:7401", "of-file"),
            (&format!("--token-file {file} admin sessions"), &[token], "http://127.0.0.1:7401", "of-file"),
            (&format!("admin --admin http://arg --token-file {file} sessions"), &[], "http://arg", "of-file"),
        ] {
            let want = (url.to_owned(), format!("Bearer {token}"));
            assert_eq!(of(words, variables), Ok(want), "{words} {variables:?}");
        }
    }

    #[test]
    fn missing_token_is_an_error() {
        let gateway = [("SLUICEGATE_TOKEN_FILE", "/g"), ("SLUICEGATE_ADMIN_TOKEN", "")];
        assert_eq!(of("admin sessions", &gateway), Err(NO_TOKEN.to_owned()));
        let missing = of("admin sessions --token-file /nowhere", &[]).unwrap_err();
        assert!(missing.starts_with("/nowhere: "), "{missing}");
        let empty = NamedTempFile::new().unwrap();
        let why = of(&format!("admin sessions --token-file {}", empty.path().display()), &[]).unwrap_err();
        assert!(why.ends_with(": expected the bridge's admin_token, the file is empty"), "{why}");
    }
}

//! Where to connect and how: arguments override the environment, which overrides the profile.

mod admin;

use std::fs;
use std::path::{Path, PathBuf};

use sluicegate_client::printable_url;
use tracing::debug;

use crate::args::{Args, Command, Gateway};
use crate::config::{self, Profile};
use crate::header::{self, Header};
use crate::stderr::say;

/// The settings of a connection.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) headers: Vec<Header>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) cacert: Option<PathBuf>,
    /// The files of certificate and key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// Reads a variable; none if it is not set.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// # Errors
    /// The problem of an argument, a variable or a file, without values.
    pub(crate) fn resolve(args: &Args, environment: Environment<'_>) -> Result<Self, String> {
        let gateway = &args.gateway;
        // As for most programs, an empty variable is one that is not set.
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        match &args.command {
            Command::CheckRoutes(_) | Command::Completions(_) => return Ok(Self::default()),
            Command::Admin(bridge) => return admin::resolve(bridge, &variable),
            _ => {}
        }
        let url = gateway.url.clone().or_else(|| variable("SLUICEGATE_URL"));
        if url.is_none() && variable("SLUICEGATE_REST_URL").is_some() {
            return Err(
                "SLUICEGATE_REST_URL is unknown: every command takes SLUICEGATE_URL, topics too".into()
            );
        }
        let profile = profile(gateway, url.is_some(), &variable)?;
        let url = match (url, &profile) {
            (Some(url), _) => url,
            (None, None) => DEFAULT_URL.to_owned(),
            (None, Some((name, profile))) => {
                let url = profile.url.clone();
                url.ok_or_else(|| format!("profile {name:?} has no url: add it, or use --url"))?
            }
        };
        let profile = profile.map(|(_, profile)| profile).unwrap_or_default();
        let identity = match (&gateway.cert, &gateway.key) {
            (Some(cert), key) => identity(Some(cert), key.as_ref()),
            (None, Some(_)) => return Err("--key needs --cert".into()),
            (None, None) if profile.cert.is_none() && profile.key.is_some() => {
                return Err("the profile's key needs a cert".into());
            }
            (None, None) => identity(profile.cert.as_ref(), profile.key.as_ref()),
        };
        let cacert = gateway.cacert.clone().or_else(|| profile.cacert.clone());
        let token_file =
            gateway.token_file.clone().or_else(|| variable("SLUICEGATE_TOKEN_FILE").map(PathBuf::from));
        let token_file = token_file.or_else(|| profile.token_file.clone());
        let headers = headers(args, &variable, profile)?;
        let settings = Self { url, headers, token_file, cacert, identity };
        let names: Vec<&str> = settings.headers.iter().map(|header| header.name.as_str()).collect();
        debug!("URL {}, own headers: {}", printable_url(&settings.url), names.join(", "));
        Ok(settings)
    }

    /// Whether the URL is that of a `rest` route.
    pub(crate) fn is_rest(&self) -> bool {
        self.url.starts_with("http://") || self.url.starts_with("https://")
    }
}

/// The profile to use, and its name. `default` is used only for its own URL: its headers are not for another gateway.
fn profile(
    gateway: &Gateway,
    has_url: bool,
    variable: Environment<'_>,
) -> Result<Option<(String, Profile)>, String> {
    let named = gateway.profile.clone().or_else(|| variable("SLUICEGATE_PROFILE"));
    if named.is_none() && has_url {
        return Ok(None);
    }
    let Some(path) = gateway.config.clone().or_else(|| default_path(variable)) else {
        return match named {
            Some(_) => Err("a profile needs a configuration file: use --config, or set HOME".into()),
            None => Ok(None),
        };
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        // The default file is optional.
        Err(why)
            if why.kind() == std::io::ErrorKind::NotFound && named.is_none() && gateway.config.is_none() =>
        {
            return Ok(None);
        }
        Err(why) => return Err(format!("{}: {why}", path.display())),
    };
    let name = named.clone().unwrap_or_else(|| "default".into());
    match config::profile(&path, &text, &name)? {
        Some(profile) => {
            debug!("profile {name:?} of {}", path.display());
            if !profile.headers.is_empty() && !gateway.quiet {
                warn_if_exposed(&path, ", or use header_files");
            }
            let secrets = profile.header_files.iter().chain(&profile.token_file);
            for file in secrets.filter(|_| !gateway.quiet) {
                warn_if_exposed(file, "");
            }
            Ok(Some((name, profile)))
        }
        None if named.is_some() => Err(format!("{} has no profile {name:?}", path.display())),
        None => Ok(None),
    }
}

fn default_path(variable: Environment<'_>) -> Option<PathBuf> {
    let folder = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        // As the XDG specification demands of relative paths.
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")))?;
    Some(folder.join("sluicegate/config.toml"))
}

/// Of all sources; one that is overridden is left out.
fn headers(args: &Args, variable: Environment<'_>, profile: Profile) -> Result<Vec<Header>, String> {
    let mut headers = Vec::new();
    for text in args.headers() {
        headers.extend(header::parse(text, "--header")?);
    }
    if let Some(text) = variable("SLUICEGATE_HEADERS") {
        override_by(&mut headers, header::parse_lines(&text, "SLUICEGATE_HEADERS")?);
    }
    let mut of_profile = profile.headers;
    for path in &profile.header_files {
        of_profile.extend(header::read(path)?);
    }
    override_by(&mut headers, of_profile);
    Ok(headers)
}

/// Adds the headers of `others` whose names are not among `headers`.
fn override_by(headers: &mut Vec<Header>, others: Vec<Header>) {
    let named = |name: &str| headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    let others: Vec<Header> = others.into_iter().filter(|other| !named(&other.name)).collect();
    headers.extend(others);
}

/// Without a key file, the certificate's file also holds the key.
fn identity(cert: Option<&PathBuf>, key: Option<&PathBuf>) -> Option<(PathBuf, PathBuf)> {
    cert.map(|cert| (cert.clone(), key.unwrap_or(cert).clone()))
}

#[cfg(unix)]
fn warn_if_exposed(path: &Path, alternative: &str) {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode()).unwrap_or_default();
    if mode & 0o044 != 0 {
        let shown = path.display();
        say(format_args!(
            "sluicegate: warning: other users can read the secrets in {shown}: run chmod 600{alternative}"
        ));
    }
}

#[cfg(not(unix))]
fn warn_if_exposed(_: &Path, _: &str) {}

/// The demo's.
const DEFAULT_URL: &str = "ws://127.0.0.1:8080/pubsub";

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::Parser as _;
    use tempfile::NamedTempFile;

    use super::*;

    /// The environment with these variables alone.
    pub(super) fn environment(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
    }

    /// The settings for these words, variables and this configuration.
    fn of(words: &str, variables: &[(&str, &str)], config: &str) -> Result<Settings, String> {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(config.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let words = ["sluicegate", "-q", "--config", path].into_iter().chain(words.split(' '));
        let args = Args::try_parse_from(words).unwrap();
        Settings::resolve(&args, &environment(variables)).map_err(|why| why.replace(path, "FILE"))
    }

    fn headers(settings: Settings) -> Vec<String> {
        settings.headers.into_iter().map(|Header { name, value }| format!("{name}={value}")).collect()
    }

    const CONFIG: &str = r#"
        [profile.default]
        url = "ws://default/"
        headers = { A = "default" }
        [profile.prod]
        url = "ws://prod/"
        headers = { a = "profile", B = "profile", C = "profile" }
        cacert = "/ca"
        cert = "/cert"
        key = "/key"
    "#;

    #[test]
    fn every_commands_url_comes_from_argument_then_environment_then_profile() {
        let url = ("SLUICEGATE_URL", "ws://env/");
        let prod = ("SLUICEGATE_PROFILE", "prod");
        for (words, variables, config, want) in [
            ("", &[][..], "", "ws://127.0.0.1:8080/pubsub"),
            ("", &[], CONFIG, "ws://default/"),
            ("", &[prod], CONFIG, "ws://prod/"),
            ("--profile default", &[prod], CONFIG, "ws://default/"),
            ("", &[prod, url], CONFIG, "ws://env/"),
            ("-u ws://arg/", &[prod, url], CONFIG, "ws://arg/"),
            ("", &[("SLUICEGATE_URL", ""), ("SLUICEGATE_PROFILE", "")], CONFIG, "ws://default/"),
        ] {
            for command in ["ping", "topics", "list-offsets t", "fetch t", "subscribe t", "produce t"] {
                let settings = of(format!("{command} {words}").trim_end(), variables, config).unwrap();
                assert_eq!(settings.url, want, "{command} {words} {variables:?}");
            }
        }
    }

    #[test]
    fn header_overrides_its_namesake_only() {
        let variables = [("SLUICEGATE_HEADERS", "b: env\nC: env\n"), ("SLUICEGATE_PROFILE", "prod")];
        let settings = of("-H c:arg ping -H c:again", &variables, CONFIG).unwrap();
        assert_eq!(headers(settings), ["c=arg", "c=again", "b=env", "a=profile"]);
    }

    #[test]
    fn default_profile_is_not_used_for_another_gateway() {
        assert_eq!(headers(of("ping", &[], CONFIG).unwrap()), ["A=default"]);
        assert!(headers(of("ping -u ws://arg/", &[], CONFIG).unwrap()).is_empty());
        assert!(headers(of("ping", &[("SLUICEGATE_URL", "ws://env/")], CONFIG).unwrap()).is_empty());
        let named = of("ping -u ws://arg/ --profile default", &[], CONFIG).unwrap();
        assert_eq!(headers(named), ["A=default"]);
    }

    #[test]
    fn certificate_and_key_come_from_one_source() {
        let files = |words: &str| {
            let settings = of(words, &[], CONFIG).unwrap();
            let shown = |path: PathBuf| path.display().to_string();
            let identity = settings.identity.map(|(cert, key)| (shown(cert), shown(key)));
            (settings.cacert.map(shown), identity)
        };
        let pair = |cert: &str, key: &str| Some((cert.to_owned(), key.to_owned()));
        assert_eq!(files("ping"), (None, None));
        assert_eq!(files("ping --profile prod"), (Some("/ca".into()), pair("/cert", "/key")));
        let both = files("ping --profile prod --cacert a --cert c");
        assert_eq!(both, (Some("a".into()), pair("c", "c")));
        assert_eq!(files("ping --cert c --key k").1, pair("c", "k"));
    }

    #[test]
    fn settings_that_do_not_fit_are_errors() {
        for (words, config, says) in [
            ("ping --profile absent", CONFIG, "FILE has no profile \"absent\""),
            ("topics", "[profile.default]", "profile \"default\" has no url: add it, or use --url"),
            ("ping --key k", CONFIG, "--key needs --cert"),
            ("ping", "[profile.default]\nurl = \"ws://g/\"\nkey = \"k\"", "the profile's key needs a cert"),
            ("ping -H s3cret", CONFIG, "--header: expected 'Name: value'"),
            ("ping", "profile", "FILE, line 1: invalid TOML"),
            ("ping --config /nowhere", CONFIG, "/nowhere: No such file or directory (os error 2)"),
        ] {
            assert_eq!(of(words, &[], config), Err(says.to_owned()), "{words}");
        }
    }

    #[test]
    fn variable_of_another_name_is_not_ignored() {
        let rest_url = ("SLUICEGATE_REST_URL", "http://env/");
        let why = of("topics", &[rest_url], CONFIG).unwrap_err();
        assert!(why.contains("every command takes SLUICEGATE_URL"), "{why}");
        let settings = of("topics -u http://arg/", &[rest_url], CONFIG).unwrap();
        assert_eq!(settings.url, "http://arg/");
    }

    #[test]
    fn default_file_is_in_the_configuration_folder() {
        let path = |variables: &[(&str, &str)]| default_path(&environment(variables));
        let home = ("HOME", "/home/u");
        let want = Some("/home/u/.config/sluicegate/config.toml".into());
        assert_eq!(path(&[home]), want);
        assert_eq!(path(&[home, ("XDG_CONFIG_HOME", "relative")]), want);
        assert_eq!(path(&[home, ("XDG_CONFIG_HOME", "/x")]), Some("/x/sluicegate/config.toml".into()));
        assert_eq!(path(&[]), None);
    }
}

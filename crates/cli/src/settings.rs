//! Where to connect and how: arguments override the environment, which overrides the profile.

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
        let Some(kind) = Kind::of(&args.command) else { return Ok(Self::default()) };
        let url = gateway.url.clone().or_else(|| variable(kind.variable()));
        let profile = profile(gateway, url.is_some(), &variable)?;
        let url = match (url, &profile) {
            (Some(url), _) => url,
            (None, None) => kind.default_url().to_owned(),
            (None, Some((name, profile))) => kind
                .url_of(profile)
                .ok_or_else(|| format!("profile {name:?} has no {}: add it, or use --url", kind.key()))?,
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
        let settings = Self { url, headers: headers(args, &variable, profile)?, cacert, identity };
        let names: Vec<&str> = settings.headers.iter().map(|header| header.name.as_str()).collect();
        debug!("URL {}, own headers: {}", printable_url(&settings.url), names.join(", "));
        Ok(settings)
    }
}

/// Which kind of route a command needs.
#[derive(Debug, Clone, Copy)]
enum Kind {
    WebSocket,
    Rest,
}

impl Kind {
    /// None for a command without a gateway.
    fn of(command: &Command) -> Option<Self> {
        match command {
            Command::Topics(_) => Some(Self::Rest),
            Command::Ping(_)
            | Command::ListOffsets(_)
            | Command::Fetch(_)
            | Command::Subscribe(_)
            | Command::Produce(_) => Some(Self::WebSocket),
            Command::Completions(_) => None,
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::WebSocket => "SLUICEGATE_URL",
            Self::Rest => "SLUICEGATE_REST_URL",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::WebSocket => "url",
            Self::Rest => "rest_url",
        }
    }

    fn url_of(self, profile: &Profile) -> Option<String> {
        match self {
            Self::WebSocket => profile.url.clone(),
            Self::Rest => profile.rest_url.clone(),
        }
    }

    /// The demo's.
    fn default_url(self) -> &'static str {
        match self {
            Self::WebSocket => "ws://127.0.0.1:8080/pubsub",
            Self::Rest => "http://127.0.0.1:8080/kafka",
        }
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
                warn_if_exposed(&path);
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
fn warn_if_exposed(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode()).unwrap_or_default();
    if mode & 0o044 != 0 {
        let shown = path.display();
        say(format_args!(
            "sluicegate: warning: other users can read the headers in {shown}: run chmod 600, or use header_files"
        ));
    }
}

#[cfg(not(unix))]
fn warn_if_exposed(_: &Path) {}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::Parser as _;
    use tempfile::NamedTempFile;

    use super::*;

    /// The settings for these words, variables and this configuration.
    fn of(words: &str, variables: &[(&str, &str)], config: &str) -> Result<Settings, String> {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(config.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let words = ["sluicegate", "-q", "--config", path].into_iter().chain(words.split(' '));
        let args = Args::try_parse_from(words).unwrap();
        let variable = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        Settings::resolve(&args, &variable).map_err(|why| why.replace(path, "FILE"))
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
        rest_url = "http://prod/"
        headers = { a = "profile", B = "profile", C = "profile" }
        cacert = "/ca"
        cert = "/cert"
        key = "/key"
    "#;

    #[test]
    fn url_comes_from_argument_then_environment_then_profile() {
        let url = ("SLUICEGATE_URL", "ws://env/");
        let rest_url = ("SLUICEGATE_REST_URL", "http://env/");
        let prod = ("SLUICEGATE_PROFILE", "prod");
        for (words, variables, config, want) in [
            ("ping", &[][..], "", "ws://127.0.0.1:8080/pubsub"),
            ("topics", &[], "", "http://127.0.0.1:8080/kafka"),
            ("ping", &[], CONFIG, "ws://default/"),
            ("ping", &[prod], CONFIG, "ws://prod/"),
            ("topics", &[prod], CONFIG, "http://prod/"),
            ("ping --profile default", &[prod], CONFIG, "ws://default/"),
            ("ping", &[prod, url, rest_url], CONFIG, "ws://env/"),
            ("topics", &[prod, url, rest_url], CONFIG, "http://env/"),
            ("-u ws://arg/ ping", &[prod, url], CONFIG, "ws://arg/"),
            ("topics -u http://arg/", &[prod, rest_url], CONFIG, "http://arg/"),
            ("ping", &[("SLUICEGATE_URL", ""), ("SLUICEGATE_PROFILE", "")], CONFIG, "ws://default/"),
        ] {
            let settings = of(words, variables, config).unwrap();
            assert_eq!(settings.url, want, "{words} {variables:?}");
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
            ("topics", CONFIG, "profile \"default\" has no rest_url: add it, or use --url"),
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
    fn default_file_is_in_the_configuration_folder() {
        let path = |variables: &[(&str, &str)]| {
            default_path(&|name| {
                variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let home = ("HOME", "/home/u");
        let want = Some("/home/u/.config/sluicegate/config.toml".into());
        assert_eq!(path(&[home]), want);
        assert_eq!(path(&[home, ("XDG_CONFIG_HOME", "relative")]), want);
        assert_eq!(path(&[home, ("XDG_CONFIG_HOME", "/x")]), Some("/x/sluicegate/config.toml".into()));
        assert_eq!(path(&[]), None);
    }
}

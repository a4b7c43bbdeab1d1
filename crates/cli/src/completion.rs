//! Completion in shells: the scripts call the program at each Tab, which also completes names of topics.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};
use tokio::time::timeout;

use crate::args::Args;
use crate::settings::Settings;
use crate::{builder, topics};

/// Answers a shell that completes a command line. False if this is an ordinary run.
pub(crate) fn answered() -> bool {
    let completing = CompleteEnv::with_factory(program).var(VARIABLE);
    let folder = std::env::current_dir().ok();
    // A shell shows nothing of errors.
    completing.try_complete(std::env::args_os(), folder.as_deref()).unwrap_or(true)
}

/// The script that makes `shell` call this program.
///
/// # Errors
/// The shell has none.
pub(crate) fn script(shell: Shell) -> std::io::Result<Vec<u8>> {
    let shells = Shells::builtins();
    let shell = shells.completer(&shell.to_string()).ok_or(std::io::ErrorKind::Unsupported)?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, NAME, NAME, &called(), &mut script)?;
    Ok(script)
}

/// Command that a shell calls to find this program again: its name, or the file if it was started by a path.
fn called() -> String {
    let first = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let has_folder = first.parent().is_some_and(|folder| folder != Path::new(""));
    let file = has_folder.then(|| std::path::absolute(first).ok()).flatten();
    file.map_or_else(|| NAME.to_owned(), |file| file.display().to_string())
}

/// The commands with names of topics, and with options, which only show if a word begins with a hyphen or there is
/// nothing else.
fn program() -> clap::Command {
    let mut program = Args::command();
    program.build();
    let completed = |arg: clap::Arg| match arg.get_id().as_str() {
        "topic" | "topics" => arg.add(topics()),
        _ if arg.is_positional() => arg,
        _ => arg.hide(true),
    };
    program.mut_args(completed).mut_subcommands(|command| command.mut_args(completed))
}

fn topics() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        let words = words.skip_while(|word| word != "--").skip(2);
        let names = names(&of_gateway(words)).unwrap_or_default();
        let starts = |name: &String| word.to_str().is_some_and(|word| name.starts_with(word));
        names.into_iter().filter(starts).map(CompletionCandidate::new).collect()
    })
}

/// The words of a command line that say where the gateway is.
fn of_gateway(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut words = words.peekable();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        if OPTIONS.contains(&word.as_str()) {
            found.push(word);
            found.extend(words.next());
        } else if OPTIONS.iter().any(|option| is_with_value(&word, option)) {
            found.push(word);
        }
    }
    found
}

/// Whether `word` is `option` together with its value: `-uURL` or `--url=URL`.
fn is_with_value(word: &str, option: &str) -> bool {
    let value = word.strip_prefix(option);
    value.is_some_and(|value| !option.starts_with("--") || value.starts_with('='))
}

/// The topics of the gateway that these options name. None if there is no answer in time.
fn names(options: &[String]) -> Option<Vec<String>> {
    let words = [NAME, "--quiet", "topics"].into_iter().chain(options.iter().map(String::as_str));
    let args = Args::try_parse_from(words).ok()?;
    let settings = Settings::resolve(&args, &|name| std::env::var(name).ok()).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let names = runtime.block_on(async {
        let is_rest = settings.is_rest();
        let asked = topics::names(builder(&args, settings).ok()?, is_rest);
        timeout(WITHIN, asked).await.ok()?.ok()
    });
    // An ordinary shutdown would wait for a slow look-up of the host.
    runtime.shutdown_background();
    let mut names = names?;
    // Shells take candidates as their own syntax, and a server could send anything.
    names.retain(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
    Some(names)
}

const NAME: &str = "sluicegate";
/// Set by the scripts. The bridge ignores it, as it begins with an underscore.
const VARIABLE: &str = "_SLUICEGATE_COMPLETE";
/// Options with a value that say where the gateway is and how to connect to it.
const OPTIONS: &[&str] = &[
    "-u",
    "--url",
    "-H",
    "--header",
    "--token-file",
    "--cacert",
    "--cert",
    "--key",
    "--profile",
    "--config",
];
/// As long as one waits for a Tab.
const WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn options_of_the_gateway_are_found_among_others() {
        let found = |line: &str| of_gateway(line.split(' ').map(str::to_owned)).join(" ");
        assert_eq!(found("-q -u ws://a fetch -p 0 --profile=p -H a:b t"), "-u ws://a --profile=p -H a:b");
        assert_eq!(found("fetch -uws://a --urls x --key"), "-uws://a --key");
        assert_eq!(found("fetch orders"), "");
    }

    #[test]
    fn every_option_of_the_gateway_with_a_value_is_known() {
        let program = Args::command();
        let of_gateway =
            |arg: &&Arg| arg.get_help_heading() == Some("Gateway") && arg.get_action().takes_values();
        for arg in program.get_arguments().filter(of_gateway).filter(|arg| arg.get_id() != "timeout") {
            let long = format!("--{}", arg.get_long().unwrap());
            let short = arg.get_short().map(|short| format!("-{short}"));
            for option in [Some(long), short].into_iter().flatten() {
                assert!(OPTIONS.contains(&option.as_str()), "{option}");
            }
        }
    }
}

//! Parses a program's command line; errors are one sentence.

use std::io::{Write as _, stderr};
use std::iter::successors;
use std::process::ExitCode;

use clap::{Error, Parser};

pub fn parse<A: Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        if error.use_stderr() {
            let mut command = A::command();
            command.build();
            let (name, called) = (command.get_name(), command.get_bin_name().unwrap_or(command.get_name()));
            // Ignored: standard error is closed.
            let _ = writeln!(stderr(), "{name}: {} (see {called} --help)", sentence(&error));
            ExitCode::from(2)
        } else {
            let _ = error.print();
            ExitCode::SUCCESS
        }
    })
}

/// An error with its causes.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The exit status of a program that ends with this error, which is printed.
pub fn ended(program: &str, result: Result<(), Box<dyn std::error::Error + Send + Sync>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Ignored: standard error is closed.
            let _ = writeln!(stderr(), "{program}: {}", causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The first of clap's paragraphs, on one line: the others are tips and the usage.
fn sentence(error: &Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").replace(char::is_control, " ")
}

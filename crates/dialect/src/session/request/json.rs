//! A client's text becomes a request: `{"id": 1, "fetch": {…}}`.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Error;
use serde_json::value::RawValue;
use sluicegate_backend::System;
use sluicegate_protocol::CmdCredit;
use sluicegate_telemetry::metrics::Kind;

use super::Request;
use crate::Asked;
use crate::json::without_bom;
use crate::session::answer::Encoding;
use crate::session::members::{object, or_default};
use crate::session::subscribe::{Credit, Unsubscribe};

/// Parses a message.
pub(super) fn parse(message: &[u8], system: System) -> Request {
    let invalid = |sequence, message| Request::Invalid { sequence, kind: Kind::Unknown, message };
    let Envelope { id, commands } = match serde_json::from_slice(without_bom(message)) {
        Ok(envelope) => envelope,
        Err(error) => return invalid(0, format!("the message is not a JSON object: {error}")),
    };
    let sequence = match &id[..] {
        [] => 0,
        [id] => match serde_json::from_str(id.get()) {
            Ok(sequence) => sequence,
            Err(_) => return invalid(0, "id: expected a whole number of 64 bits".to_owned()),
        },
        _ => return invalid(0, "more than one id".to_owned()),
    };
    let (name, body) = match &commands[..] {
        [command] => command,
        [] => return invalid(sequence, format!("no command: expected one of {}", names(system))),
        _ => return invalid(sequence, "more than one command: send each in a message of its own".to_owned()),
    };
    let dialect = crate::of(system);
    let own = || {
        let (kind, asked) = dialect.json_command(name, body.get())?;
        let request = |(asked, format)| {
            let encoding = Encoding::Json(format);
            match asked {
                Asked::Command(command) => Request::Command { sequence, command, encoding },
                Asked::Subscribe(subscribed) => Request::Subscribe { sequence, subscribed, encoding },
            }
        };
        Some((kind, asked.map(request)))
    };
    let command = shared_command(sequence, name, body.get()).or_else(own);
    let of_system = || match is_of_another_system(name, body.get()) {
        true => format!("the cluster is of {}: ", system.name),
        false => String::new(),
    };
    match command {
        Some((_, Ok(request))) => request,
        Some((kind, Err(error))) => {
            let of_system = if has_unknown_word(&error) { of_system() } else { String::new() };
            Request::Invalid { sequence, kind, message: format!("{of_system}{name}: {error}") }
        }
        None => {
            let names = names(system);
            invalid(sequence, format!("{}unknown command {name:?}: expected one of {names}", of_system()))
        }
    }
}

/// Whether a command with words that the cluster's system does not know has those of another one.
fn is_of_another_system(name: &str, json: &str) -> bool {
    let mut asked = crate::ALL.into_iter().filter_map(|dialect| dialect.json_command(name, json));
    asked.any(|(_, asked)| asked.err().is_none_or(|error| !has_unknown_word(&error)))
}

fn has_unknown_word(error: &Error) -> bool {
    error.to_string().starts_with("unknown field")
}

/// The command of a name that every system has. None if there is none.
fn shared_command(sequence: i64, name: &str, json: &str) -> Option<(Kind, Result<Request, Error>)> {
    Some(match name {
        "ping" => {
            let ping = |Ping { state }| Request::Ping { sequence, state: Bytes::from(state) };
            (Kind::Ping, object(json).map(ping))
        }
        "session" => {
            let limits = |Limits { max_message_bytes }| Request::limits(sequence, max_message_bytes);
            (Kind::Session, object(json).map(limits))
        }
        "auth" => (Kind::Auth, object(json).map(|Auth { token }| Request::auth(sequence, token))),
        "unsubscribe" => {
            let unsubscribe = |Unsubscribe { subscription }| Request::Unsubscribe { sequence, subscription };
            (Kind::Subscribe, object(json).map(unsubscribe))
        }
        "credit" => {
            let credit = |Credit { subscription, bytes }| Request::Credit(CmdCredit { subscription, bytes });
            (Kind::Subscribe, object(json).map(credit))
        }
        _ => return None,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ping {
    #[serde(default, deserialize_with = "or_default")]
    state: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    max_message_bytes: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth {
    token: String,
}

/// The names of the commands.
fn names(system: System) -> String {
    format!("ping, {}, subscribe, unsubscribe, credit, session, auth", crate::of(system).json_commands())
}

/// The members of a message that are not null. Two of each kind are enough to refuse it.
struct Envelope<'a> {
    id: Vec<&'a RawValue>,
    commands: Vec<(String, &'a RawValue)>,
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Envelope<'de>, A::Error> {
        let mut envelope = Envelope { id: Vec::new(), commands: Vec::new() };
        while let Some(name) = members.next_key::<String>()? {
            let value: &RawValue = members.next_value()?;
            if value.get() == "null" {
                continue;
            }
            if name == "id" {
                envelope.id.push(value);
                envelope.id.truncate(2);
            } else {
                envelope.commands.push((name, value));
                envelope.commands.truncate(2);
            }
        }
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests;

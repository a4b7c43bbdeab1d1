//! Kafka's commands and results in JSON.

mod answer;
mod command;
mod produce;
mod source;
mod subscribe;

use serde_json::Error;
use sluicegate_backend::command::Command;
use sluicegate_telemetry::metrics::Kind;

pub(super) use self::answer::{item, listed, produced};
use self::command::{Fetch, ListOffset, ListOffsets, Metadata, MultiFetch};
use self::produce::Produce;
use self::subscribe::Subscribe;
use crate::json::format::Format;
use crate::json_sessions::object::object;
use crate::{Asked, InFormat};

/// The command of a name; none if there is none.
pub(super) fn command(name: &str, json: &str) -> Option<(Kind, Result<InFormat, Error>)> {
    let run = |command, format| (Asked::Command(command), format);
    let plain = |command| run(command, Format::default());
    Some(match name {
        "fetch" => {
            let fetch = |fetch: Fetch| {
                let format = fetch.format;
                run(fetch.into(), format)
            };
            (Kind::Fetch, object(json).map(fetch))
        }
        "multi_fetch" => {
            let fetch = |fetch: MultiFetch| {
                let format = fetch.format;
                run(fetch.into(), format)
            };
            (Kind::MultiFetch, object(json).map(fetch))
        }
        "list_offset" => (Kind::ListOffset, object(json).map(|list: ListOffset| plain(list.into()))),
        "list_offsets" => (Kind::ListOffsets, object(json).map(|list: ListOffsets| plain(list.into()))),
        "metadata" => (Kind::Topics, object(json).map(|names: Metadata| plain(names.into()))),
        "produce" => {
            let records = object(json).and_then(Produce::decode);
            (Kind::Produce, records.map(|records| plain(Command::Produce(records))))
        }
        "subscribe" => {
            let subscribe = |(subscribed, format)| (Asked::Subscribe(subscribed), format);
            (Kind::Subscribe, Subscribe::parse(json).map(subscribe))
        }
        _ => return None,
    })
}

//! The texts that follow the options in `--help`, and the page that shows all of them.

pub(super) const SETTINGS: &str = "\
Settings:
  Arguments override environment variables, which override the profile:
    SLUICEGATE_URL         URL of a WebSocket route, for all commands
    SLUICEGATE_HEADERS     HTTP headers, one per line, or lines of @FILE
    SLUICEGATE_TOKEN_FILE  file with a JSON Web Token
    SLUICEGATE_PROFILE     name of the profile

  The configuration file has any number of profiles. Every key is optional; relative files are
  beside the configuration file:
    [profile.prod]
    url = \"wss://gateway.example/pubsub\"
    headers = { Origin = \"https://app.example\" }
    header_files = [\"prod-token\"]   # with lines such as Authorization: Bearer …
    token_file = \"/run/token\"         # a JSON Web Token, read again before it expires
    cacert = \"ca.pem\"
    cert = \"client.pem\"
    key = \"client.key\"

  Without --profile, the profile `default` is used if it exists and no argument or variable gives a
  URL: its headers are only for its own gateway. A warning appears if other users can read
  header_files or token_file, or a configuration file with headers. Keep secrets in files or variables: every user
  of the machine can see arguments.

Exit codes:
    0  success, also if the reader of the output closed it (| head)
    1  the server, Kafka or NATS rejected the command or a record, the server is too old for it,
       or a read stalled below the log end
    2  wrong usage or configuration, or unreadable input
    3  no connection, connection lost, no answer in time, or an invalid answer
    4  the output cannot be written
  130  Ctrl-C
  143  SIGTERM, of subscribe --group";

pub(super) const TOPICS: &str = r#"JSON, with kcat's field names:
  {"topics":[{"topic","partitions":[{"partition","leader","replicas":[{"id"}],"isrs":[{"id"}]}]}]}
The leader is -1 while there is none."#;

pub(super) const TABLE: &str = r#"JSON, with the value as JSON if it is some, as a string, or as {"base64"}:
  with --once   {"KEY":VALUE,…}, keys that are not UTF-8 as "base64:…"
  otherwise     {"key","value","timestamp"} for a key, {"key","removed":true} for one that is gone,
                and {"complete":true} after the first keys, and whenever it has begun anew
If the bridge's cluster has schemas, values with a schema are JSON: "value_schema" names it,
"key_json" is a key with a schema, and "not_decoded" says why a value is as it is stored."#;

pub(super) const OUTPUT: &str = r#"Format, as in kcat:
  %s  value             %S  its length in bytes, -1 for null
  %k  key               %K  its length in bytes, -1 for null
  %h  headers, as KEY=VALUE,KEY=VALUE; NULL for a null value
  %t  topic  %p  partition  %o  offset  %T  timestamp in milliseconds  %%  percent sign
  \n \r \t \\ \xHH
With --stream:
  %s  data     %S  its length in bytes     %t  stream  %o  sequence
  %k  subject  %K  its length in bytes     %h and %T as above; there is no %p

JSON lines, with kcat's field names:
  {"topic","partition","offset","tstype","ts","headers","key","payload"}
  tstype: create or logappend; create also if the server is too old to tell
  ts: milliseconds since 1970; like tstype left out if the message has none
  headers: [NAME, VALUE, NAME, VALUE, …], left out if there are none
  key, payload and header values: null, a string if UTF-8, otherwise {"base64": "…"}
kcat's "broker" is left out, as the gateway does not send it. `produce --json` reads these lines.
If the bridge's cluster has schemas, and without --no-decode:
  payload, key: of a value or key with a schema its JSON, not in a string
  value_schema, key_schema: {"id"} or {"guid"}, and "type": AVRO, PROTOBUF or JSON
  not_decoded: why a value or key with a schema is as it is stored

JSON lines with --stream, with the gateway's own field names:
  {"stream","sequence","timestamp","subject","data","headers"}
  timestamp: milliseconds since 1970
  headers: [{"key","value"}, …], left out if there are none
  data and header values: a string if UTF-8, otherwise {"base64": "…"}
`produce --stream S --json` reads these lines."#;

pub(super) const PRODUCE: &str = r#"JSON lines, with kcat's field names, as `fetch --json` prints them, and `kcat -J` for UTF-8 data:
  {"key","payload","headers","ts","partition"}
  key, payload and header values: a string, {"base64": "…"} for other bytes, or null
  headers: [NAME, VALUE, NAME, VALUE, …]
  ts: milliseconds since 1970
  value_schema, key_schema: a subject, an id or {"id"}; payload or key is any JSON then
  topic, offset, tstype, broker and not_decoded are ignored
Every field is optional; unknown fields are errors. --partition overrides "partition",
--value-schema "value_schema", and --key-schema "key_schema".

JSON lines with --stream, as `fetch --stream S --json` prints them, and with an optional message ID:
  {"subject","data","headers","message_id"}
  data and header values: a string, or {"base64": "…"} for other bytes
  headers: [{"key","value"}, …]; "name" stands for "key", too
  stream, sequence and timestamp are ignored
Unknown fields are errors. --subject overrides "subject", --message-id overrides "message_id".

--print-offsets prints a line for each acknowledged record, in the order of acknowledgement. RECORD
is its number in the input, from 1:
  RECORD TOPIC [PARTITION] offset OFFSET    {"record","topic","partition","offset"}
  RECORD STREAM sequence SEQUENCE           {"record","stream","sequence"}
The offset is -1 if Kafka has the record, but does not say where. A duplicate has the sequence of
the message in the stream.

The summary on standard error counts records: sent, acknowledged, failed (not written), unknown (may
have been written). Acknowledged duplicates were in the stream or, with --producer, in the topic before.

--producer FILE writes each record of the input once, and in order in each partition:
  Killed at any point, the same command goes on where it was, over any bridge, for as long as Kafka
  keeps the producer's account: by default 18 hours after the first try of a record without an
  answer. Lost connections do not end it: it gives up after a minute without an answer.
  FILE has the id of a producer, and the partitions and numbers of records without an answer. It is
  replaced as a whole before these are sent; FILE.lock keeps other commands out while one runs.
  FILE belongs to one input, topic and URL. The input is the same if its beginning is, by a hash of
  the records so far, and is read with the same options: what is appended is written by the next run.
  Records that are refused are passed over, and the exit code stays 1. If all are, as without a
  right, they are sent again by the next run. The summary says how many were done before."#;

pub(super) const SESSIONS: &str = r#"JSON lines, as the bridge sends them:
  {"id","kind","group","instance","cluster","route","issuer","subject","address","opened_at","age_ms",
   "expires_in_ms","received_bytes","sent_bytes","commands","denied",
   "subscriptions":[{"topic","group","partitions","lag"}]}
  kind: session, events or consumer, which has group and instance
  opened_at: RFC 3339; age_ms and expires_in_ms: milliseconds
  route, issuer, subject, address, expires_in_ms, group and lag are left out if there are none"#;

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use clap::{Arg, CommandFactory as _};

    use crate::args::Args;

    /// `SLUICEGATE_GEN=1` writes the page.
    #[test]
    fn page_shows_the_help_of_every_command() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/command-line.md");
        let mut page = INTRO.to_owned();
        let mut program = Args::command().term_width(100);
        program.build();
        section(&mut page, "sluicegate", &program);
        assert_eq!(page.matches("--cacert <FILE>").count(), 1, "the gateway's options are listed once");
        if std::env::var_os("SLUICEGATE_GEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &page).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == page, "{} is stale: run this test with SLUICEGATE_GEN=1", path.display());
    }

    /// The help of a command, and then of those below it.
    fn section(page: &mut String, title: &str, command: &clap::Command) {
        let is_repeated = |arg: &Arg| title.contains(' ') && arg.get_help_heading() == Some("Gateway");
        let hide = |arg: Arg| if is_repeated(&arg) { arg.hide(true) } else { arg };
        let help = command.clone().mut_args(hide).render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        write!(page, "\n## {title}\n\n```text\n{}\n```\n", lines.join("\n").trim_end()).unwrap();
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            section(page, &format!("{title} {}", command.get_name()), command);
        }
    }

    const INTRO: &str = "\
# Command line

`sluicegate` reads and writes Kafka topics and NATS streams through a gateway, with kcat's habits. `sluicegate admin` \
operates a bridge.
`cargo install --path crates/cli` installs it.

This page shows the program's own help, `sluicegate COMMAND --help`. Every command also takes the options under \
\"Gateway\" in the first
section, before or after its name; `admin` takes only a few of them. `./dev gen` renders the page.
";
}

//! Events of a subscription, as lines for people.

use std::collections::BTreeSet;

use sluicegate_client::{Error, SkipCause};

use super::update::Update;
use crate::log::Log;
use crate::refusal;
use crate::stderr::printable;

/// Says of each log once that its end is reached, and again after a disturbance.
#[derive(Debug, Default)]
pub(crate) struct Events {
    at_end: BTreeSet<Log>,
    /// New partitions are told apart from those of the beginning, and of each new one.
    is_subscribed: bool,
}

impl Events {
    /// The line for `update`, unless it is nothing to tell.
    pub(crate) fn line(&mut self, update: &Update) -> Option<String> {
        match update {
            Update::Subscribed(logs) => {
                let is_first = !std::mem::replace(&mut self.is_subscribed, true);
                (!(is_first || logs.is_empty())).then(|| format!("% New partitions: {}", names(logs)))
            }
            Update::Assigned(logs) if logs.is_empty() => {
                Some("% Assigned: nothing, other members have all partitions".to_owned())
            }
            Update::Assigned(logs) => Some(format!("% Assigned: {}", names(logs))),
            Update::Revoked => {
                self.at_end.clear();
                Some("% Revoked: messages that are not committed come again, here or elsewhere".to_owned())
            }
            Update::CaughtUp { log, next, blocked_until: Some(end) } => {
                let last = end.saturating_sub(1);
                Some(format!("% {}s {next} to {last} of {log} wait for an open transaction", log.unit()))
            }
            Update::CaughtUp { log, next, blocked_until: None } => {
                let is_new = self.at_end.insert(log.clone());
                is_new.then(|| format!("% Reached end of {log} at {} {next}", log.unit()))
            }
            Update::Skipped { log, from, to, cause } => {
                let why = match cause {
                    SkipCause::Deleted => format!("the log begins at {to}"),
                    SkipCause::Lag => "behind the log end".to_owned(),
                };
                let last = to.saturating_sub(1);
                Some(format!("% Skipped {}s {from} to {last} of {log}: {why}", log.unit()))
            }
            Update::Retrying { error } => {
                self.at_end.clear();
                Some(format!("% {}; retrying", text(error)))
            }
            Update::Reconnecting { error, pause } => {
                self.at_end.clear();
                self.is_subscribed = false;
                Some(format!("% {}; retrying in {:.1} s", text(error), pause.as_secs_f64()))
            }
            Update::Delivery { .. } | Update::Unknown => None,
        }
    }
}

fn names(logs: &[Log]) -> String {
    let names: Vec<String> = logs.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn text(error: &Error) -> String {
    match error {
        Error::Command { message, trace_id, .. } => printable(&refusal::traced(message, trace_id)),
        why => printable(&format!("failed to {why}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ends_are_told_once_between_disturbances() {
        let mut events = Events::default();
        let end = |next| Update::CaughtUp { log: Log::partition("t", 1), next, blocked_until: None };
        let lost = Error::Lost { detail: "gone".into() };
        let reconnecting = Update::Reconnecting { error: lost, pause: Duration::from_millis(80) };
        let lines: Vec<Option<String>> =
            [end(3), end(4), reconnecting, end(5)].iter().map(|update| events.line(update)).collect();
        let want = [
            Some("% Reached end of t [1] at offset 3"),
            None,
            Some("% failed to keep the connection: gone; retrying in 0.1 s"),
            Some("% Reached end of t [1] at offset 5"),
        ];
        assert_eq!(lines.iter().map(Option::as_deref).collect::<Vec<_>>(), want);
    }

    #[test]
    fn shares_of_a_group_are_told() {
        let mut events = Events::default();
        let logs = vec![Log::partition("t", 0), Log::partition("u", 3)];
        let none = Vec::new();
        let updates = [
            // A member that joins again has no new partitions.
            Update::Subscribed(none.clone()),
            Update::Subscribed(none.clone()),
            Update::Assigned(logs),
            Update::Revoked,
            Update::Assigned(none),
        ];
        let lines: Vec<String> = updates.iter().filter_map(|update| events.line(update)).collect();
        let want = [
            "% Assigned: t [0], u [3]",
            "% Revoked: messages that are not committed come again, here or elsewhere",
            "% Assigned: nothing, other members have all partitions",
        ];
        assert_eq!(lines, want);
    }

    #[test]
    fn skipped_records_have_a_reason() {
        let line = |cause| {
            let skipped = Update::Skipped { log: Log::partition("t", 0), from: 3, to: 9, cause };
            Events::default().line(&skipped).unwrap()
        };
        assert_eq!(line(SkipCause::Deleted), "% Skipped offsets 3 to 8 of t [0]: the log begins at 9");
        assert_eq!(line(SkipCause::Lag), "% Skipped offsets 3 to 8 of t [0]: behind the log end");
    }
}

//! Subjects of messages to write: which ones clients can use, and which ones a stream takes.

use async_nats::Subject;
use bytes::Bytes;
use sluicegate_backend::command::Record;
use sluicegate_backend::{CommandError, Fault};

use super::error::printable;

/// The subject of a client's record, if it is literal and not reserved.
///
/// The bridge's user can call JetStream's API: a message on `$JS.API.STREAM.DELETE.ORDERS` would delete a stream. A
/// stream can be configured to take such subjects, so the streams' own subjects do not protect against this.
pub(super) fn of(record: &Record, inbox: &str) -> Result<Subject, CommandError> {
    parse(record.key.as_deref().map(Bytes::copy_from_slice), inbox)
}

pub(super) fn parse(subject: Option<Bytes>, inbox: &str) -> Result<Subject, CommandError> {
    let invalid = |problem: String| CommandError::new(Fault::Invalid, 0, problem);
    let subject = subject.unwrap_or_default();
    if subject.len() > MAX_SUBJECT {
        return Err(invalid(format!("subject of {} bytes: expected at most {MAX_SUBJECT}", subject.len())));
    }
    let subject = Subject::from_utf8(subject).map_err(|_| invalid("subject is not UTF-8".to_owned()))?;
    if let Some(problem) = problem(&subject) {
        return Err(invalid(problem.to_owned()));
    }
    if is_reserved(&subject, inbox) {
        let problem = format!("subject {} is reserved for servers", printable(&subject));
        return Err(CommandError::forbidden(0, problem));
    }
    Ok(subject)
}

/// Why a text is no literal subject.
fn problem(subject: &str) -> Option<&'static str> {
    if subject.is_empty() {
        return Some("missing subject");
    }
    if subject.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some("subject with spaces or control characters");
    }
    subject.split('.').find_map(|token| match token {
        "" => Some("subject with an empty token"),
        ANY | REST => Some("subject with a wildcard: expected a literal subject"),
        _ => None,
    })
}

/// Whether the subject is one of a server's API, or one for answers.
fn is_reserved(subject: &str, inbox: &str) -> bool {
    let is_below = |prefix: &str| subject.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
    RESERVED.iter().any(|prefix| is_below(prefix)) || is_below(inbox)
}

/// Whether a literal subject is one of those that `filter` stands for.
pub(super) fn matches(filter: &str, subject: &str) -> bool {
    let (mut filter, mut subject) = (filter.split('.'), subject.split('.'));
    loop {
        match (filter.next(), subject.next()) {
            (Some(REST), Some(_)) | (None, None) => return true,
            (Some(expected), Some(token)) if expected == ANY || expected == token => {}
            _ => return false,
        }
    }
}

/// Stands for one token.
const ANY: &str = "*";
/// Stands for one token and all that follow.
const REST: &str = ">";
/// A line of the protocol has 4,096 bytes at most by a server's default, and a longer one ends the connection.
const MAX_SUBJECT: usize = 1024;
/// The APIs of nats-server, and its subjects for answers.
const RESERVED: [&str; 8] = ["$JS", "$JSC", "$SYS", "$NRG", "$GNR", "_GR_", "_R_", "_INBOX"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(subject: impl Into<Bytes>) -> Option<Fault> {
        parse(Some(subject.into()), "bridge.inbox").err().map(|error| error.fault)
    }

    #[test]
    fn literal_subjects_are_accepted() {
        for subject in
            "a orders.eu.7 $KV.config.key $O.b.C.x a*.>b $JSON.a _INBOXES.a bestellung.für".split(' ')
        {
            assert_eq!(fault(subject), None, "{subject}");
        }
        assert_eq!(fault("x".repeat(MAX_SUBJECT)), None);
    }

    #[test]
    fn other_subjects_are_invalid() {
        for subject in [
            "", ".", ".a", "a.", "a..b", "*", "a.*", "*.a", "a.>", ">", "a b", "a\tb", "a\r\nb", "a\0",
            "a\u{a0}",
        ] {
            assert_eq!(fault(subject), Some(Fault::Invalid), "{subject:?}");
        }
        assert_eq!(fault("x".repeat(MAX_SUBJECT + 1)), Some(Fault::Invalid));
        assert_eq!(fault(&b"a.caf\xe9"[..]), Some(Fault::Invalid));
        assert_eq!(parse(None, "i").unwrap_err().message, "missing subject");
    }

    #[test]
    fn subjects_of_servers_are_forbidden() {
        for subject in "$JS.API.STREAM.DELETE.ORDERS $JS.hub.API.INFO $JS.ACK.S.C.1.1.1.1.0 $JSC.R.x $SYS.REQ.SERVER.PING \
 $NRG.V.x _INBOX.abc.1 _R_.abc bridge.inbox.abc.1".split(' ') {
            assert_eq!(fault(subject), Some(Fault::Forbidden), "{subject}");
        }
    }

    #[test]
    fn filters_match_token_by_token() {
        for (filter, subject, is_match) in [
            ("a", "b", false),
            ("a.b", "a", false),
            ("a.*", "a", false),
            ("a.*.c", "a.b.d", false),
            ("a.>", "a", false),
            ("a.*.>", "a.b", false),
            ("a*", "ab", false),
            ("A", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(filter, subject), is_match, "{filter} {subject}");
        }
    }

    proptest! {
        #[test]
        fn wildcards_stand_for_what_they_replace(
            tokens in prop::collection::vec("[ab]{1,2}", 1..6),
            is_any in prop::collection::vec(any::<bool>(), 6),
            cut in 0_usize..6,
        ) {
            let subject = tokens.join(".");
            let replace = |(token, is_any): (&String, &bool)| if *is_any { ANY.to_owned() } else { token.clone() };
            let mut filter: Vec<String> = tokens.iter().zip(&is_any).map(replace).collect();
            prop_assert!(matches(&filter.join("."), &subject));
            let longer = format!("{subject}.x");
            prop_assert!(!matches(&filter.join("."), &longer));
            filter.truncate(cut.min(tokens.len() - 1));
            prop_assert!(!matches(&filter.join("."), &subject));
            filter.push(REST.to_owned());
            prop_assert!(matches(&filter.join("."), &subject) && matches(&filter.join("."), &longer));
        }
    }
}

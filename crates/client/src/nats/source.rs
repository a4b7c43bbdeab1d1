//! The streams of a subscription, and how far each has come.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::nats_source::From;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdNatsSubscribe, NatsSource};

use super::update::{Delivery, SubscribedStream, Update};
use crate::subscribe::before_end;
use crate::subscription::{Away, Resume, behind, cost};
use crate::{At, Error, Subscribe};

/// A stream to read, by default from its end on.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Source(NatsSource);

impl Source {
    /// The stream with this name.
    pub fn new(stream: impl Into<String>) -> Self {
        Self(NatsSource { stream: stream.into(), ..Default::default() })
    }

    /// Begins here; at the end if every message is older than a time.
    pub fn at(mut self, at: At) -> Self {
        self.0.from = Some(From::Timestamp(at.timestamp()));
        self
    }

    /// Begins at this sequence; 0 for the first message.
    pub fn sequence(mut self, sequence: i64) -> Self {
        self.0.from = Some(From::Sequence(sequence));
        self
    }

    /// Begins so many sequences before the end, or at the first message.
    pub fn last(self, count: u64) -> Self {
        match before_end(count) {
            // Sequence 0 is the first message.
            0 => self.at(At::Latest),
            sequence => self.sequence(sequence),
        }
    }

    /// Fails if the stream has another id than this one of an earlier [subscription](SubscribedStream): it was deleted
    /// and created again, and other messages are at its sequences. Needs a [`sequence`](Self::sequence).
    pub fn stream_id(mut self, id: impl Into<Bytes>) -> Self {
        self.0.stream_id = id.into();
        self
    }
}

impl Subscribe<Source> {
    pub(super) fn into_command(self) -> CmdNatsSubscribe {
        CmdNatsSubscribe {
            sources: self.sources.into_iter().map(|source| source.0).collect(),
            filters: self.filters,
            max_batch_bytes: self.max_batch_bytes,
            max_batch_messages: self.max_batch_records,
            linger_ms: self.linger_ms,
            credit: Some(self.window),
            on_lag: self.on_lag.into(),
            snapshot: self.snapshot.into(),
            away_ms: None,
        }
    }
}

/// The command that continues after what was taken.
#[derive(Debug)]
pub(super) struct Streams {
    wanted: CmdNatsSubscribe,
    away: Away,
}

impl Streams {
    pub(super) fn new(wanted: CmdNatsSubscribe) -> Self {
        Self { wanted, away: Away::default() }
    }

    fn source(&mut self, stream: &str) -> Option<&mut NatsSource> {
        self.wanted.sources.iter_mut().find(|source| source.stream == stream)
    }

    fn continue_at(&mut self, stream: &str, sequence: i64) {
        if let Some(source) = self.source(stream) {
            source.from = Some(From::Sequence(sequence));
        }
    }
}

impl Resume for Streams {
    type Update = Update;

    fn command(&self) -> Req {
        let mut command = CmdNatsSubscribe { away_ms: self.away.millis(), ..self.wanted.clone() };
        if self.away.is_in_snapshot() {
            for source in &mut command.sources {
                (source.from, source.stream_id) = (None, Bytes::new());
            }
        }
        Req::CmdNatsSubscribe(command)
    }

    fn hear(&mut self) {
        self.away.hear();
    }

    fn read(&self, answer: Resp) -> Result<Option<Update>, Error> {
        Update::read(answer)
    }

    fn advance(&mut self, update: &Update) -> Option<u64> {
        match update {
            Update::Subscribed(streams) | Update::Snapshot(streams) => {
                if matches!(update, Update::Snapshot(_)) {
                    self.away.begin();
                }
                for SubscribedStream { stream, stream_id, next_sequence } in streams {
                    self.away.is_behind(stream, 0);
                    if let Some(source) = self.source(stream) {
                        source.stream_id.clone_from(stream_id);
                        // One that has not begun begins as it was asked for.
                        if *next_sequence >= 0 {
                            source.from = Some(From::Sequence(*next_sequence));
                        }
                    }
                }
                None
            }
            Update::Delivery(Delivery { stream, messages, next_sequence, end }) => {
                if behind(*next_sequence, *end) > 0 {
                    self.away.is_behind(stream, 0);
                }
                self.continue_at(stream, *next_sequence);
                Some(cost(messages))
            }
            Update::CaughtUp { stream, next_sequence } => {
                self.away.caught_up(stream, 0);
                self.continue_at(stream, *next_sequence);
                Some(0)
            }
            Update::Skipped { stream, to, .. } => {
                self.continue_at(stream, *to);
                None
            }
            Update::SnapshotEnd => {
                self.away.end_snapshot();
                Some(0)
            }
            Update::Retrying { stream, .. } => {
                self.away.is_behind(stream, 0);
                None
            }
            Update::Reconnecting { .. } | Update::Building { .. } | Update::FirstSequence { .. } => None,
        }
    }

    fn reconnecting(error: Error, pause: Duration) -> Update {
        Update::Reconnecting { error, pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SkipCause;

    fn sources(resume: &Streams) -> Vec<NatsSource> {
        match resume.command() {
            Req::CmdNatsSubscribe(command) => command.sources,
            other => panic!("not a subscription: {other:?}"),
        }
    }

    fn begins(next_sequence: i64) -> Vec<SubscribedStream> {
        vec![SubscribedStream { stream: "s".into(), stream_id: "id".into(), next_sequence }]
    }

    #[test]
    fn command_continues_in_the_same_stream_where_it_was() {
        let mut resume = Streams::new(Subscribe::new([Source::new("s").at(At::Earliest)]).into_command());
        let stream = || "s".to_owned();
        let (messages, end, cause) = (Vec::new(), None, SkipCause::Deleted);
        for (update, next) in [
            (Update::Subscribed(begins(3)), 3),
            (Update::Skipped { stream: stream(), from: 3, to: 10, cause }, 10),
            (Update::CaughtUp { stream: stream(), next_sequence: 12 }, 12),
            (Update::Delivery(Delivery { stream: stream(), messages, next_sequence: 14, end }), 14),
        ] {
            resume.advance(&update);
            assert_eq!(sources(&resume), [Source::new("s").sequence(next).stream_id("id").0], "{update:?}");
        }
    }

    #[test]
    fn incomplete_snapshot_begins_anew() {
        let wanted = Subscribe::new([Source::new("s")]).latest_per_key().into_command();
        let mut resume = Streams::new(wanted.clone());
        resume.advance(&Update::Snapshot(begins(5)));
        assert_eq!(sources(&resume), wanted.sources);
        resume.advance(&Update::SnapshotEnd);
        assert_eq!(sources(&resume), [Source::new("s").sequence(5).stream_id("id").0]);
    }
}

//! An example stream, as a bridge would serve it.

use sluicegate_protocol::nats_source::From;
use sluicegate_protocol::nats_subscription_event::{CaughtUp, Event, Skipped};
use sluicegate_protocol::{
    ListedSequence, NatsDeliveryResp, NatsFetchResp, NatsListSequencesResp, NatsMessage, NatsSubscribedResp,
    NatsSubscriptionEvent, StreamTime, SubscribedStream,
};

use super::*;

/// The stream `ORDERS`: messages 3, 4 and 6, published at as many seconds after 1970. It ends at 7; subscribers are
/// told of 9.
pub(crate) async fn play(mut session: Session) {
    while let Some((sequence, request)) = session.request().await {
        let answers = match request {
            Req::CmdNatsListSequences(list) => {
                let results = list.times.iter().map(listed).collect();
                vec![Resp::NatsListSequencesResp(NatsListSequencesResp { results })]
            }
            Req::CmdNatsFetch(fetch) if fetch.sequence > 7 => vec![Resp::ErrorResp(ErrorResp {
                message: "failed to fetch message, stream: ORDERS, err: out of range".into(),
                earliest_offset: Some(3),
                latest_offset: Some(7),
                trace_id: "4bf9".into(),
                ..Default::default()
            })],
            Req::CmdNatsFetch(fetch) => {
                // One message an answer, so that a read takes several.
                let messages: Vec<_> = unread(fetch.sequence).into_iter().take(1).collect();
                let next_sequence = messages.last().map_or(7, |last| last.sequence + 1);
                vec![Resp::NatsFetchResp(NatsFetchResp { messages, next_sequence, ..Default::default() })]
            }
            Req::CmdNatsSubscribe(command) => subscription(&command),
            Req::CmdUnsubscribe(_) | Req::CmdCredit(_) => Vec::new(),
            other => panic!("unexpected command: {other:?}"),
        };
        for answer in answers {
            session.answer(sequence, answer).await;
        }
    }
}

fn listed(StreamTime { stream, timestamp }: &StreamTime) -> ListedSequence {
    if stream != "ORDERS" {
        let error = ErrorResp { message: "stream not found".into(), ..Default::default() };
        return ListedSequence { error: Some(error), ..Default::default() };
    }
    let sequence = match timestamp {
        -1 => 7,
        -2 => 3,
        -3 => 6,
        time => [3, 4, 6].into_iter().find(|sequence| sequence * 1000 >= *time).unwrap_or(-1),
    };
    ListedSequence { sequence, timestamp: -1, error: None }
}

fn subscription(command: &CmdNatsSubscribe) -> Vec<Resp> {
    let next_sequence = match command.sources[0].from {
        Some(From::Sequence(before @ ..0)) => (7 + before).max(3),
        Some(From::Sequence(sequence)) => sequence,
        Some(From::Timestamp(-2)) => 3,
        _ => 7,
    };
    let stream = || "ORDERS".to_owned();
    let event = |event| Resp::NatsSubscriptionEvent(NatsSubscriptionEvent { event: Some(event) });
    let subscribed = SubscribedStream { stream: stream(), stream_id: "id".into(), next_sequence };
    vec![
        Resp::NatsSubscribedResp(NatsSubscribedResp { streams: vec![subscribed], snapshot: false }),
        delivery("ORDERS", unread(next_sequence)),
        event(Event::CaughtUp(CaughtUp { stream: stream(), next_sequence: 7 })),
        event(Event::Skipped(Skipped { stream: stream(), from: 7, to: 9, cause: 1 })),
        delivery("ORDERS", vec![message(9)]),
    ]
}

fn unread(from: i64) -> Vec<NatsMessage> {
    [3, 4, 6].into_iter().filter(|sequence| *sequence >= from).map(message).collect()
}

pub(crate) fn message(sequence: i64) -> NatsMessage {
    NatsMessage {
        sequence,
        timestamp: sequence * 1000,
        subject: format!("a.{sequence}"),
        data: format!("v{sequence}").into(),
        headers: vec![Header { key: "h".into(), value: Some("1".into()) }],
        error: None,
    }
}

pub(crate) fn delivery(stream: &str, messages: Vec<NatsMessage>) -> Resp {
    let next_sequence = messages.last().map_or(7, |last| last.sequence + 1);
    Resp::NatsDeliveryResp(NatsDeliveryResp {
        messages,
        stream: stream.into(),
        next_sequence,
        end: next_sequence,
    })
}

//! `/sessions` on the admin port: operators list the sessions and streams of events that are open, and end them.

mod filter;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use sluicegate_delivery::{Counts, ListedSubscription, OpenClient, Tally};
use sluicegate_telemetry::shown;
use tokio::time::Instant;

use self::filter::{Filter, Query};
use super::turns::Turn;
use super::{Admin, Body, text};

impl Admin {
    /// The answer to GET or DELETE of sessions.
    ///
    /// # Cancel safety
    /// All matching sessions are ended, or none.
    pub(super) async fn sessions(&self, method: &Method, headers: &HeaderMap, query: &str) -> Response<Body> {
        if let Some(refused) = self.refuse_others(headers) {
            return refused;
        }
        let query = match Query::parse(query) {
            Ok(query) => query,
            Err(expected) => return text(StatusCode::BAD_REQUEST, expected + "\n"),
        };
        let mut turn = self.turns.take().await;
        match *method {
            Method::DELETE if query.filter.is_empty() => {
                text(StatusCode::BAD_REQUEST, "expected a filter: without one, every session would end\n")
            }
            Method::DELETE => {
                let matching = self.matching(&query.filter, &mut turn).await;
                matching.iter().for_each(|client| client.grant.end());
                tracing::info!(
                    sessions = matching.len(),
                    event = "sessions_ended_by_operator",
                    "an operator ended sessions"
                );
                json(&Ended { ended: matching.len() })
            }
            _ => json(&self.page(&query, &mut turn).await),
        }
    }

    /// The refusal of a request that is not an operator's.
    pub(super) fn refuse_others(&self, headers: &HeaderMap) -> Option<Response<Body>> {
        let reason = self.check_operator(headers).err()?;
        let mut response = text(StatusCode::UNAUTHORIZED, reason);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Some(response)
    }

    fn check_operator(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let settings = self.endpoint.settings.load();
        let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        // RFC 9110, section 11.1: the scheme is case-insensitive.
        let given = given.and_then(|given| given.split_at_checked(BEARER.len()));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(BEARER)).map(|(_, token)| token);
        match (&settings.admin_token, given) {
            (Some(token), Some(given)) if token.is(given) => Ok(()),
            (None, _) => Err("this bridge has no admin_token: set it first\n"),
            (Some(_), _) => Err("expected Authorization: Bearer, with the bridge's admin_token\n"),
        }
    }

    /// All that match, in the order of their numbers.
    async fn matching(&self, filter: &Filter, turn: &mut Turn) -> Vec<Arc<OpenClient>> {
        let mut matching = Vec::new();
        for cluster in self.endpoint.clusters.all() {
            for client in cluster.open_clients() {
                if filter.matches(&client) {
                    matching.push(client);
                }
                turn.pause().await;
            }
        }
        matching.sort_unstable_by_key(|client| client.id);
        matching
    }

    async fn page(&self, query: &Query, turn: &mut Turn) -> Page {
        let matching = self.matching(&query.filter, turn).await;
        let first = matching.partition_point(|client| client.id <= query.after);
        let mut later = matching.get(first..).unwrap_or_default().iter();
        let (mut sessions, mut partitions) = (Vec::new(), 0_usize);
        while sessions.len() < query.limit
            && partitions < MAX_PARTITIONS
            && let Some(client) = later.next()
        {
            let session = Session::of(client);
            let listed = session.subscriptions.iter().map(|subscription| subscription.partitions);
            partitions = listed.fold(partitions, usize::saturating_add);
            // Cannot fail: it has no maps.
            sessions.extend(to_raw_value(&session).ok());
            turn.pause().await;
        }
        Page { sessions, more: !later.as_slice().is_empty(), open: matching.len() }
    }
}

/// The answer to GET.
#[derive(Serialize)]
struct Page {
    /// Each is a [`Session`].
    sessions: Vec<Box<RawValue>>,
    /// Whether later ones match, too.
    more: bool,
    /// All that match, on every page.
    open: usize,
}

/// The answer to DELETE.
#[derive(Serialize)]
struct Ended {
    ended: usize,
}

#[derive(Serialize)]
struct Session {
    id: u64,
    kind: &'static str,
    /// Of a consumer: its group, and its name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    cluster: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    opened_at: String,
    age_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
    received_bytes: u64,
    sent_bytes: u64,
    commands: u64,
    denied: u64,
    subscriptions: Vec<Subscription>,
}

#[derive(Serialize)]
struct Subscription {
    topic: String,
    /// The group whose member it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    partitions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
    delivered: u64,
    /// All records that were left out.
    hidden: u64,
    hidden_by_rows: u64,
    filters: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_delivery_at: Option<String>,
}

impl Session {
    fn of(client: &OpenClient) -> Self {
        let grant = &client.grant;
        let holding = grant.holding();
        let expires = holding.as_ref().and_then(|holding| holding.expires);
        let person = holding.map(|holding| holding.person);
        let Counts { received_bytes, sent_bytes, commands, denied } = grant.activity().counts();
        let shown = |name: &str| shown::name(name).into_owned();
        let (group, instance) =
            client.consumer.as_ref().map(|(group, name)| (shown(group), shown(name))).unzip();
        Self {
            id: client.id,
            kind: client.kind.label(),
            group,
            instance,
            cluster: grant.metrics().name().to_owned(),
            route: grant.route_name().map(shown),
            issuer: person.as_ref().and_then(|person| person.issuer.as_deref().map(shown)),
            subject: person.as_ref().and_then(|person| person.subject.as_deref().map(shown)),
            address: grant.client().address().map(|address| address.to_string()),
            opened_at: shown::time(client.opened),
            age_ms: shown::millis(client.since.elapsed()),
            expires_in_ms: expires.map(|at| shown::millis(at.saturating_duration_since(Instant::now()))),
            received_bytes,
            sent_bytes,
            commands,
            denied,
            subscriptions: grant.subscriptions().into_iter().take(MAX_TOPICS).map(Subscription::of).collect(),
        }
    }
}

impl Subscription {
    fn of(ListedSubscription { topic, group, partitions, lag, filters, tally }: ListedSubscription) -> Self {
        let Tally { delivered, hidden_by_rows, hidden_by_filters, last_delivery } = tally;
        Self {
            topic: topic.as_ref().to_owned(),
            group: group.map(|group| shown::name(&group).into_owned()),
            partitions,
            lag,
            delivered,
            hidden: hidden_by_rows.saturating_add(hidden_by_filters),
            hidden_by_rows,
            filters,
            last_delivery_at: last_delivery.map(shown::time),
        }
    }
}

pub(super) fn json(document: &impl Serialize) -> Response<Body> {
    // Cannot fail: all maps of the documents have text for keys.
    let body = serde_json::to_vec(document).unwrap_or_default();
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const BEARER: &[u8] = b"Bearer ";

/// Topics of one session that are shown, for each of its subscriptions.
const MAX_TOPICS: usize = 100;
/// Partitions of a page's subscriptions, after which it ends.
const MAX_PARTITIONS: usize = 10_000;

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use sluicegate_delivery::ClientKind;
    use sluicegate_delivery::grant::{Grant, Holding, Person};
    use sluicegate_delivery::testing::script::Script;
    use sluicegate_fair_share::ClientKey;
    use sluicegate_rights::Rights;

    use super::*;

    #[tokio::test]
    async fn names_are_found_as_they_are_shown() {
        let (cluster, _) = Script::cluster(1);
        let long = |end: &str| "é".repeat(300) + end;
        let names = ["alice", "", " a&b=c%2B+#?\u{0}\n\"\u{9b}", &"x".repeat(512), &long("a"), &long("b")];
        let open = |name: &&str| {
            let name = Some((*name).to_owned());
            let route = name.as_deref().map(str::as_bytes);
            let grant = Grant::new(Arc::clone(&cluster), ClientKey::default(), route, Rights::all());
            let person = Arc::new(Person::new(name.clone(), name.clone(), None, None));
            grant.held(Some(Holding { person, expires: None }), None).list(ClientKind::Session)
        };
        let _listed: Vec<_> = names.iter().map(open).collect();
        for client in cluster.open_clients() {
            let shown = Session::of(&client);
            for (parameter, name) in
                [("issuer", shown.issuer), ("subject", shown.subject), ("route", shown.route)]
            {
                let name = name.unwrap();
                let query = format!("{parameter}={}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
                let filter = Query::parse(&query).unwrap().filter;
                let matching = cluster.open_clients().into_iter().filter(|client| filter.matches(client));
                assert_eq!(matching.map(|found| found.id).collect::<Vec<_>>(), [client.id], "{query}");
            }
        }
    }
}

//! `POST /explain` on the admin port: operators ask what a client could do, with the headers that its gateway sends.

use http::{Request, Response, StatusCode};

use super::sessions::json;
use super::{Admin, Body, text};
use crate::percent::parameters;

impl Admin {
    /// The answer to a request about a client and the topics of `query`. Tokens are in headers, which nothing logs.
    ///
    /// # Cancel safety
    /// A drop abandons the wait for an issuer's keys.
    pub(super) async fn explain<B>(&self, request: &Request<B>, query: &str) -> Response<Body> {
        if let Some(refused) = self.refuse_others(request.headers()) {
            return refused;
        }
        match topics(query) {
            Some(topics) => json(&self.endpoint.explain(request, topics).await),
            None => text(StatusCode::BAD_REQUEST, EXPECTED),
        }
    }
}

fn topics(query: &str) -> Option<Vec<String>> {
    let topic = |pair: Option<(String, String)>| {
        let (name, topic) = pair?;
        (name == "topic" && !topic.is_empty()).then_some(topic)
    };
    let topics: Option<Vec<String>> = parameters(query).map(topic).collect();
    topics.filter(|topics| topics.len() <= MAX_TOPICS)
}

/// Topics of a request. The rows of each can be 32 KiB.
const MAX_TOPICS: usize = 20;
const EXPECTED: &str = "expected topic=NAME, at most 20 times\n";

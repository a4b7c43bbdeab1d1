//! A schema registry in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use sluicegate_fair_share::Places;
use sluicegate_schemas::registry::{Registry, Request, Response, Transport, Unanswered};
use tokio::time::sleep;

use crate::Schemas;

/// Its answers by path, others being 404.
#[derive(Default)]
pub(crate) struct FakeRegistry {
    pub(crate) answers: HashMap<&'static str, String>,
    pub(crate) latency: Mutex<Duration>,
    pub(crate) is_down: Mutex<bool>,
    /// The paths that were asked for.
    pub(crate) asked: Mutex<Vec<String>>,
}

impl FakeRegistry {
    pub(crate) fn schemas(self: &Arc<Self>, gives_bytes: bool) -> Schemas {
        let registry = Arc::new(Registry::new(Arc::clone(self) as _, Arc::new(())));
        Schemas { registry, gives_bytes, places: Places::new(1) }
    }
}

impl Transport for FakeRegistry {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, Unanswered>> {
        self.asked.lock().push(request.path.clone());
        async move {
            let latency = *self.latency.lock();
            sleep(latency).await;
            if *self.is_down.lock() {
                return Err(Unanswered::Failed("connection refused".to_owned()));
            }
            let missing = || (404, r#"{"error_code":40403,"message":"not found"}"#.to_owned());
            let answer = self.answers.get(&*request.path).cloned();
            let (status, body) = answer.map_or_else(missing, |body| (200, body));
            Ok(Response { status, body: body.into() })
        }
        .boxed()
    }

    fn shown(&self) -> &str {
        "registry"
    }
}

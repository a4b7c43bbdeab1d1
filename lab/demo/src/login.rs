//! Users who log in: an OpenID provider, and a topic for each user.

use std::time::Duration;

use sluicegate_client::{Client, ConnectError};
use sluicegate_stack::envoy::local_origins;
use sluicegate_stack::login::{Provider, USERS};

use crate::args::{Args, claim};
use crate::{Failure, sentence};

/// Starts the provider for pages of the gateway and of the given origins.
pub(crate) async fn start(args: &Args) -> Result<Provider, Failure> {
    let port = claim(args.login_port, "--login-port")?;
    let origins = local_origins(args.port, &args.origin);
    Ok(Provider::start(port, &origins, Duration::from_secs(args.token_seconds.into())).await?)
}

/// The users' own topics.
pub(crate) fn topics() -> Vec<String> {
    USERS.map(|user| format!("orders.{user}")).into()
}

/// The part of the bridge's configuration that believes the provider. Both have the same clock.
pub(crate) fn bridge_config(provider: &Provider) -> String {
    format!("[identity]\nleeway_ms = 0\n\n{}\n", provider.table(NAME))
}

/// Checks that the endpoint refuses clients without a token, and answers a user.
pub(crate) async fn admits_users(url: &str, provider: &Provider) -> Result<(), Failure> {
    match Client::connect(url).await {
        Err(ConnectError::Refused { status: 401, .. }) => {}
        Err(error) => return Err(format!("no answer at {url}: {}", sentence(&error)).into()),
        Ok(_) => return Err(format!("{url} admits clients without a token").into()),
    }
    let [user, ..] = USERS;
    let token = provider.token(user).await.map_err(|e| format!("{user} cannot log in: {e}"))?;
    answers(url, Some(token)).await
}

/// Checks that the endpoint answers a client, with this token if there are users, before its URL is printed.
pub(crate) async fn answers(url: &str, token: Option<String>) -> Result<(), Failure> {
    let mut client = Client::builder(url);
    if let Some(token) = token {
        client = client.header("authorization", format!("Bearer {token}"));
    }
    let client =
        client.connect().await.map_err(|e| format!("cannot open a session at {url}: {}", sentence(&e)))?;
    client.ping("demo").await.map_err(|e| format!("no answer at {url}: {}", sentence(&e)))?;
    Ok(client.close().await?)
}

/// The provider's name in the routes.
const NAME: &str = "demo";

//! A client of JSON whose messages have to be documented.

use serde_json::Value;
use sluicegate_stack::json_socket::{JsonSocket, Request};
use sluicegate_stack::stack::Stack;

use super::asyncapi;

/// One open session.
pub(crate) struct JsonPeer(JsonSocket);

impl JsonPeer {
    pub(crate) async fn open(stack: &Stack) -> Self {
        Self(JsonSocket::open(stack).await)
    }

    /// As [`open`](Self::open), with this request.
    pub(crate) async fn open_with(request: Request) -> Self {
        Self(JsonSocket::open_with(request).await)
    }

    /// Sends a command, and returns its answer. Both have to be documented.
    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        let answer = self.tell(command.to_string()).await;
        asyncapi::check(&command, &answer);
        answer
    }

    /// Sends a command without an answer, which has to be documented.
    pub(crate) async fn say(&mut self, command: Value) {
        asyncapi::check_command(&command);
        self.0.send(command.to_string()).await;
    }

    /// The next answer to a subscription with this member. All until then have to be documented.
    pub(crate) async fn answer_with(&mut self, member: &str, subscribe: &Value) -> Value {
        loop {
            let answer = self.0.receive().await;
            asyncapi::check(subscribe, &answer);
            if answer.get(member).is_some() {
                return answer;
            }
        }
    }

    /// Sends a text, and returns the next message, which has to be an answer.
    pub(crate) async fn tell(&mut self, text: impl Into<String>) -> Value {
        self.0.send(text).await;
        self.0.receive().await
    }
}

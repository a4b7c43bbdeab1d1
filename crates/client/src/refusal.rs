//! The server's own words in an answer that refuses.

use serde_json::Value;

/// The server's words in the `body` of a refusal, as one line of at most 300 characters: the detail of a problem document,
/// the message of another JSON document, the title of an HTML page, or the first line of anything else. Empty if there
/// are none.
#[must_use]
pub fn refusal_text(body: &str) -> String {
    let body = body.trim();
    let document: Option<Value> = serde_json::from_str(body).ok();
    let member = |name: &str| document.as_ref()?.get(name)?.as_str();
    // Apache APISIX's routes and plugins have one of the latter two.
    let message = ["detail", "error_msg", "message"].into_iter().find_map(member);
    let text = match message {
        None if body.starts_with('<') => title(body).unwrap_or_default(),
        message if document.is_some() => message.unwrap_or(body),
        _ => body.lines().next().unwrap_or_default(),
    };
    // A terminal obeys control characters.
    let shown = text.chars().take(MAX_CHARS).map(|char| if char.is_control() { ' ' } else { char });
    let more = text.chars().nth(MAX_CHARS).map(|_| '…');
    shown.chain(more).collect()
}

/// The end of an error's text: the server's words, if there are any.
pub(crate) fn after_status(body: &str) -> String {
    let text = refusal_text(body);
    if text.is_empty() { text } else { format!(": {text}") }
}

fn title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let tag = lower.find("<title")?;
    let start = tag.checked_add(lower.get(tag..)?.find('>')?)?.checked_add(1)?;
    let end = start.checked_add(lower.get(start..)?.find("</title")?)?;
    page.get(start..end).map(str::trim)
}

/// Enough for a sentence or two.
const MAX_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_line_of_any_body() {
        let page = "<!doctype html>\n<html><head><TITLE lang=en>\n Live orders </TITLE>".to_owned()
            + &"x".repeat(4096);
        let cut = "é".repeat(300) + "…";
        for (body, want) in [
            (&*page, "Live orders"),
            ("<html>", ""),
            ("<title", ""),
            ("<title>a", ""),
            ("<title>a</titl", ""),
            ("<html></title><title>", ""),
            ("bridge \u{1b}[2J down\r\nsecond line", "bridge  [2J down"),
            (r#"{"status":426,"detail":"a WebSocket\nroute"}"#, "a WebSocket route"),
            (r#"{"error_msg":"no consumer"}"#, "no consumer"),
            ("{\n\"detail\":5}", r#"{ "detail":5}"#),
            (" \n", ""),
            (&"é".repeat(301), &cut),
        ] {
            assert_eq!(refusal_text(body), want, "{body:?}");
        }
    }
}

//! URLs in messages.

/// `url` without what can be a secret: user, password and query.
#[must_use]
pub fn printable_url(url: &str) -> String {
    let (url, query) = match url.split_once('?') {
        Some((url, _)) => (url, "?…"),
        None => (url, ""),
    };
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => authority.to_owned(),
    };
    format!("{scheme}{authority}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_url_hides_user_and_query() {
        for (url, want) in [
            ("ws://g:8080/pubsub", "ws://g:8080/pubsub"),
            ("wss://u:p@g/a@b?token=t&x=/", "wss://…@g/a@b?…"),
            ("u:p@g", "…@g"),
            ("g?a://b", "g?…"),
            ("", ""),
        ] {
            assert_eq!(printable_url(url), want);
        }
    }
}

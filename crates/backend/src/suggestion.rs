//! "Did you mean": the name that a misspelt one stands for.

/// The known name that is meant: the same one in small letters, or one typo away, which is a character too many, too
/// few or wrong, or two swapped.
pub fn similar(name: &str, is_known: impl Fn(&str) -> bool) -> Option<String> {
    if name.len() > MAX_NAME {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    if is_known(&lower) {
        return Some(lower);
    }
    let cuts = (0..=lower.len()).filter_map(|at| lower.split_at_checked(at));
    cuts.flat_map(|(head, tail)| corrections(head, tail)).find(|name| is_known(name))
}

/// The same among `names`. It also finds the only name that begins with this one, such as one with a forgotten unit.
pub fn similar_among<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.collect();
    similar(name, |candidate| names.contains(&candidate)).or_else(|| {
        let lower = name.to_ascii_lowercase();
        let is_longer = |known: &&&str| lower.len() >= MIN_START && known.starts_with(&lower);
        let mut longer = names.iter().filter(is_longer);
        longer.next().filter(|_| longer.next().is_none()).map(|known| (*known).to_owned())
    })
}

/// The names that `head` and `tail` can stand for if the typo is where `tail` begins.
fn corrections(head: &str, tail: &str) -> Vec<String> {
    let mut rest = tail.chars();
    let mut names: Vec<String> = CHARACTERS.chars().map(|more| format!("{head}{more}{tail}")).collect();
    if let Some(first) = rest.next() {
        let rest = rest.as_str();
        names.push(format!("{head}{rest}"));
        names.extend(CHARACTERS.chars().map(|other| format!("{head}{other}{rest}")));
        let mut behind = rest.chars();
        names.extend(behind.next().map(|second| format!("{head}{second}{first}{}", behind.as_str())));
    }
    names
}

/// The characters in the names of keys and properties.
const CHARACTERS: &str = "._abcdefghijklmnopqrstuvwxyz";
/// No known name is longer, in bytes.
const MAX_NAME: usize = 64;
/// The shortest beginning of a name that is completed, in bytes.
const MIN_START: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_cases_and_beginnings_are_recognized() {
        let names =
            ["limits", "limits.max_sessions", "listen", "ping_interval_ms", "close_timeout_ms", "close_x"];
        for (name, want) in [
            ("limit", Some("limits")),
            ("Limits", Some("limits")),
            ("lismits", Some("limits")),
            ("lsiten", Some("listen")),
            ("lixten", Some("listen")),
            ("limits.max_session", Some("limits.max_sessions")),
            ("ping_interval", Some("ping_interval_ms")),
            ("close", None),
            ("p", None),
            ("colour", None),
            ("", None),
            ("größe", None),
        ] {
            assert_eq!(similar_among(name, names.into_iter()).as_deref(), want, "{name}");
        }
        assert_eq!(similar(&"x".repeat(1 << 20), |_| true), None);
    }
}

//! HTTP headers as users give them: in arguments, variables and files.

use std::fmt;
use std::fs;
use std::path::Path;

/// A header to send when connecting.
#[derive(Clone, PartialEq)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// Hides the value, which can be a secret.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

/// The headers of an argument of -H, `Name: value` or `@FILE`. Errors call it `source` and do not show it.
pub(crate) fn parse(text: &str, source: &str) -> Result<Vec<Header>, String> {
    match text.strip_prefix('@') {
        Some(path) => read(Path::new(path)),
        None => Ok(vec![header(text, source)?]),
    }
}

/// The headers of a variable, each line as [`parse`] takes it.
pub(crate) fn parse_lines(text: &str, source: &str) -> Result<Vec<Header>, String> {
    let headers = lines(text).map(|(number, line)| parse(line, &format!("{source}, line {number}")));
    Ok(headers.collect::<Result<Vec<_>, _>>()?.concat())
}

/// The headers in a file, one a line.
pub(crate) fn read(path: &Path) -> Result<Vec<Header>, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|why| format!("{shown}: {why}"))?;
    lines(&text).map(|(number, line)| header(line, &format!("{shown}, line {number}"))).collect()
}

fn header(text: &str, source: &str) -> Result<Header, String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("{source}: expected 'Name: value'"))?;
    Ok(Header { name: name.trim().to_owned(), value: value.trim().to_owned() })
}

/// Lines that are not blank, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn header(name: &str, value: &str) -> Header {
        Header { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn header_is_split_at_its_first_colon() {
        assert_eq!(parse("X-Url: ws://a:1 ", "-H").unwrap(), [header("X-Url", "ws://a:1")]);
        assert_eq!(parse("X:", "-H").unwrap(), [header("X", "")]);
    }

    #[test]
    fn lines_are_headers_and_files_of_headers() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"Authorization: Bearer t\r\n\n X-B : 2\n").unwrap();
        let text = format!("X-A: 1\n\n@{}\n", file.path().display());
        let want = [header("X-A", "1"), header("Authorization", "Bearer t"), header("X-B", "2")];
        assert_eq!(parse_lines(&text, "V").unwrap(), want);
    }

    #[test]
    fn errors_say_where_and_never_show_the_text() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"X: 1\ns3cret\n").unwrap();
        let path = file.path().display().to_string();
        let from_file = format!("{path}, line 2: expected 'Name: value'");
        assert_eq!(parse("s3cret", "-H").unwrap_err(), "-H: expected 'Name: value'");
        assert_eq!(parse_lines("\ns3cret", "V").unwrap_err(), "V, line 2: expected 'Name: value'");
        assert_eq!(parse(&format!("@{path}"), "-H").unwrap_err(), from_file);
        assert!(parse("@/nowhere", "-H").unwrap_err().starts_with("/nowhere: "));
    }
}

//! Takes known keys out of a JSON object and collects mistakes with their keys.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub(super) struct Reader {
    /// The object's path, such as `routes[0].`
    at: String,
    object: Map<String, Value>,
    /// The keys that were asked for.
    known: Vec<&'static str>,
    mistakes: Vec<String>,
}

impl Reader {
    pub(super) fn new(object: Map<String, Value>) -> Self {
        Self { at: String::new(), object, known: Vec::new(), mistakes: Vec::new() }
    }

    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.known.push(key);
        self.object.contains_key(key)
    }

    /// Whether no key is left.
    pub(super) fn is_empty(&self) -> bool {
        self.object.is_empty()
    }

    pub(super) fn mistake(&mut self, key: &str, expected: &str) {
        self.mistakes.push(format!("{}{key}: {expected}", self.at));
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => {
                self.mistake(key, "must be a string that is not empty");
                None
            }
        }
    }

    /// False if it is missing.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        self.flag_or(key, false)
    }

    pub(super) fn flag_or(&mut self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.take(key) else { return default };
        value.as_bool().unwrap_or_else(|| {
            self.mistake(key, "must be true or false");
            default
        })
    }

    /// Any value; the caller checks it.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value> {
        self.take(key)
    }

    /// A value of any type that serde parses.
    pub(super) fn parsed<T: DeserializeOwned>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        let parsed = T::deserialize(self.take(key)?).ok();
        if parsed.is_none() {
            self.mistake(key, expected);
        }
        parsed
    }

    /// Whether a key is given that is no longer used.
    pub(super) fn has_former(&mut self, key: &str) -> bool {
        self.object.remove(key).is_some()
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.object.remove(key)
    }

    /// Reads an object with `read`.
    pub(super) fn object<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let Value::Object(object) = self.take(key)? else {
            self.mistake(key, "must be an object");
            return None;
        };
        Some(self.read(format!("{}{key}.", self.at), object, read))
    }

    fn read<T>(&mut self, at: String, object: Map<String, Value>, read: impl FnOnce(&mut Self) -> T) -> T {
        let mut reader = Self { at, object, known: Vec::new(), mistakes: Vec::new() };
        let one = read(&mut reader);
        self.mistakes.append(&mut reader.finish());
        one
    }

    pub(super) fn strings(&mut self, key: &'static str) -> Option<Vec<String>> {
        let items = match self.take(key)? {
            Value::Array(items) => items,
            // APISIX writes configuration with Lua's cjson, to which every empty table is an object.
            Value::Object(object) if object.is_empty() => Vec::new(),
            _ => {
                self.mistake(key, "must be an array of strings");
                return None;
            }
        };
        let texts: Vec<String> = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if texts.len() != items.len() {
            self.mistake(key, "must be an array of strings");
        }
        Some(texts)
    }

    /// An integer within the bounds; `unit` is for the mistake.
    pub(super) fn number<N>(&mut self, key: &'static str, unit: &str, (min, max): (N, N)) -> Option<N>
    where
        N: TryFrom<i64> + PartialOrd + Copy + std::fmt::Display,
    {
        let value = self.take(key)?;
        let number = value.as_i64().and_then(|number| N::try_from(number).ok());
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.mistake(key, &format!("must be a number{unit} from {min} to {max}"));
        }
        number
    }

    /// Reads each object of a non-empty array with `read`.
    pub(super) fn objects<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        mut read: impl FnMut(&mut Self, &[T]) -> T,
    ) -> Vec<T> {
        let items = match self.take(key) {
            Some(Value::Array(items)) if !items.is_empty() => items,
            _ => {
                self.mistake(key, expected);
                return Vec::new();
            }
        };
        let mut found = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let Value::Object(object) = item else {
                self.mistake(&format!("{key}[{index}]"), "must be an object");
                continue;
            };
            let at = format!("{}{key}[{index}].", self.at);
            let one = self.read(at, object, |reader| read(reader, &found));
            found.push(one);
        }
        found
    }

    /// All mistakes; keys that are left in the object are unknown.
    pub(super) fn finish(mut self) -> Vec<String> {
        for key in std::mem::take(&mut self.object).keys() {
            match similar(key, &self.known) {
                Some(meant) => self.mistake(key, &format!("unknown key, did you mean `{meant}`?")),
                None => self.mistake(key, "unknown key"),
            }
        }
        self.mistakes
    }
}

/// The known key that is the fewest typos away, if they are few for its length.
fn similar(key: &str, known: &[&'static str]) -> Option<&'static str> {
    if key.len() > MAX_KEY {
        return None;
    }
    let key = key.to_ascii_lowercase();
    let typos = known.iter().map(|known| (strsim::osa_distance(&key, known), *known));
    let near = typos.filter(|(typos, known)| *typos <= (known.len() / CHARACTERS_PER_TYPO).max(1));
    near.min_by_key(|(typos, _)| *typos).map(|(_, known)| known)
}

/// A longer key is no typo of a known one, in bytes.
const MAX_KEY: usize = 64;
const CHARACTERS_PER_TYPO: usize = 5;

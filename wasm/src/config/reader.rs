//! Takes known keys out of a JSON object and notes every mistake with its place.

use serde_json::{Map, Value};

pub(super) struct Reader {
    /// Where the object stands, such as `routes[0].`
    at: String,
    object: Map<String, Value>,
    mistakes: Vec<String>,
}

impl Reader {
    pub(super) fn new(object: Map<String, Value>) -> Self {
        Self { at: String::new(), object, mistakes: Vec::new() }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// Whether no key is left.
    pub(super) fn is_empty(&self) -> bool {
        self.object.is_empty()
    }

    pub(super) fn mistake(&mut self, key: &str, expected: &str) {
        self.mistakes.push(format!("{}{key}: {expected}", self.at));
    }

    pub(super) fn string(&mut self, key: &str) -> Option<String> {
        match self.object.remove(key)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => {
                self.mistake(key, "a string that is not empty is expected");
                None
            }
        }
    }

    /// False where it is not given.
    pub(super) fn flag(&mut self, key: &str) -> bool {
        self.flag_or(key, false)
    }

    pub(super) fn flag_or(&mut self, key: &str, default: bool) -> bool {
        let Some(value) = self.object.remove(key) else { return default };
        value.as_bool().unwrap_or_else(|| {
            self.mistake(key, "true or false is expected");
            default
        })
    }

    /// Whatever is there, to be judged by the caller.
    pub(super) fn value(&mut self, key: &str) -> Option<Value> {
        self.object.remove(key)
    }

    /// What `read` makes of an object.
    pub(super) fn object<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let Value::Object(object) = self.object.remove(key)? else {
            self.mistake(key, "an object is expected");
            return None;
        };
        Some(self.read(format!("{}{key}.", self.at), object, read))
    }

    fn read<T>(&mut self, at: String, object: Map<String, Value>, read: impl FnOnce(&mut Self) -> T) -> T {
        let mut reader = Self { at, object, mistakes: Vec::new() };
        let one = read(&mut reader);
        self.mistakes.append(&mut reader.finish());
        one
    }

    pub(super) fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        let items = match self.object.remove(key)? {
            Value::Array(items) => items,
            // APISIX writes configuration with Lua's cjson, to which every empty table is an object.
            Value::Object(object) if object.is_empty() => Vec::new(),
            _ => {
                self.mistake(key, "an array of strings is expected");
                return None;
            }
        };
        let texts: Vec<String> = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if texts.len() != items.len() {
            self.mistake(key, "an array of strings is expected");
        }
        Some(texts)
    }

    /// A whole number within the bounds; what it counts is for the mistake.
    pub(super) fn number<N>(&mut self, key: &str, unit: &str, (min, max): (N, N)) -> Option<N>
    where
        N: TryFrom<i64> + PartialOrd + Copy + std::fmt::Display,
    {
        let value = self.object.remove(key)?;
        let number = value.as_i64().and_then(|number| N::try_from(number).ok());
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.mistake(key, &format!("a number{unit} from {min} to {max} is expected"));
        }
        number
    }

    /// What `read` makes of each object of an array that is not empty.
    pub(super) fn objects<T>(
        &mut self,
        key: &str,
        expected: &str,
        mut read: impl FnMut(&mut Self, &[T]) -> T,
    ) -> Vec<T> {
        let items = match self.object.remove(key) {
            Some(Value::Array(items)) if !items.is_empty() => items,
            _ => {
                self.mistake(key, expected);
                return Vec::new();
            }
        };
        let mut found = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let Value::Object(object) = item else {
                self.mistake(&format!("{key}[{index}]"), "an object is expected");
                continue;
            };
            let at = format!("{}{key}[{index}].", self.at);
            let one = self.read(at, object, |reader| read(reader, &found));
            found.push(one);
        }
        found
    }

    /// All mistakes; what is left in the object is not known.
    pub(super) fn finish(mut self) -> Vec<String> {
        for key in std::mem::take(&mut self.object).keys() {
            self.mistake(key, "unknown key");
        }
        self.mistakes
    }
}

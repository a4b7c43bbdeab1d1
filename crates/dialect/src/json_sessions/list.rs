//! Lists of a command, whose length is bounded as in protobuf.

use serde::de::{Deserialize, Deserializer, Error};

use crate::json::list::bounded;

/// At most `MAX` elements.
#[derive(Debug)]
pub struct List<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (items, count) = bounded(deserializer, MAX)?;
        if count > MAX {
            return Err(D::Error::custom(format_args!("{count} elements, expected at most {MAX}")));
        }
        Ok(Self(items))
    }
}

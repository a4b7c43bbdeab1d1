use crate::wire::*;
use crate::*;
use std::sync::Arc;
pub struct Registry;
pub struct Known {
    pub id: SchemaId,
    pub schema: Schema,
}
pub enum Kind {
    Avro,
    Protobuf,
    JsonSchema,
}
pub struct Schema;
#[derive(Clone)]
pub enum Missing {
    Unknown(String),
    Refused(String),
    Unanswered,
}
impl Registry {
    pub fn cached(&self, _: SchemaId) -> Option<Result<Arc<Known>, Missing>> {
        None
    }
    pub async fn schema(&self, _: sluicegate_fair_share::Holder, _: SchemaId) -> Result<Arc<Known>, Missing> {
        Err(Missing::Unanswered)
    }
}
impl Schema {
    pub fn kind(&self) -> Kind {
        Kind::Avro
    }
    pub fn decode(&self, _: &Framed<'_>, _: usize, _: &mut Vec<u8>) -> Result<(), DecodeError> {
        Ok(())
    }
}

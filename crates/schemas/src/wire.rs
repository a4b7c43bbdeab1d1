#[derive(Clone, Copy)]
pub enum Part {
    Key,
    Value,
}
impl Part {
    pub const fn header(self) -> &'static str {
        ""
    }
}
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaId {
    Number(u32),
    Guid([u8; 16]),
}
impl std::fmt::Display for SchemaId {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
pub struct Framed<'a> {
    pub id: SchemaId,
    p: &'a [u8],
}
impl<'a> Framed<'a> {
    pub fn payload(&self) -> &'a [u8] {
        self.p
    }
}
pub fn find<'a>(_: &'a [u8], _: Option<&'a [u8]>) -> Option<Framed<'a>> {
    None
}

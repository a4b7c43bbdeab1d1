//! The request for an upgrade.

/// A handshake, valid by default. Header values can be any bytes.
#[derive(Clone, Debug)]
pub struct Upgrade {
    target: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self::to("/pubsub")
    }
}

impl Upgrade {
    pub fn to(target: impl Into<Vec<u8>>) -> Self {
        let headers = [
            ("host", "gateway.example"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            // RFC 6455, section 1.3, has this key and its answer.
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        Self { target: target.into(), headers }
    }

    /// Sets a header, and replaces others of its name.
    pub fn with(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.without(name).and(name, value)
    }

    /// Adds a header, even if the name repeats.
    pub fn and(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = [b"GET ", self.target.as_slice(), b" HTTP/1.1\r\n"].concat();
        for (name, value) in &self.headers {
            out.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

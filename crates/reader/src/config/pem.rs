//! Certificates, keys and revocation lists in PEM, from a property's value or from the file that it names.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::properties::Properties;

/// The PEM of a property.
pub(super) struct Pem {
    /// The property.
    pub(super) key: &'static str,
    /// Its location, for errors, which never show its contents.
    place: String,
    /// A hint for errors: the property that may have been meant.
    hint: String,
    /// One file, or all files of a directory.
    files: Vec<Part>,
}

/// The contents of one file or value.
struct Part {
    place: String,
    bytes: Vec<u8>,
}

impl Properties<'_> {
    /// PEM from one of two properties: the path of a file, or also of a directory if `directory` is set, or the PEM
    /// itself.
    pub(super) fn pem(
        &mut self,
        location: &'static str,
        inline: &'static str,
        directory: bool,
    ) -> Option<Pem> {
        match (self.take(location), self.take(inline)) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.problem(inline, format!("expected either this or `{location}`, not both"));
                None
            }
            (None, Some(text)) => {
                let place = "the value".to_owned();
                let hint = format!("; the path of a file goes in `{location}`");
                let part = Part { place: place.clone(), bytes: text.as_bytes().to_vec() };
                Some(Pem { key: inline, place, hint, files: vec![part] })
            }
            (Some(path), None) => self.pem_of(location, path, Some(inline), directory),
        }
    }

    /// PEM from a file.
    pub(super) fn pem_file(&mut self, location: &'static str) -> Option<Pem> {
        let path = self.take(location)?;
        self.pem_of(location, path, None, false)
    }

    fn pem_of(
        &mut self,
        key: &'static str,
        path: &str,
        inline: Option<&'static str>,
        directory: bool,
    ) -> Option<Pem> {
        // It can be a private key, which must not appear in errors.
        if path.contains("-----BEGIN") || path.contains(char::is_control) {
            let hint = inline.map(|inline| format!("; PEM itself goes in `{inline}`")).unwrap_or_default();
            self.problem(key, format!("expected a path{hint}"));
            return None;
        }
        match read(Path::new(path), directory) {
            Ok(files) => Some(Pem { key, place: format!("`{path}`"), hint: String::new(), files }),
            Err(problem) => {
                self.problem(key, problem);
                None
            }
        }
    }
}

impl Pem {
    /// All items of one kind, at least one. `label` is PEM's name of the kind, `noun` the usual one.
    pub(super) fn items<T: PemObject>(&self, label: &str, noun: &str) -> Result<Vec<T>, String> {
        let mut items = Vec::new();
        for part in &self.files {
            items.extend(part.items()?);
        }
        if items.is_empty() { Err(self.lacks(label, noun)) } else { Ok(items) }
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        self.items("CERTIFICATE", "certificate")
    }

    /// All certificates, at least one, as trusted CAs.
    pub(super) fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for part in &self.files {
            for certificate in part.items()? {
                roots.add(certificate).map_err(|_| {
                    format!("cannot use a certificate in {}: expected X.509, version 3", part.place)
                })?;
            }
        }
        if roots.is_empty() { Err(self.lacks("CERTIFICATE", "certificate")) } else { Ok(roots) }
    }

    /// The first private key, decrypted with `password` if it is encrypted.
    pub(super) fn private_key(&self, password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
        let lacks = || self.lacks("PRIVATE KEY", "private key");
        let Part { place, bytes } = self.files.first().ok_or_else(lacks)?;
        let text = String::from_utf8_lossy(bytes);
        if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(format!("the key in {place} is encrypted in a format older than PKCS#8: {CONVERT}"));
        }
        let Some(encrypted) = encrypted_key(&text) else {
            return PrivateKeyDer::from_pem_slice(bytes).map_err(|_| lacks());
        };
        let password = password
            .ok_or_else(|| format!("the key in {place} is encrypted: expected `ssl.key.password`"))?;
        let (_, document) =
            SecretDocument::from_pem(encrypted).map_err(|_| format!("broken PEM in {place}"))?;
        let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
            .map_err(|_| format!("the key in {place} has an unsupported encryption: {CONVERT}"))?;
        // A wrong password and an unsupported cipher cannot always be told apart.
        let key = info.decrypt(password).map_err(|_| {
            format!(
                "the key in {place} cannot be decrypted: check `ssl.key.password`; if it is right, {CONVERT}"
            )
        })?;
        Ok(PrivateKeyDer::Pkcs8(key.as_bytes().to_vec().into()))
    }

    fn lacks(&self, label: &str, noun: &str) -> String {
        format!("no {noun} in {}: expected PEM, `-----BEGIN {label}-----`{}", self.place, self.hint)
    }
}

impl Part {
    fn items<T: PemObject>(&self) -> Result<Vec<T>, String> {
        let items: Result<_, _> = T::pem_slice_iter(&self.bytes).collect();
        items.map_err(|_| format!("broken PEM in {}", self.place))
    }
}

/// The PEM section of the first encrypted key.
fn encrypted_key(text: &str) -> Option<&str> {
    let from = text.find("-----BEGIN ENCRYPTED PRIVATE KEY-----")?;
    let end = "-----END ENCRYPTED PRIVATE KEY-----";
    let len = text.get(from..)?.find(end)?.checked_add(end.len())?;
    text.get(from..from.checked_add(len)?)
}

/// A file, or all files of a directory in order of their names.
fn read(path: &Path, directory: bool) -> Result<Vec<Part>, String> {
    let paths = if directory && path.is_dir() { files(path) } else { Ok(vec![path.to_owned()]) };
    let mut left = MAX_BYTES;
    let mut parts = Vec::new();
    for path in paths.map_err(|error| unreadable(path, &error))? {
        let bytes = read_file(&path, left).map_err(|error| unreadable(&path, &error))?;
        left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        parts.push(Part { place: format!("`{}`", path.display()), bytes });
    }
    Ok(parts)
}

fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

fn read_file(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > max {
        return Err(io::Error::other(format!("expected at most {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read `{}`: {error}", path.display())
}

/// The advice for keys in other formats.
const CONVERT: &str =
    "convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in OLD -out NEW`";

/// The limit of PEM for one property, far above the size of real certificates.
const MAX_BYTES: u64 = 64 << 20;

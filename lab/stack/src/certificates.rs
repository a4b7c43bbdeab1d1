//! Certificates for tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};

use crate::Error;
use crate::secrets;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, each in PEM.
#[derive(Clone)]
pub struct Certificate {
    pub certificate: String,
    /// PKCS#8.
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Signs a certificate for a server of this name.
    pub fn server(&self, host: &str) -> Result<Certificate, Error> {
        self.sign(host, CertificateParams::new([host.to_owned()])?)
    }

    /// As [`server`](Self::server), but expired since the end of 2024.
    pub fn expired_server(&self, host: &str) -> Result<Certificate, Error> {
        let mut params = CertificateParams::new([host.to_owned()])?;
        params.not_after = date_time_ymd(2024, 12, 31);
        self.sign(host, params)
    }

    /// Signs a certificate for a client, whose principal at a broker is `User:CN=NAME`.
    pub fn client(&self, name: &str) -> Result<Certificate, Error> {
        self.sign(name, CertificateParams::default())
    }

    fn sign(&self, name: &str, mut params: CertificateParams) -> Result<Certificate, Error> {
        params.distinguished_name = named(name);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?.pem();
        let key = key.serialize_pem();
        // No part of the key may be logged.
        key.lines().filter(|line| !line.starts_with("-----")).for_each(secrets::keep);
        Ok(Certificate { certificate, key })
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

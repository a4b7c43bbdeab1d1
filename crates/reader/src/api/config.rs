//! DescribeConfigs: the properties of a topic or a broker.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, describe_configs_request as body};
use kafka_protocol::protocol::StrBytes;

use super::Api;
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct ConfigRequest<'a> {
    pub(crate) resource: Resource<'a>,
    /// The only property to ask for; `None`: all.
    pub(crate) name: Option<&'static str>,
}

/// The owner of properties.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resource<'a> {
    Topic(&'a str),
    /// By its node id. It must be the broker that is asked.
    Broker(i32),
}

impl Resource<'_> {
    /// Its type, and its name.
    fn named(self) -> (i8, String) {
        match self {
            Self::Topic(name) => (TOPIC, name.to_owned()),
            Self::Broker(id) => (BROKER, id.to_string()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// Names and values of those that the broker tells, without sensitive ones. At most [`MAX_PROPERTIES`].
    pub(crate) properties: Vec<(String, String)>,
}

impl Api for ConfigRequest<'_> {
    const KEY: ApiKey = ApiKey::DescribeConfigs;
    const VERSIONS: RangeInclusive<i16> = 1..=4;
    const FLEXIBLE: i16 = 4;
    type Body = body::DescribeConfigsRequest;
    type Answer = ConfigAnswer;

    fn body(&self, _version: i16) -> body::DescribeConfigsRequest {
        let (kind, name) = self.resource.named();
        let resource = body::DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(StrBytes::from_string(name))
            .with_configuration_keys(self.name.map(|name| vec![StrBytes::from_static_str(name)]));
        body::DescribeConfigsRequest::default().with_resources(vec![resource])
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<ConfigAnswer, WireError> {
        wire.take_throttle_time(version >= 2)?;
        let (mut error, mut properties) = (None, Vec::new());
        let (_, name) = self.resource.named();
        for _ in 0..wire.array(7)? {
            error = ErrorCode::of(wire.i16()?);
            wire.string()?; // the error's message
            wire.i8()?; // the resource's type
            let is_resource = wire.string()? == name;
            for _ in 0..wire.array(7)? {
                let (property, value) = (wire.string()?, wire.string()?);
                wire.skip(2)?; // whether it is read-only, and its source
                let is_sensitive = wire.i8()? != 0;
                let is_asked = self.name.is_none_or(|asked| asked == property);
                if is_resource && is_asked && !is_sensitive && properties.len() < MAX_PROPERTIES {
                    properties.push((property, value));
                }
                for _ in 0..wire.array(3)? {
                    wire.string()?; // a synonym's name
                    wire.string()?; // its value
                    wire.i8()?; // its source
                    wire.end()?;
                }
                if version >= 3 {
                    wire.i8()?; // the value's type
                    wire.string()?; // its documentation
                }
                wire.end()?;
            }
            wire.end()?;
        }
        Ok(ConfigAnswer { error, properties })
    }
}

/// The types of resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Ten times as many as Kafka 4 has.
const MAX_PROPERTIES: usize = 400;

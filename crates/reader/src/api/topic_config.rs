//! DescribeConfigs: the properties of a topic.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, describe_configs_request as body};
use kafka_protocol::protocol::StrBytes;

use super::Api;
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct TopicConfigRequest<'a> {
    pub(crate) topic: &'a str,
    /// The only property to ask for; `None`: all.
    pub(crate) name: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TopicConfigAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// Names and values of those that the broker tells, without sensitive ones. At most [`MAX_PROPERTIES`].
    pub(crate) properties: Vec<(String, String)>,
}

impl Api for TopicConfigRequest<'_> {
    const KEY: ApiKey = ApiKey::DescribeConfigs;
    const VERSIONS: RangeInclusive<i16> = 1..=4;
    const FLEXIBLE: i16 = 4;
    type Body = body::DescribeConfigsRequest;
    type Answer = TopicConfigAnswer;

    fn body(&self, _version: i16) -> body::DescribeConfigsRequest {
        let resource = body::DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(StrBytes::from_string(self.topic.to_owned()))
            .with_configuration_keys(self.name.map(|name| vec![StrBytes::from_static_str(name)]));
        body::DescribeConfigsRequest::default().with_resources(vec![resource])
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<TopicConfigAnswer, WireError> {
        wire.take_throttle_time(version >= 2)?;
        let (mut error, mut properties) = (None, Vec::new());
        for _ in 0..wire.array(7)? {
            error = ErrorCode::of(wire.i16()?);
            wire.string()?; // the error's message
            wire.i8()?; // the resource's type
            let is_topic = wire.string()? == self.topic;
            for _ in 0..wire.array(7)? {
                let (name, value) = (wire.string()?, wire.string()?);
                wire.skip(2)?; // whether it is read-only, and its source
                let is_sensitive = wire.i8()? != 0;
                let is_asked = self.name.is_none_or(|asked| asked == name);
                if is_topic && is_asked && !is_sensitive && properties.len() < MAX_PROPERTIES {
                    properties.push((name, value));
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
        Ok(TopicConfigAnswer { error, properties })
    }
}

/// The type of a topic among resources.
const TOPIC: i8 = 2;

/// Ten times as many as Kafka 4 has.
const MAX_PROPERTIES: usize = 400;

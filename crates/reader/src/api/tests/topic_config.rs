//! DescribeConfigs.

use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::*;

fn topic_config_request() -> TopicConfigRequest<'static> {
    TopicConfigRequest { topic: "t", name: "delete.retention.ms" }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn response(error: i16, configs: Vec<DescribeConfigsResourceResult>) -> DescribeConfigsResponse {
    let result = DescribeConfigsResult::default()
        .with_error_code(error)
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configs(configs);
    DescribeConfigsResponse::default().with_results(vec![result])
}

#[test]
fn property_is_asked_for_and_decoded() {
    let config = |name: &str, value: Option<&str>| {
        let synonym = DescribeConfigsSynonym::default().with_name(text("log.cleaner")).with_source(5);
        DescribeConfigsResourceResult::default()
            .with_name(text(name))
            .with_value(value.map(text))
            .with_synonyms(vec![synonym])
    };
    let found = vec![config("other", None), config("delete.retention.ms", Some("86400000"))];
    for (code, configs, value) in [(0, found, Some("86400000".to_owned())), (29, Vec::new(), None)] {
        let response = response(code, configs);
        let want = |_| TopicConfigAnswer { error: ErrorCode::of(code), value: value.clone() };
        check(&topic_config_request(), |_| response.clone(), want);
    }
    for version in TopicConfigRequest::VERSIONS {
        let request: messages::DescribeConfigsRequest = received(&topic_config_request(), version);
        let resource = &request.resources[0];
        assert_eq!((resource.resource_type, &resource.resource_name[..]), (2, "t"));
        assert_eq!(resource.configuration_keys, Some(vec![text("delete.retention.ms")]));
    }
}

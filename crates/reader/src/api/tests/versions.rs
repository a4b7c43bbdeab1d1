//! ApiVersions.

use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};

use super::fetch::fetch_request;
use super::metadata::metadata_request;
use super::*;

#[test]
fn broker_decodes_api_versions() {
    for version in VersionsRequest::VERSIONS {
        let request: messages::ApiVersionsRequest = received(&VersionsRequest, version);
        let name = if version >= VersionsRequest::FLEXIBLE { "sluicegate" } else { "" };
        assert_eq!(request.client_software_name.as_str(), name, "version {version}");
    }
}

#[test]
fn versions_are_decoded() {
    let fetch = ApiVersion::default().with_api_key(1).with_min_version(4).with_max_version(11);
    let response = ApiVersionsResponse::default().with_api_keys(vec![fetch]);
    let refused = ApiVersionsResponse::default().with_error_code(35);
    for version in VersionsRequest::VERSIONS {
        let versions = read(&VersionsRequest, version, sent(&response, version)).expect("versions");
        assert_eq!((versions.error, versions.pick(&fetch_request())), (None, Ok(11)));
        assert!(versions.pick(&metadata_request()).is_err());
        // In version 0, whichever was asked for.
        let versions = read(&VersionsRequest, version, sent(&refused, 0)).expect("versions");
        assert_eq!(versions.error, ErrorCode::of(35));
    }
}

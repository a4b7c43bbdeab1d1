//! The version in which a request is sent.

use super::*;

fn pick(theirs: RangeInclusive<i16>, request: &FetchRequest<'_>) -> Result<i16, String> {
    Versions { error: None, speaks: vec![(ApiKey::Fetch as i16, theirs)] }.pick(request)
}

fn fetch(theirs: RangeInclusive<i16>) -> Result<i16, String> {
    pick(theirs, &fetch_request())
}

#[test]
fn highest_common_version_within_the_limit_of_the_request_is_used() {
    assert_eq!(fetch(4..=17), Ok(17));
    assert_eq!(fetch(0..=11), Ok(11));
    assert_eq!(fetch(18..=25), Ok(18));
    let named = FetchPartition { topic_id: None, ..fetch_partition(4) };
    let partitions = vec![fetch_partition(3), named];
    assert_eq!(pick(4..=18, &FetchRequest { partitions, ..fetch_request() }), Ok(12));
    assert_eq!(pick(4..=18, &FetchRequest { rack: None, ..fetch_request() }), Ok(10));
    assert_eq!(fetch(19..=20), Err("supports Fetch in versions 19..=20, expected one of 4..=18".to_owned()));
    assert_eq!(fetch(0..=3), Err("supports Fetch in versions 0..=3, expected one of 4..=18".to_owned()));
    let none = Versions { error: None, speaks: Vec::new() };
    assert_eq!(none.pick(&list_offsets_request()), Err("does not support ListOffsets".to_owned()));
}

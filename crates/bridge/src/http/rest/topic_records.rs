//! Records of many partitions of a topic, as JSON.

use http::StatusCode;
use sluicegate_backend::command::Start;
use sluicegate_backend::number::whole_number;
use sluicegate_backend::{LOG_END, LOG_START, Log};
use sluicegate_delivery::cluster::MAX_PARTITIONS;
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect::position::{EXPECTED, now, parse};

use super::super::accept::Elements;
use super::super::problem::{Problem, ProblemKind};
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::filters::with_json;
use super::path::Query;
use super::position;
use super::positions::{Part, with_lists};
use super::records;

/// The response to GET of a topic's records.
///
/// # Cancel safety
/// A drop abandons the reads.
pub(super) async fn get(
    grant: &Grant,
    topic: &str,
    query: &Query,
    elements: Elements,
    mut running: &RequestPermits,
) -> Result<Response, Problem> {
    let (system, began) = (grant.system(), now());
    let bounds = records::bounds(query, system, elements)?;
    let filters = with_json(Vec::new(), query, system)?;
    let begins = match (query.time("offsets"), query.text("offset")) {
        (Some(offsets), None) => {
            position::begins(places(topic, &offsets)?.into_iter(), grant, bounds.committed).await?
        }
        (None, _) => position::places(begin(query)?, grant, topic, bounds.committed, INSTEAD).await?,
        (Some(_), Some(_)) => {
            let detail = "query parameter offset: expected it without offsets";
            return Err(Problem::new(ProblemKind::Malformed, detail));
        }
    };
    let (mut places, mut unread) = (Vec::with_capacity(begins.len()), Vec::new());
    // Its end by then can be after what is written meanwhile.
    let from_now = |start| if start == Start::Timestamp(LOG_END) { Start::Timestamp(began) } else { start };
    for begin in begins {
        match begin {
            Ok(place) => places.push(place),
            Err((log, start)) => unread.push((log, from_now(start))),
        }
    }
    let results = grant.multi_fetch(&places, bounds, filters, &mut running).await;
    let results = results.map_err(|error| Problem::failed(error, system))?;
    let has_read = results.iter().any(Result::is_ok);
    let mut parts: Vec<Part> = Vec::with_capacity(results.len());
    for (result, &(log, offset)) in results.into_iter().zip(&places) {
        match result {
            Ok(fetched) => parts.push(Part { partition: log.partition, fetched }),
            // The same request can succeed later. Until then, its records are not in the answer.
            Err(error) if has_read && error.fault.is_retriable() => {
                parts.push(Part::unread(log.partition, offset));
            }
            Err(error) => return Err(Problem::of_read(grant, log, Some(offset), error).await),
        }
    }
    // Records as JSON can be too long for the answer. The partition that is first is not always the same.
    let first = fastrand::usize(..parts.len().max(1));
    parts.rotate_left(first);
    let limits = (grant.max_bytes(bounds), bounds.max_records);
    let body = records::document(system, |_| topic, &mut parts, elements, limits, grant.route());
    parts.rotate_right(first);
    let response = Response::with_body(StatusCode::OK, elements.content_type(system), body.into());
    Ok(with_lists(response, &parts, &unread, system))
}

/// Where all partitions begin.
pub(super) fn begin(query: &Query) -> Result<Start, Problem> {
    match position::position(query, "offset")? {
        Some(Start::Offset(_)) => {
            let detail = "query parameter offset: expected earliest, latest, -N or s@TIME; \
                          for an offset in each partition use offsets=0:5,1:9";
            Err(Problem::new(ProblemKind::Malformed, detail))
        }
        start => Ok(start.unwrap_or(Start::Timestamp(LOG_START))),
    }
}

/// The positions of `0:5,1:latest`.
pub(super) fn places<'a>(topic: &'a str, offsets: &str) -> Result<Vec<(Log<'a>, Start)>, Problem> {
    let now = now();
    let place = |text: &str| {
        let (partition, position) = text.split_once(':')?;
        let partition = i32::try_from(whole_number(partition)?).ok().filter(|partition| *partition >= 0)?;
        Some((Log { topic, partition }, parse(position, now)?))
    };
    let places: Option<Vec<_>> =
        offsets.split(',').take(MAX_PARTITIONS.saturating_add(1)).map(place).collect();
    places.filter(|places| places.len() <= MAX_PARTITIONS).ok_or_else(|| {
        let detail = format!(
            "query parameter offsets: expected PARTITION:OFFSET of 1 to {MAX_PARTITIONS} partitions, \
             separated by commas, where OFFSET is {EXPECTED}"
        );
        Problem::new(ProblemKind::Malformed, detail)
    })
}

/// Advice for topics with too many partitions.
const INSTEAD: &str = "name some in the query parameter offsets";

#[cfg(test)]
mod tests {
    use sluicegate_backend::System;
    use sluicegate_dialect::position::text;

    use super::super::super::tests::check_problem;
    use super::*;

    #[test]
    fn number_is_the_offset_of_one_partition_only() {
        let of = |query| begin(&Query::at("/topics/t/records", query, System::Kafka).unwrap());
        assert_eq!(of(""), Ok(Start::Timestamp(LOG_START)));
        assert_eq!(of("offset=-5"), Ok(Start::BeforeEnd(5)));
        check_problem(of("offset=5").unwrap_err(), 400, "use offsets=0:5");
    }

    #[test]
    fn offsets_are_parsed() {
        let log = |partition| Log { topic: "t", partition };
        assert_eq!(places("t", "0:5").unwrap(), [(log(0), Start::Offset(5))]);
        let from = [Start::Timestamp(5), Start::Timestamp(LOG_END), Start::BeforeEnd(2)];
        let offsets: Vec<String> = from.map(|start| format!("1:{}", text(start))).into();
        assert_eq!(places("t", &offsets.join(",")).unwrap(), from.map(|start| (log(1), start)));
        let want = [(log(2_147_483_647), Start::Offset(i64::MAX)), (log(0), Start::Offset(0))];
        assert_eq!(places("t", "2147483647:9223372036854775807,0:0").unwrap(), want);
        assert_eq!(places("t", &vec!["0:0"; 256].join(",")).unwrap().len(), 256);
        let times = "offsets=0:s@1970-01-01T01:00:01+01:00,1:s@1970-01-01T01:00:02%2B01:00,0:-2";
        let times = Query::at("/topics/t/records", times, System::Kafka).unwrap().time("offsets").unwrap();
        let want = [Start::Timestamp(1_000), Start::Timestamp(2_000), Start::BeforeEnd(2)];
        let starts = places("t", &times).unwrap().into_iter().map(|(_, start)| start);
        assert_eq!(starts.collect::<Vec<_>>(), want);
        let many = vec!["0:0"; 257].join(",");
        for invalid in
            ["", "0", "0:", ":0", "0:0,", "0:now", "-1:0", "0:0 ", "2147483648:0", "0:0;1:0", &many]
        {
            check_problem(places("t", invalid).unwrap_err(), 400, "");
        }
    }
}

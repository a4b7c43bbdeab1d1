//! Reads the records that are there, or waits for those that come next.

use std::time::Duration;

use http::{StatusCode, header};
use sluicegate_backend::command::ReadBounds;
use sluicegate_backend::{Chunk, CommandError, DecodeMessages as _, Fault, LOG_START};
use sluicegate_delivery::cluster::{escape_for_message, out_of_range};
use sluicegate_delivery::grant::Grant;
use tokio::time::Instant;

use super::super::Request;
use super::super::problem::{Problem, ProblemKind};
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::content::Content;
use super::position::{Position, cursor};
use super::target::{Begin, Live, ReadQuery, Target};
use super::{CURSOR, NEXT_OFFSET, UP_TO_DATE};

/// The response to GET, but for events.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn get(
    request: &Request<'_>,
    target: &Target,
    content: &Content,
    public: bool,
    query: ReadQuery,
    running: &RequestPermits,
) -> Result<Response, Problem> {
    let grant = request.grant;
    let public = public && query.filters.is_empty() && grant.is_append_only(&target.topic).await;
    let (offset, is_now) = match query.begin {
        Begin::At(position) => (position.offset, false),
        Begin::Start => (start(grant, target, query.committed).await?, false),
        Begin::Now => (ends(grant, target, query.committed).await?.1, true),
    };
    let read = Read { grant, target, content, query: &query, running, aligns: public };
    let waits = query.live == Some(Live::LongPoll);
    let page = match is_now && !waits {
        true => Page::end(content, offset),
        false => read.page(offset, !is_now, waits).await?,
    };
    let topic_id = check_topic(grant, target, &query.begin)?;
    let [begin, next] = [offset, page.next].map(|offset| Position::new(topic_id, offset).text());
    let checksum = crc32c::crc32c(&page.body);
    let response = match waits && page.is_empty() {
        true => Response::empty(StatusCode::NO_CONTENT),
        false => Response::with_body(StatusCode::OK, &content.media_type, page.body.into()),
    };
    let mut response = response.header(NEXT_OFFSET, next.clone());
    if waits {
        response = response.header(CURSOR, cursor(query.cursor).to_string());
    }
    if page.is_up_to_date {
        response = response.header(UP_TO_DATE, "true");
    }
    let kept = match (public, page.is_full) {
        (true, true) => "public, max-age=60, stale-while-revalidate=300",
        (true, false) => "public, max-age=1",
        // Rights can end, and records of compacted topics: a browser asks whether its copy still holds.
        (false, _) => "private, no-cache",
    };
    if is_now || response.status == StatusCode::NO_CONTENT {
        return Ok(response);
    }
    let rows = grant.restriction(&target.topic).map_err(|error| Problem::failed(error, grant.system()))?;
    let rows = rows.map(|rows| format!(":{rows:x}")).unwrap_or_default();
    let end = if page.is_up_to_date { ":end" } else { "" };
    // The same range can have fewer records later, of a compacted topic, or other content, of a changed route.
    let etag = format!("\"{begin}:{next}:{checksum:08x}{end}{rows}\"");
    let is_known =
        request.headers.all("if-none-match").flat_map(|line| line.split(|byte| *byte == b',')).any(|tag| {
            let tag = tag.trim_ascii();
            tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes()
        });
    if is_known {
        response = response.unchanged();
    }
    Ok(response.header(header::ETAG, etag).header(header::CACHE_CONTROL, kept))
}

/// The response to HEAD, or to a PUT that creates nothing: where the stream ends.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn head(
    request: &Request<'_>,
    target: &Target,
    content: &Content,
    committed: bool,
) -> Result<Response, Problem> {
    let (_, end) = ends(request.grant, target, committed).await?;
    let next = Position::new(request.grant.topic_id(target.log()), end).text();
    Ok(Response::with_body(StatusCode::OK, &content.media_type, Default::default()).header(NEXT_OFFSET, next))
}

/// The first offset of a stream, and the one after its last record.
pub(super) async fn ends(grant: &Grant, target: &Target, committed: bool) -> Result<(i64, i64), Problem> {
    match grant.ends(target.log(), committed).await {
        Ok(ends) => Ok(ends),
        Err(error) => Err(Problem::of_read(grant, target.log(), None, error).await),
    }
}

async fn start(grant: &Grant, target: &Target, committed: bool) -> Result<i64, Problem> {
    match grant.list_offset(target.log(), LOG_START, committed).await {
        Ok(offset) => Ok(offset),
        Err(error) => Err(Problem::of_read(grant, target.log(), None, error).await),
    }
}

/// Checks that what was read is of the topic of the client's offset, and returns its id.
///
/// # Errors
/// It is of another one.
pub(super) fn check_topic(grant: &Grant, target: &Target, begin: &Begin) -> Result<Option<u128>, Problem> {
    let topic_id = grant.topic_id(target.log());
    match begin {
        Begin::At(position) if topic_id.unwrap_or_default() != position.topic_id => {
            Err(other_topic(grant, target))
        }
        _ => Ok(topic_id),
    }
}

/// The problem of an offset of another topic.
pub(super) fn other_topic(grant: &Grant, target: &Target) -> Problem {
    let (word, topic) = (grant.system().topic, escape_for_message(&target.topic));
    let detail =
        format!("the offset is of another {word}, or of a {word} {topic} that was deleted: begin at -1");
    Problem::failed(CommandError::new(Fault::Recreated, 0, detail), grant.system()).of_kind(ProblemKind::Gone)
}

/// The problem of an offset that the log does not have: its records were deleted, or never there.
pub(super) fn beyond(grant: &Grant, target: &Target, offset: i64, ends: (i64, i64)) -> Problem {
    let system = grant.system();
    let problem = Problem::failed(out_of_range(system, target.log(), offset, ends), system);
    if offset < ends.0 { problem.of_kind(ProblemKind::Gone) } else { problem }
}

/// A read of one page.
struct Read<'a> {
    grant: &'a Grant,
    target: &'a Target,
    content: &'a Content,
    query: &'a ReadQuery,
    running: &'a RequestPermits,
    /// Whether the page ends at a place that all readers share.
    aligns: bool,
}

/// Content of a stream, and where it ends.
struct Page {
    body: Vec<u8>,
    count: usize,
    next: i64,
    /// Whether it ended at the end of the stream, which was learned after the request.
    is_up_to_date: bool,
    /// Whether the page ended before the stream did.
    is_full: bool,
}

impl Page {
    fn new(content: &Content, next: i64) -> Self {
        let mut body = Vec::new();
        content.begin(&mut body);
        Self { body, count: 0, next, is_up_to_date: false, is_full: false }
    }

    /// The page at the end of a stream.
    fn end(content: &Content, next: i64) -> Self {
        let mut page = Self { is_up_to_date: true, ..Self::new(content, next) };
        content.end(&mut page.body);
        page
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Read<'_> {
    /// Reads until the page is full or the stream ends; then, if it `waits` and there is nothing, until there is something.
    async fn page(&self, offset: i64, asks: bool, waits: bool) -> Result<Page, Problem> {
        let began = Instant::now();
        let mut page = Page::new(self.content, offset);
        // The end of a client that begins there is known already.
        page.is_up_to_date = !asks;
        while !page.is_full && !page.is_up_to_date && began.elapsed() < READ_TIME {
            let fetched = match self.fetch(offset, &page, Duration::ZERO).await {
                Err(problem) if page.is_empty() => return Err(problem),
                // The next request learns why there is no more.
                Err(_) => break,
                Ok(fetched) => fetched,
            };
            // Answers with records can have ends from before the request, those without have been to the end.
            page.is_up_to_date = fetched.count == 0 && fetched.next_offset <= page.next;
            self.put(&mut page, fetched);
            if !self.aligns && page.body.len() >= self.bound() / 2 {
                break;
            }
        }
        if waits && page.is_up_to_date && page.is_empty() {
            let fetched = self.fetch(offset, &page, self.query.wait).await?;
            let end = if self.query.committed { fetched.ends.stable } else { fetched.ends.end };
            self.put(&mut page, fetched);
            page.is_up_to_date = page.next >= end && !page.is_full;
        }
        self.content.end(&mut page.body);
        Ok(page)
    }

    /// Reads what the page has room for.
    async fn fetch(&self, begin: i64, page: &Page, wait: Duration) -> Result<Chunk, Problem> {
        let Self { grant, target, content, query, .. } = *self;
        let bounds = ReadBounds {
            max_bytes: Some(self.bound().saturating_sub(page.body.len()).max(1)),
            wait: Some(wait),
            fill: wait.is_zero(),
            committed: query.committed,
            decode: content.decodes(),
            ..ReadBounds::default()
        };
        let mut running = self.running;
        match grant.fetch(target.log(), page.next, bounds, query.filters.clone(), &mut running).await {
            Ok(fetched) => Ok(fetched),
            Err(CommandError { fault: Fault::OffsetOutOfRange, ends: Some(ends), .. }) => {
                check_topic(grant, target, &query.begin)?;
                Err(beyond(grant, target, begin, ends))
            }
            Err(error) => Err(Problem::of_read(grant, target.log(), None, error).await),
        }
    }

    /// The largest page, in bytes.
    fn bound(&self) -> usize {
        self.grant.max_bytes(ReadBounds::default())
    }

    /// Adds records to a page, as many as it has room for.
    fn put(&self, page: &mut Page, mut fetched: Chunk) {
        let Self { grant, target, content, .. } = *self;
        let bound = self.bound();
        let last = match self.aligns {
            true => page.next.saturating_sub(page.next.rem_euclid(CHUNK)).saturating_add(CHUNK),
            false => i64::MAX,
        };
        let (mut count, mut bytes) = (0_usize, 0_usize);
        while let Some((message, rest)) = fetched.first() {
            if message.offset >= last {
                break;
            }
            let before = page.body.len();
            content.put(&mut page.body, grant.system(), target.partition, &message);
            if page.body.len() >= bound && page.count > 0 {
                page.body.truncate(before);
                page.is_full = true;
                break;
            }
            count = count.saturating_add(1);
            page.count = page.count.saturating_add(1);
            bytes = bytes.saturating_add(fetched.messages.len().saturating_sub(rest.len()));
            fetched.advance_to(rest);
        }
        grant.route().delivered(count, bytes);
        fetched.end();
        page.next = fetched.next_offset.max(page.next);
        if page.next >= last {
            (page.next, page.is_full) = (last, true);
        }
    }
}

/// Pages of public streams end at multiples of this offset: a thousand readers ask a cache for the same ones.
const CHUNK: i64 = 8192;
/// The time after which a read of many records that the client does not see returns what it has found.
const READ_TIME: Duration = Duration::from_secs(5);

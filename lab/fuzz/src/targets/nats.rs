//! Messages of NATS servers.

use bytes::Bytes;
use sluicegate_nats::testing;

use super::parts;

/// A subject, where to answer, the status, headers in lines, and a payload.
pub(super) fn messages(input: &[u8]) {
    let [subject, reply_to, status, headers, payload] = parts(input);
    let subject = Bytes::copy_from_slice(subject);
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap_or_default().to_owned();
    let (reply_to, headers) = (text(reply_to), text(headers));
    testing::subject(&subject, &reply_to);
    let (subject, status) = (text(&subject), text(status).parse().unwrap_or_default());
    testing::message(&subject, &reply_to, status, &headers, &Bytes::copy_from_slice(payload));
}

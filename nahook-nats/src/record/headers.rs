//! Headers of records, for consumers that do not parse the body.

use std::fmt::Write as _;

use async_nats::header::HeaderMap;

use super::entry::FORMAT;
use super::write::Part;

pub(crate) const HEADER_FORMAT: &str = "Nahook-Format";
pub(crate) const HEADER_MESSAGE: &str = "Nahook-Message";
const HEADER_EVENT_TYPE: &str = "Nahook-Event-Type";
const HEADER_WORKSPACE: &str = "Nahook-Workspace";
const HEADER_DELIVERIES: &str = "Nahook-Deliveries";
const HEADER_PAYLOADS: &str = "Nahook-Payloads";
/// Beyond so many events the ids are in the body only: headers are for looking at, and servers bound them.
const LISTED_MAX: usize = 64;

/// The headers of a record that [`body`](super::body) has made of these parts; `offsets` are where the body has them.
pub(crate) fn headers<'a>(parts: impl IntoIterator<Item = (&'a Part, usize)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_FORMAT, FORMAT.to_string());
    let (mut payloads, mut deliveries) = (String::new(), 0);
    for (nth, (part, offset)) in parts.into_iter().enumerate() {
        deliveries += part.len;
        if nth > 0 {
            payloads.push(',');
        }
        let at = offset + part.payload.start;
        // Writing to memory cannot fail.
        let _ = write!(payloads, "{at}+{}", part.payload.len());
        if nth >= LISTED_MAX {
            continue;
        }
        headers.append(HEADER_MESSAGE, part.message.to_string());
        // Empty where there is none, so that the values of all headers stand in one order.
        let event_type = part.event_type.as_ref();
        headers.append(
            HEADER_EVENT_TYPE,
            event_type.map_or("", |name| name.as_str()),
        );
        headers.append(HEADER_WORKSPACE, part.workspace.as_str());
    }
    headers.insert(HEADER_PAYLOADS, payloads);
    headers.insert(HEADER_DELIVERIES, deliveries.to_string());
    headers
}

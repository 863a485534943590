//! Format of the streams' messages: records of events and their deliveries (see `FORMAT.md`).

mod entry;
mod headers;
mod read;
mod room;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use self::entry::{Entry, Item};
pub(crate) use self::headers::headers;
pub(crate) use self::read::{Malformed, read};
pub(crate) use self::room::{LOG_ROW_LEN_MAX, MAX_PAYLOAD_MIN, Room};
pub(crate) use self::write::{Part, body, part_len, part_of};

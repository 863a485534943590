//! Writing the delivery log beside the queue, without ever waiting for it.

mod buffer;
mod publisher;

pub use self::buffer::{RecorderBuffer, RecorderBufferSettings};
pub use self::publisher::LoggedPublisher;

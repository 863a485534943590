//! Streams and consumers: their names, creation and checks.

mod check;
mod consumers;
mod ensure;
mod names;
mod repair;
mod streams;

pub(crate) use self::ensure::ensure;
pub(crate) use self::names::{CHECK, Names, RECORDERS, Source, WORKERS};
pub(crate) use self::repair::StreamRepair;

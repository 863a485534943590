//! Outputs that cannot be written.

use std::fs::File;
use std::io::{PipeReader, Write as _, pipe};
use std::process::Stdio;

/// Bytes that a pipe holds on Linux before a writer blocks.
const PIPE_LEN: usize = 64 * 1024;

/// Fault of an output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The pipe's reader is gone.
    ReaderGone,
    /// The disk is full.
    DiskFull,
    /// Nobody reads the pipe, which is full.
    Stalled,
    /// The descriptor cannot be written to.
    NotWritable,
    /// There is no descriptor, in whose place the standard library opens `/dev/null`.
    Closed,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [
        Self::ReaderGone,
        Self::DiskFull,
        Self::Stalled,
        Self::NotWritable,
        Self::Closed,
    ];

    /// Such an output. What else there is of it has to live as long as the fault.
    pub(crate) fn output(self) -> (Stdio, Option<PipeReader>) {
        match self {
            Self::ReaderGone => (pipe().unwrap().1.into(), None),
            Self::DiskFull => {
                let full = File::options().write(true).open("/dev/full").unwrap();
                (full.into(), None)
            }
            Self::Stalled => {
                let (reader, mut writer) = pipe().unwrap();
                writer.write_all(&vec![b'\n'; PIPE_LEN]).unwrap();
                (writer.into(), Some(reader))
            }
            Self::NotWritable => (File::open("/dev/null").unwrap().into(), None),
            Self::Closed => (Stdio::null(), None),
        }
    }
}

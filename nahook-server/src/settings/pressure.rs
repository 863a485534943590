//! The settings of back-pressure.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::{or, wrong};
use crate::{ServerError, machine};

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

/// Marks above which ingestion is held back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PressureSettings {
    /// Lag of deliveries at which they get at least half of the machine.
    pub share_at: Duration,
    /// Lag of deliveries at which new events are refused.
    pub refuse_at: Duration,
    /// Memory of the process in bytes at which new events are refused; `None` for no bound.
    pub memory_max: Option<u64>,
}

impl Default for PressureSettings {
    /// A second, an hour, and four fifths of the memory that the process may take.
    fn default() -> Self {
        Self {
            share_at: Duration::from_secs(1),
            refuse_at: Duration::from_hours(1),
            memory_max: machine::memory_allowed().map(|bytes| bytes / 5 * 4),
        }
    }
}

/// The settings of back-pressure as given by flag or environment, or by the table `pressure` of a file; each may be absent.
#[derive(Args, Clone, Copy, Debug, Default, Deserialize)]
#[command(next_help_heading = "Back-pressure")]
#[serde(deny_unknown_fields)]
pub struct PressureArgs {
    /// Lag of deliveries in milliseconds from which on they get at least half of the machine; below it ingestion goes first
    /// [default: 1000].
    #[arg(
        long = "pressure-share-at",
        id = "pressure_share_at",
        env = "NAHOOK_PRESSURE_SHARE_AT",
        value_name = "MILLISECONDS"
    )]
    pub share_at: Option<u64>,
    /// Lag of deliveries in seconds from which on new events are refused with 503 and Retry-After [default: 3600].
    #[arg(
        long = "pressure-refuse-at",
        id = "pressure_refuse_at",
        env = "NAHOOK_PRESSURE_REFUSE_AT",
        value_name = "SECONDS"
    )]
    pub refuse_at: Option<u64>,
    /// MiB of the disk of a store in a file that have to be free, else new events are refused; 0 turns this off
    /// [default: 5 % of the disk, at most 256].
    #[arg(
        long = "pressure-disk-free",
        id = "pressure_disk_free",
        env = "NAHOOK_PRESSURE_DISK_FREE",
        value_name = "MIB"
    )]
    pub disk_free: Option<u64>,
    /// MiB of memory from which on new events are refused while a backlog is there; 0 turns this off
    /// [default: four fifths of the container's or the machine's].
    #[arg(
        long = "pressure-memory",
        id = "pressure_memory",
        env = "NAHOOK_PRESSURE_MEMORY",
        value_name = "MIB"
    )]
    pub memory: Option<u64>,
}

impl PressureArgs {
    /// Fills what is absent from the file.
    pub(super) fn or(self, file: Self) -> Self {
        or!(self, file: share_at, refuse_at, disk_free, memory)
    }

    /// Checks them. Returns the marks, and the bytes of the disk that have to be free.
    pub(super) fn resolve(self) -> Result<(PressureSettings, Option<u64>), ServerError> {
        let mut settings = PressureSettings::default();
        if let Some(millis) = self.share_at {
            settings.share_at = Duration::from_millis(positive("--pressure-share-at", millis)?);
        }
        if let Some(seconds) = self.refuse_at {
            settings.refuse_at = Duration::from_secs(positive("--pressure-refuse-at", seconds)?);
        }
        if let Some(memory) = self.memory {
            settings.memory_max = (memory > 0).then_some(memory.saturating_mul(MIB));
        }
        let disk_free = self.disk_free.map(|mib| mib.saturating_mul(MIB));
        Ok((settings, disk_free))
    }
}

fn positive(name: &'static str, given: u64) -> Result<u64, ServerError> {
    if given == 0 {
        return Err(wrong(name, "0 would hold ingestion back for ever"));
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_goes_before_the_file_and_the_file_before_the_default() {
        let file: PressureArgs =
            toml::from_str("share_at = 250\nrefuse_at = 60\ndisk_free = 10\nmemory = 0").unwrap();
        let flags = PressureArgs {
            refuse_at: Some(30),
            ..PressureArgs::default()
        };
        let (settings, disk_free) = flags.or(file).resolve().unwrap();
        let expected = PressureSettings {
            share_at: Duration::from_millis(250),
            refuse_at: Duration::from_secs(30),
            memory_max: None,
        };
        assert_eq!(settings, expected);
        assert_eq!(disk_free, Some(10 * 1_024 * 1_024));
        let (settings, disk_free) = PressureArgs::default().resolve().unwrap();
        assert_eq!((settings, disk_free), (PressureSettings::default(), None));
    }

    #[test]
    fn mark_of_zero_is_refused() {
        for file in ["share_at = 0", "refuse_at = 0"] {
            let args: PressureArgs = toml::from_str(file).unwrap();
            let said = args.resolve().unwrap_err().report();
            assert!(said.contains("--pressure-"), "{said}");
        }
    }
}

//! Space on the file's disk: the watermark below which nothing new is queued, and a reserve for what must still be written.
//!
//! The thread that writes looks at the disk before each transaction. Below the watermark publishing fails as on a full disk, while
//! settlements, retention and changes of the catalog go on. When almost nothing is left the reserve, a file that holds space beside the
//! store's, is released, so that a key can be revoked on a disk that others have filled.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Role, SqliteSettings};

/// Watermark where the settings name none: so many bytes …
const FREE_MIN: u64 = 256 * 1024 * 1024;
/// … or, on a small disk, this fraction of it.
const FREE_MIN_FRACTION: u64 = 20;

/// Largest reserve. A revocation takes some 40 KiB, a settlement some 200 bytes.
const RESERVE_LEN_MAX: u64 = 16 * 1024 * 1024;

/// Interval between attempts to allocate the reserve.
const ALLOCATE_EVERY: Duration = Duration::from_secs(10);

/// Time for which a write that failed for lack of space counts, whatever the disk says: a quota shows in no other way.
const FULL_FOR: Duration = Duration::from_secs(2);

/// Space on the file's disk, as it was found last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct DiskSpace {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes below which nothing new is queued.
    pub free_min: u64,
    /// True while nothing new is queued for lack of space.
    pub is_low: bool,
}

/// Latest findings; shared by the thread that looks and all who ask.
#[derive(Debug, Default)]
pub(crate) struct Found {
    free: AtomicU64,
    free_min: AtomicU64,
    is_low: AtomicBool,
}

impl Found {
    pub(crate) fn space(&self) -> DiskSpace {
        DiskSpace {
            free: self.free.load(Ordering::Relaxed),
            free_min: self.free_min.load(Ordering::Relaxed),
            is_low: self.is_low(),
        }
    }

    pub(crate) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }
}

/// The disk of a store's file, as the thread that writes sees it.
#[derive(Debug)]
pub(crate) struct Disk {
    directory: PathBuf,
    reserve: PathBuf,
    /// The settings' watermark; zero turns all of this off.
    free_min: Option<u64>,
    role: Role,
    full_at: Option<Instant>,
    allocated_at: Option<Instant>,
    found: Arc<Found>,
}

impl Disk {
    pub(crate) fn of(path: &Path, settings: &SqliteSettings) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let mut reserve = OsString::from(&path);
        reserve.push("-reserve");
        Ok(Self {
            directory: path.parent().unwrap_or(Path::new("/")).to_owned(),
            reserve: reserve.into(),
            free_min: settings.disk_free_min,
            role: settings.role,
            full_at: None,
            allocated_at: None,
            found: Arc::default(),
        })
    }

    pub(crate) fn found(&self) -> Arc<Found> {
        Arc::clone(&self.found)
    }

    pub(crate) fn is_low(&self) -> bool {
        self.found.is_low()
    }

    /// Measures the disk, and releases or allocates the reserve as is due. Logs when the disk becomes low and when it recovers.
    pub(crate) fn look(&mut self) {
        // Nothing is changed by a disk that cannot be asked.
        let Some((free, free_min)) = self.measure() else {
            return;
        };
        self.found.free.store(free, Ordering::Relaxed);
        self.found.free_min.store(free_min, Ordering::Relaxed);
        if self.role != Role::Server {
            return;
        }
        let was_low = self.found.is_low();
        self.full_at = self.full_at.filter(|at| at.elapsed() < FULL_FOR);
        // An eighth more, so that a disk at the watermark does not go back and forth.
        let enough = free_min + if was_low { free_min / 8 } else { 0 };
        let is_low = free < enough || self.full_at.is_some();
        self.found.is_low.store(is_low, Ordering::Relaxed);
        if is_low && !was_low {
            tracing::warn!(
                free,
                free_min,
                "the disk is nearly full: nothing new is queued"
            );
        } else if was_low && !is_low {
            tracing::info!(
                free,
                free_min,
                "the disk has room again: new events are queued"
            );
        }
        let len = reserve_len(free_min);
        if free < free_min / 4 {
            self.release();
        } else if !is_low && free > free_min.saturating_add(len) {
            self.allocate(len);
        }
    }

    /// Releases the reserve after a write that failed for lack of space. Returns true if that has made room.
    pub(crate) fn make_room(&mut self) -> bool {
        if self.free_min == Some(0) {
            return false;
        }
        self.full_at = Some(Instant::now());
        let has_released = self.release();
        self.look();
        has_released
    }

    /// Returns the free bytes and the watermark.
    #[cfg(unix)]
    fn measure(&self) -> Option<(u64, u64)> {
        if self.free_min == Some(0) {
            return None;
        }
        let disk = rustix::fs::statvfs(&self.directory).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let total = disk.f_blocks.saturating_mul(disk.f_frsize);
        let by_size = || FREE_MIN.min(total / FREE_MIN_FRACTION);
        Some((free, self.free_min.unwrap_or_else(by_size)))
    }

    /// Elsewhere only a write that fails says something.
    #[cfg(not(unix))]
    fn measure(&self) -> Option<(u64, u64)> {
        None
    }

    fn release(&mut self) -> bool {
        // A tool that has no room releases the server's: it makes another once there is room.
        let has_released = fs::remove_file(&self.reserve).is_ok();
        if has_released {
            tracing::warn!("the reserve on the disk is released");
            self.allocated_at = None;
        }
        has_released
    }

    fn allocate(&mut self, len: u64) {
        if self
            .allocated_at
            .is_some_and(|at| at.elapsed() < ALLOCATE_EVERY)
        {
            return;
        }
        self.allocated_at = Some(Instant::now());
        if fs::metadata(&self.reserve).is_ok_and(|file| file.len() == len) {
            return;
        }
        if let Err(error) = allocate(&self.reserve, len) {
            // Half a reserve would be in the way.
            let _ = fs::remove_file(&self.reserve);
            tracing::debug!(%error, "there is no reserve on the disk");
        }
    }
}

/// A part of the watermark: what is released may be used up before the disk is full again.
fn reserve_len(free_min: u64) -> u64 {
    RESERVE_LEN_MAX.min(free_min / 2)
}

/// Makes a file whose bytes are there and not only promised.
fn allocate(path: &Path, len: u64) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    #[cfg(target_os = "linux")]
    {
        let flags = rustix::fs::FallocateFlags::empty();
        if rustix::fs::fallocate(&file, flags, 0, len).is_ok() {
            return Ok(());
        }
    }
    fill(&mut file, len)
}

/// Where the file system cannot allocate: a file of zeros.
fn fill(file: &mut File, len: u64) -> io::Result<()> {
    let zeros = [0; 8 * 1024];
    let mut left = len;
    while left > 0 {
        let part = left.min(zeros.len() as u64);
        file.write_all(&zeros[..usize::try_from(part).unwrap_or(zeros.len())])?;
        left -= part;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The disk of an empty file, of which so many bytes must be free.
    fn disk(free_min: u64) -> (tempfile::TempDir, Disk) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        fs::write(&path, "").unwrap();
        let mut settings = SqliteSettings::server();
        settings.disk_free_min = Some(free_min);
        let disk = Disk::of(&path, &settings).unwrap();
        (directory, disk)
    }

    #[test]
    fn reserve_is_allocated_once_and_released_by_a_lack_of_space() {
        let (_directory, mut disk) = disk(4_096);
        disk.look();
        assert!(!disk.found.is_low());
        let reserve = fs::metadata(&disk.reserve).unwrap();
        assert_eq!(reserve.len(), 2_048);
        assert!(disk.make_room());
        assert!(!disk.reserve.exists());
        // Though the disk says that there is room.
        assert!(disk.found.is_low());
        assert!(!disk.make_room(), "it can be released once");
        disk.full_at = None;
        disk.look();
        assert!(!disk.found.is_low());
        assert!(disk.reserve.exists());
    }

    #[test]
    fn watermark_above_what_is_free_makes_the_disk_low() {
        let (_directory, mut disk) = disk(u64::MAX / 4);
        disk.look();
        assert!(disk.found.space().is_low);
        assert!(
            !disk.reserve.exists(),
            "nothing is allocated on a full disk"
        );
    }

    #[test]
    fn watermark_of_zero_turns_it_off() {
        let (_directory, mut disk) = disk(0);
        disk.look();
        assert!(!disk.make_room());
        assert!(!disk.found.is_low() && !disk.reserve.exists());
    }

    #[test]
    fn file_of_zeros_takes_its_length() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("zeros");
        fill(&mut File::create(&path).unwrap(), 100_000).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 100_000);
    }
}

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Variable that tells a test that it runs where it may mount.
const MAY_MOUNT: &str = "NAHOOK_TEST_MAY_MOUNT";

/// A file system of so many megabytes in memory, gone when dropped.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one. Where this process may not, the test that calls runs again in a namespace where it may, and this is `None`.
    pub fn mount(megabytes: u32) -> Option<Self> {
        let disk = Self(tempfile::tempdir().expect("a directory"));
        let mut mount = Command::new("mount");
        let size = format!("size={megabytes}m");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]);
        let mounted = mount.arg(disk.path()).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(disk);
        }
        assert!(
            std::env::var_os(MAY_MOUNT).is_none(),
            "a tmpfs cannot be mounted"
        );
        let name = std::thread::current();
        let mut again = Command::new("unshare");
        again.args(["--user", "--map-root-user", "--mount"]);
        again.arg(std::env::current_exe().expect("the test's own program"));
        let name = name.name().expect("the test's name");
        again.args(["--exact", name]).env(MAY_MOUNT, "1");
        let ran = again.output().expect("unshare");
        assert!(
            ran.status.success(),
            "as root or with user namespaces only: {ran:?}"
        );
        assert!(
            String::from_utf8_lossy(&ran.stdout).contains("1 passed"),
            "{ran:?}"
        );
        None
    }

    /// The directory that it is mounted at.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Path of the file that takes the room.
    pub fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut ballast = File::options();
        let ballast = ballast.create(true).append(true).open(self.ballast());
        let mut ballast = ballast.expect("a file on the disk");
        while ballast.write_all(&[0; 4_096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still uses it keeps it until then.
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

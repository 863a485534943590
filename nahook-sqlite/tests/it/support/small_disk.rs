//! A disk that is soon full.

use std::fs::File;
use std::io::Write as _;
use std::process::Command;

use super::Place;

/// A file system of a few megabytes, gone when dropped.
pub(crate) struct SmallDisk(pub(crate) Place);

/// Variable that tells a test that it runs where it may mount.
const MAY_MOUNT: &str = "NAHOOK_TEST_MAY_MOUNT";

impl SmallDisk {
    /// Mounts one; where this process may not, the test runs again in a namespace where it may, and this is `None`.
    pub(crate) fn mount() -> Option<Self> {
        let disk = Self(Place::new());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]);
        let mounted = mount.arg(disk.0.directory.path()).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(disk);
        }
        assert!(
            std::env::var_os(MAY_MOUNT).is_none(),
            "a tmpfs cannot be mounted"
        );
        let name = std::thread::current().name().unwrap().to_owned();
        let mut again = Command::new("unshare");
        again.args(["--user", "--map-root-user", "--mount"]);
        again.arg(std::env::current_exe().unwrap());
        again.args(["--exact", &name]).env(MAY_MOUNT, "1");
        let ran = again.output().unwrap();
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

    /// A file that takes room.
    pub(crate) fn ballast(&self) -> std::path::PathBuf {
        self.0.directory.path().join("ballast")
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut ballast = File::options();
        let mut ballast = ballast
            .create(true)
            .append(true)
            .open(self.ballast())
            .unwrap();
        while ballast.write_all(&[0; 4_096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.0.directory.path())
            .output();
    }
}

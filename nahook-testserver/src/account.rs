//! User that runs a server which refuses to run as root.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// An account of the system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The first of these accounts that exists, if we are root; else whoever we are, which needs no switching.
    pub(crate) fn unprivileged(names: &[&str]) -> Option<Self> {
        // What we make belongs to us.
        let probe = tempfile::tempfile().expect("a temporary file can be made");
        if probe.metadata().expect("an open file has metadata").uid() != 0 {
            return None;
        }
        let accounts = fs::read_to_string("/etc/passwd").expect("the accounts can be read");
        let found = names.iter().find_map(|name| {
            let of_name = accounts
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name}:")))?;
            let mut fields = of_name.split(':').skip(1);
            let uid = fields.next()?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid })
        });
        Some(found.unwrap_or_else(|| panic!("none of the accounts {names:?} exists")))
    }
}

/// Runs `command` as the account.
pub(crate) fn run_as(account: Option<Account>, command: &mut Command) -> &mut Command {
    match account {
        Some(Account { uid, gid }) => command.uid(uid).gid(gid),
        None => command,
    }
}

/// Gives a file or a folder to the account.
pub(crate) fn give(account: Option<Account>, path: &Path) {
    if let Some(Account { uid, gid }) = account {
        chown(path, Some(uid), Some(gid)).expect("root may give its files away");
    }
}

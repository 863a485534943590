//! Files that only their owner reads.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::ServerError;

/// Writes a new file with this text, in the place of one that is there. Makes its directory if there is none.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), ServerError> {
    write_to(path, text).map_err(|error| ServerError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn write_to(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Neither a link nor a file with another mode can have come in between.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn file_is_the_owners_alone_and_replaces_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("made/private"), dir.path().join("other"));
        write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        fs::remove_file(&path).unwrap();
        fs::write(&other, "kept").unwrap();
        symlink(&other, &path).unwrap();
        write(&path, "three").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

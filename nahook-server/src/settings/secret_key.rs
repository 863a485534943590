//! The operator's keys for the secrets in the store.

use std::path::PathBuf;

use nahook_control::MasterKeys;

use super::wrong;
use crate::{ServerError, text_file};

/// Reads the keys that were given as they are or in a file.
pub(super) fn secret_keys(
    given: Option<&str>,
    file: Option<PathBuf>,
) -> Result<Option<MasterKeys>, ServerError> {
    let parse = |name, text: &str| {
        let keys = MasterKeys::parse(text);
        keys.map_err(|error| wrong(name, error.to_string()))
    };
    match (given, file) {
        (None, None) => Ok(None),
        (Some(text), None) => parse("--secret-key", text).map(Some),
        (None, Some(path)) => parse("--secret-key-file", &text_file::read(&path)?).map(Some),
        (Some(_), Some(_)) => {
            let reason = "it goes without --secret-key";
            Err(wrong("--secret-key-file", reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_a_file_or_as_they_are_and_are_never_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        std::fs::write(&path, format!("{key}\n")).unwrap();
        let of_file = secret_keys(None, Some(path.clone())).unwrap().unwrap();
        let as_it_is = secret_keys(Some(key), None).unwrap().unwrap();
        assert_eq!(of_file.fingerprint(), as_it_is.fingerprint());
        assert!(secret_keys(None, None).unwrap().is_none());
        let both = secret_keys(Some(key), Some(path.clone())).unwrap_err();
        assert!(both.report().contains("--secret-key-file"));
        std::fs::write(&path, "hunter2").unwrap();
        for refused in [
            secret_keys(Some("hunter2"), None),
            secret_keys(None, Some(path)),
            secret_keys(None, Some(dir.path().join("none"))),
        ] {
            let told = refused.unwrap_err().report();
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}

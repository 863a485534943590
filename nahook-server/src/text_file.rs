//! Text files that people write.

use std::path::Path;

use crate::ServerError;

/// Reads a file, without the byte order mark that some editors begin it with.
pub(crate) fn read(path: &Path) -> Result<String, ServerError> {
    let text = std::fs::read_to_string(path).map_err(|error| ServerError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(without_mark(text))
}

/// The text without a byte order mark.
pub(crate) fn without_mark(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

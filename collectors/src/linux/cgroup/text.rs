//! A small text of the kernel, whole.

use std::path::Path;

use crate::error::CollectError;

pub(super) fn read(path: &Path) -> Result<String, CollectError> {
    let bytes = std::fs::read(path).map_err(|error| CollectError::io("read", path, &error))?;
    // Paths of cgroups are bytes; what is no text is not found by its name, and nothing else suffers.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

//! The result as a file, for whatever runs after the unit: `result.json` in the directory that systemd provides.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde_json::Value;

/// The directory for results that systemd provides, cleared of the result of an earlier run.
pub fn directory() -> Option<PathBuf> {
    let directories = env::var("RUNTIME_DIRECTORY").ok()?;
    let directory = PathBuf::from(directories.split(':').next().filter(|path| !path.is_empty())?);
    // If there is none, or it cannot be removed, saving the new one is what will tell.
    let _ = fs::remove_file(directory.join("result.json"));
    Some(directory)
}

/// Writes `result` to `result.json` in `directory`: the whole file or nothing, readable by anyone.
///
/// # Errors
/// The directory does not take the file.
pub fn save(result: &Value, directory: &Path) -> io::Result<()> {
    let (path, draft) = (directory.join("result.json"), directory.join(".result.json"));
    fs::write(&draft, format!("{}\n", result))?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o644))?;
    fs::rename(draft, path)
}

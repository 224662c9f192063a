//! The licences of the crates that are linked into the program: whoever passes on the executable passes on these.
//!
//! Their texts are in their sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use crate::linked::Linked;

/// How the files are named that hold a licence or what it wants to be passed on.
const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// Each text once, below the crates that carry it.
pub(crate) fn of_third_parties(linked: &Linked, target: &str) -> io::Result<String> {
    let mut crates_by_text: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for ((name, version), entry) in &linked.crates {
        let title = format!("{name} {version} ({})", entry.licence);
        let texts = texts(&entry.folder)?;
        for licence in if texts.is_empty() { vec!["(its sources carry no text)\n".to_owned()] } else { texts } {
            crates_by_text.entry(licence).or_default().insert(title.clone());
        }
    }
    let mut page = "The executable is static. It contains Rust's standard library (MIT OR Apache-2.0)".to_owned();
    if target.ends_with("-gnu") {
        page += ", the GNU C library (LGPL-2.1-or-later)";
    }
    page += " and these crates, under these licences.\n";
    for (licence, crates) in crates_by_text {
        page += &format!("\n{}\n{}\n\n{licence}", "=".repeat(80), Vec::from_iter(crates).join("\n"));
    }
    Ok(page)
}

/// The texts in a folder.
fn texts(folder: &Path) -> io::Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.file_type()?.is_file() && NAMES.iter().any(|known| name.starts_with(known)) {
            // The same text with other line ends or blanks is the same text.
            let lines = String::from_utf8_lossy(&fs::read(entry.path())?).trim().to_owned();
            texts.push(lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n");
        }
    }
    Ok(texts)
}

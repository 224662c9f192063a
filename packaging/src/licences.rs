//! The licences of the crates that are linked into the program: whoever passes on the executable passes on these.
//!
//! Which crates those are, cargo says; their texts are in their sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

use serde_json::Value;

const PROGRAM: &str = "eip-claim";
/// How the files are named that hold a licence or what it wants to be passed on.
const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// Each text once, below the crates that carry it.
pub(crate) fn of_third_parties(target: &str) -> io::Result<String> {
    let mut crates_by_text: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in linked(&metadata(target)?) {
        let title = format!("{} {} ({})", text(&package["name"]), text(&package["version"]), text(&package["license"]));
        let texts = texts(text(&package["manifest_path"]))?;
        for licence in if texts.is_empty() { vec!["(its sources carry no text)\n".to_owned()] } else { texts } {
            crates_by_text.entry(licence).or_default().insert(title.clone());
        }
    }
    if crates_by_text.is_empty() {
        return Err(io::Error::other("cargo names no dependency of the program"));
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

fn metadata(target: &str) -> io::Result<Value> {
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let arguments = ["metadata", "--format-version=1", "--locked", "--filter-platform", target];
    let output = Command::new(cargo).args(arguments).output()?;
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout)?),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// The packages of other authors that the program links: those it needs to run, and those they need.
fn linked(metadata: &Value) -> Vec<&Value> {
    let packages: BTreeMap<&str, &Value> = list(&metadata["packages"]).map(|p| (text(&p["id"]), p)).collect();
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"]).map(|n| (text(&n["id"]), n)).collect();
    let is_macro = |id: &str| list(&packages[id]["targets"]).any(|t| t["kind"][0] == "proc-macro");
    let mut waiting: Vec<&str> = packages.values().filter(|p| p["name"] == PROGRAM).map(|p| text(&p["id"])).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if seen.insert(id) {
            let normal = list(&nodes[id]["deps"]).filter(|d| list(&d["dep_kinds"]).any(|k| k["kind"].is_null()));
            waiting.extend(normal.map(|d| text(&d["pkg"])).filter(|id| !is_macro(id)));
        }
    }
    seen.into_iter().map(|id| packages[id]).filter(|p| p["name"] != PROGRAM).collect()
}

/// The texts beside a manifest.
fn texts(manifest: &str) -> io::Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(Path::new(manifest).parent().unwrap_or(Path::new(".")))? {
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

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

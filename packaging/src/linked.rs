//! The crates of other authors that are linked into the program.
//!
//! Which those are, `cargo tree` says: `cargo metadata` counts the features that only the tests turn on as well.
//! Macros are not among them, since they run in the compiler.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use serde_json::Value;

const PROGRAM: &str = "eip-claim";

/// A name and a version.
pub(crate) type Id = (String, String);

/// What cargo knows of a crate.
pub(crate) struct Crate {
    /// An SPDX expression.
    pub(crate) licence: String,
    /// Where its sources are.
    pub(crate) folder: PathBuf,
    /// The SHA-256 of its sources as they were published.
    pub(crate) checksum: String,
}

/// The crates, and who needs which, the program included.
pub(crate) struct Linked {
    pub(crate) program: Id,
    pub(crate) licence: String,
    pub(crate) crates: BTreeMap<Id, Crate>,
    pub(crate) needs: BTreeMap<Id, BTreeSet<Id>>,
}

/// What is linked for this target.
pub(crate) fn linked(target: &str) -> io::Result<Linked> {
    let (program, needs) = tree(target)?;
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version=1", "--filter-platform", target])?)?;
    let lock = fs::read_to_string(Path::new(text(&metadata["workspace_root"])).join("Cargo.lock"))?;
    let checksums = checksums(&lock);
    let (mut own_licence, mut crates) = (String::new(), BTreeMap::new());
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let id = (text(&package["name"]).to_owned(), text(&package["version"]).to_owned());
        if !needs.contains_key(&id) {
            continue;
        }
        let lacks = |what| io::Error::other(format!("{} {} has no {what}", id.0, id.1));
        // Crates of old write `MIT/Apache-2.0`.
        let licence = package["license"].as_str().ok_or_else(|| lacks("licence"))?.replace('/', " OR ");
        if id == program {
            own_licence = licence;
        } else {
            let folder = Path::new(text(&package["manifest_path"])).parent().unwrap_or(Path::new(".")).to_owned();
            let checksum = checksums.get(&id).ok_or_else(|| lacks("checksum in Cargo.lock"))?.clone();
            crates.insert(id, Crate { licence, folder, checksum });
        }
    }
    match crates.len() + 1 == needs.len() && !crates.is_empty() {
        true => Ok(Linked { program, licence: own_licence, crates, needs }),
        false => Err(io::Error::other("cargo's tree and its metadata do not name the same crates")),
    }
}

/// The program, and who needs which: a line has its depth, its name and its version.
fn tree(target: &str) -> io::Result<(Id, BTreeMap<Id, BTreeSet<Id>>)> {
    let edges = ["--edges", "normal,no-proc-macro", "--target", target, "--prefix", "depth", "--format", " {p}"];
    let lines = cargo(&[&["tree", "--package", PROGRAM], edges.as_slice()].concat())?;
    let mut needs: BTreeMap<Id, BTreeSet<Id>> = BTreeMap::new();
    let mut path: Vec<Id> = Vec::new();
    for line in lines.lines() {
        let unknown = || io::Error::other(format!("cargo's tree has a line that is none of a crate: {line}"));
        let [depth, name, version] = line.split(' ').take(3).collect::<Vec<_>>()[..] else { return Err(unknown()) };
        let version = version.strip_prefix('v').ok_or_else(unknown)?;
        let id = (name.to_owned(), version.to_owned());
        path.truncate(depth.parse().map_err(|_| unknown())?);
        needs.entry(id.clone()).or_default();
        if let Some(parent) = path.last() {
            needs.entry(parent.clone()).or_default().insert(id.clone());
        }
        path.push(id);
    }
    let program = path.into_iter().next().ok_or_else(|| io::Error::other("cargo's tree is empty"))?;
    Ok((program, needs))
}

/// The checksums of a Cargo.lock.
fn checksums(lock: &str) -> BTreeMap<Id, String> {
    let entries = lock.split("[[package]]").filter_map(|entry| {
        let value = |key: &str| {
            let line = entry.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
            Some(line.strip_suffix('"')?.to_owned())
        };
        Some(((value("name")?, value("version")?), value("checksum")?))
    });
    entries.collect()
}

fn cargo(arguments: &[&str]) -> io::Result<String> {
    let output =
        Command::new(env::var_os("CARGO").unwrap_or("cargo".into())).args(arguments).arg("--locked").output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

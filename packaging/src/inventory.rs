//! The list of what is inside the executable, in the format of CycloneDX 1.6, for programs that look for
//! vulnerabilities; and by what it was compiled, for whoever wants to make the same bytes.
//!
//! It has neither a time nor a serial number, so that the same commit has the same list.

use std::collections::BTreeSet;
use std::process::Command;
use std::{env, io};

use serde_json::{Value, json};

use crate::linked::{Id, Linked};

/// The list as JSON.
pub(crate) fn of(linked: &Linked, target: &str) -> io::Result<String> {
    let compiler = output("rustc", &["--version", "--verbose"])
        .ok_or_else(|| io::Error::other("rustc does not say its version"))?;
    let crates = linked.crates.iter().map(|(id, entry)| {
        let mut component = component("library", id, &entry.licence);
        component["hashes"] = json!([{ "alg": "SHA-256", "content": entry.checksum }]);
        component
    });
    let needs = |(id, needed): (&Id, &BTreeSet<Id>)| {
        let needed: Vec<String> = needed.iter().map(purl).collect();
        json!({ "ref": purl(id), "dependsOn": needed })
    };
    let list = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": component("application", &linked.program, &linked.licence),
            "properties": builders(target, &compiler),
        },
        "components": runtimes(target, &compiler).into_iter().chain(crates).collect::<Vec<_>>(),
        "dependencies": linked.needs.iter().map(needs).collect::<Vec<_>>(),
    });
    Ok(format!("{list:#}\n"))
}

fn component(kind: &str, id: &Id, licence: &str) -> Value {
    let (name, version) = id;
    let licences = json!([{ "expression": licence }]);
    json!({ "type": kind, "bom-ref": purl(id), "purl": purl(id), "name": name, "version": version, "licenses": licences })
}

/// What every program of Rust is linked with, and which is no crate.
fn runtimes(target: &str, compiler: &str) -> Vec<Value> {
    let runtime = |name: &str, version: Option<&str>, licence: &str| {
        let licences = json!([{ "expression": licence }]);
        let mut component = json!({ "type": "library", "bom-ref": name, "name": name, "licenses": licences });
        if let Some(version) = version {
            component["version"] = version.into();
        }
        component
    };
    let libc = if target.ends_with("-musl") {
        runtime("musl", None, "MIT") // Rust brings its own, and does not say which
    } else {
        let version = first_line("getconf", "GNU_LIBC_VERSION").filter(|_| is_native(target, compiler));
        runtime("glibc", version.as_deref().and_then(|line| line.strip_prefix("glibc ")), "LGPL-2.1-or-later")
    };
    vec![runtime("rust-std", field(compiler, "release: "), "MIT OR Apache-2.0"), libc]
}

/// What decides about the bytes beside the sources: a static executable takes along pieces of the C library,
/// and parts of ring are C and assembly.
fn builders(target: &str, compiler: &str) -> Vec<Value> {
    let c_compiler = env::var("TARGET_CC").unwrap_or_else(|_| "cc".to_owned());
    let is_native = is_native(target, compiler);
    let facts = [
        ("target", Some(target.to_owned())),
        ("rustc", compiler.lines().next().map(str::to_owned)),
        ("c-compiler", first_line(&c_compiler, "--version")),
        ("linker", first_line("ld", "--version").filter(|_| is_native)),
        ("c-library", first_line("ldd", "--version").filter(|_| is_native && target.ends_with("-gnu"))),
    ];
    let property = |(name, value)| Some(json!({ "name": format!("eip-claim:{name}"), "value": value? }));
    facts.into_iter().filter_map(property).collect()
}

fn is_native(target: &str, compiler: &str) -> bool {
    field(compiler, "host: ") == Some(target)
}

/// A fact of `rustc --version --verbose`.
fn field<'a>(compiler: &'a str, name: &str) -> Option<&'a str> {
    compiler.lines().find_map(|line| line.strip_prefix(name))
}

/// The name of a crate by which databases of vulnerabilities know it.
fn purl((name, version): &Id) -> String {
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

/// Asked for its version, a program of the tool chain says in its first line which one it is.
fn first_line(program: &str, argument: &str) -> Option<String> {
    Some(output(program, &[argument])?.lines().next()?.to_owned())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

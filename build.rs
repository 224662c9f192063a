//! Tells the program which commit it is built from and for which target, for `--version`,
//! and the linker what the executable does without.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_COMMIT");
    // The log of HEAD changes with every commit; a source archive has none.
    for path in ["HEAD", "logs/HEAD"].into_iter().filter_map(|name| git(&["rev-parse", "--git-path", name])) {
        println!("cargo::rerun-if-changed={path}");
    }
    // Whoever builds from an archive names the commit by the variable.
    let named = env::var("SOURCE_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = named.or_else(|| git(&["rev-parse", "--short=12", "HEAD"])).unwrap_or_else(|| "unknown".to_owned());
    let target = env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rustc-env=EIP_CLAIM_BUILD={commit}, {target}");
    if env::var("PROFILE").as_deref() == Ok("release") {
        slim(&target);
    }
}

/// What ships has no use for a seventh of itself: tables for unwinding, since a panic aborts,
/// and 24 bytes for each relocation of which most could be one bit.
fn slim(target: &str) {
    println!("cargo::rerun-if-changed=build.ld");
    println!("cargo::rustc-link-arg-bins=-T");
    println!("cargo::rustc-link-arg-bins={}/build.ld", env!("CARGO_MANIFEST_DIR"));
    let is_static = env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|list| list.split(',').any(|f| f == "crt-static"));
    let is_native = env::var("HOST").as_deref() == Ok(target);
    if target.ends_with("-gnu") && is_native && is_static && reads_packed_relocations() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether the start-up code of this machine's C library, which a static executable takes along, reads them:
/// that of glibc does since 2.36.
fn reads_packed_relocations() -> bool {
    let version = output("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_default();
    let mut parts = version.trim_start_matches("glibc ").split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) >= (2, 36)
}

fn git(arguments: &[&str]) -> Option<String> {
    output("git", arguments)
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

//! The rules of design that a compiler does not keep: which targets get mimalloc, where `extern "C"` may stand, and that
//! the engine knows nothing of allocators; and that the two builds are what they say.

use std::collections::BTreeSet;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(workspace()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn mimalloc_on_exactly_the_three_tested_targets() {
    let with = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin"];
    // arm64e-apple-darwin and x86_64-unknown-linux-gnuasan look the same to cfg as two of the three: not listed.
    let without = [
        "x86_64-unknown-linux-musl",
        "aarch64-unknown-linux-musl",
        "x86_64-apple-darwin",
        "aarch64-apple-ios",
        "x86_64-pc-windows-msvc",
        "x86_64-pc-windows-gnu",
        "aarch64-pc-windows-msvc",
        "s390x-unknown-linux-gnu",
        "riscv64gc-unknown-linux-gnu",
        "powerpc64le-unknown-linux-gnu",
        "loongarch64-unknown-linux-gnu",
        "armv7-unknown-linux-gnueabihf",
        "i686-unknown-linux-gnu",
        "aarch64_be-unknown-linux-gnu",
        "aarch64-unknown-linux-gnu_ilp32",
        "x86_64-unknown-linux-gnux32",
        "aarch64-linux-android",
        "x86_64-unknown-freebsd",
    ];
    let tree = |target: &str, more: &[&str]| {
        let base = [
            "tree",
            "--locked",
            "--target",
            target,
            "--edges",
            "normal",
            "--package",
            "quern-ffi",
            "--prefix",
            "none",
        ];
        cargo(&[&base[..], more].concat())
    };
    for target in with.iter().chain(&without) {
        let found = tree(target, &[]).contains("libmimalloc-sys");
        assert_eq!(found, with.contains(target), "{target}");
        assert!(!tree(target, &["--no-default-features"]).contains("mimalloc"), "{target}");
    }
}

/// The Rust files of the workspace, with their text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

#[test]
fn one_file_has_extern_c() {
    let this_file = workspace().join("ffi/tests/rules.rs");
    let files: Vec<PathBuf> = sources(&workspace())
        .into_iter()
        .filter(|(path, text)| *path != this_file && text.lines().any(has_extern_c))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(files, [workspace().join("ffi/src/lib.rs")]);
}

fn has_extern_c(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or("");
    code.contains("extern \"C\"") || code.contains("extern \"system\"") || code.contains("extern fn")
}

#[test]
fn the_engine_names_no_allocator() {
    for crate_name in ["engine", "fast"] {
        let folder = workspace().join(crate_name);
        for (path, text) in sources(&folder) {
            // A test of `fast` counts allocations, by an allocator of its own.
            let words = ["mimalloc", "jemalloc", "tcmalloc", "quern_allocator"];
            let shipped = ["global_allocator", "GlobalAlloc", "malloc("];
            let of_library = path.starts_with(folder.join("src"));
            for word in words.iter().chain(shipped.iter().filter(|_| of_library)) {
                assert!(!text.contains(word), "{}: {word}", path.display());
            }
        }
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("malloc") && !manifest.contains("quern-allocator"));
        let package = format!("quern-{crate_name}");
        let tree =
            cargo(&["tree", "--locked", "--package", &package, "--edges", "normal", "--prefix", "none"]);
        assert!(!tree.contains("malloc") && !tree.contains("quern-allocator") && !tree.contains("quern-ffi"));
    }
}

/// Vector instructions and the caller's memory need it; nothing else does.
#[test]
fn unsafe_code_is_in_fast_and_ffi_only() {
    let allowed = ["fast", "ffi", "allocator"].map(|name| workspace().join(name));
    for (path, text) in sources(&workspace()) {
        if !allowed.iter().any(|folder| path.starts_with(folder)) {
            assert!(!text.contains("unsafe {") && !text.contains("unsafe fn"), "{}", path.display());
        }
    }
}

/// The gate is a table in one Cargo.toml; no source repeats its predicate.
#[test]
fn one_table_of_targets() {
    let tables: BTreeSet<&str> = ["allocator", "bench", "engine", "fast", "ffi", "."]
        .into_iter()
        .filter(|member| {
            let manifest = std::fs::read_to_string(workspace().join(member).join("Cargo.toml")).unwrap();
            manifest.lines().any(|line| line.starts_with("[target.") && line.contains("target_arch"))
        })
        .collect();
    assert_eq!(tables, BTreeSet::from(["allocator"]));
    for (path, text) in sources(&workspace().join("allocator")) {
        assert!(!text.contains("target_arch"), "{}", path.display());
    }
}

/// mimalloc's code is in the default build where the table has this target, and nowhere in the other build.
///
/// QUERN_LIBRARY_DEFAULT and QUERN_LIBRARY_SYSTEM may name libraries that are already built; else they are built here
/// (the other one first, so that the default one is what stays).
#[test]
fn mimallocs_code_is_in_the_default_build_only() {
    let host = cargo(&["-vV"]);
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_string();
    let tree = cargo(&["tree", "--locked", "--target", &host, "--edges", "normal", "--package", "quern-ffi"]);
    let expected = tree.contains("libmimalloc-sys");
    assert!(!has_code(&library("QUERN_LIBRARY_SYSTEM", &["--no-default-features"])));
    assert_eq!(has_code(&library("QUERN_LIBRARY_DEFAULT", &[])), expected, "{host}");
}

fn library(variable: &str, more: &[&str]) -> Vec<u8> {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => {
            cargo(&[&["build", "--release", "--locked", "--package", "quern-ffi"][..], more].concat());
            let metadata = cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"]);
            let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
            let target = Path::new(metadata["target_directory"].as_str().unwrap());
            target.join("release").join(format!("{DLL_PREFIX}quern{DLL_SUFFIX}"))
        }
    };
    let library = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(contains(&library, b"quern_encode_batch"), "{} is not the library", path.display());
    library
}

/// Texts of mimalloc's own that no strip takes away: the prefix of its environment variables and of its warnings.
fn has_code(library: &[u8]) -> bool {
    contains(library, b"mimalloc_") || contains(library, b"mimalloc: ")
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

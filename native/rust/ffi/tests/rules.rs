//! The rules of design that a compiler does not keep: which targets get mimalloc, where `extern "C"` may stand, and that
//! the engine knows nothing of allocators; and that the two builds are what they say.

use std::collections::{BTreeMap, BTreeSet};
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

/// The lines of the allocator's table: a target's name, and whether it gets mimalloc.
fn table() -> BTreeMap<String, bool> {
    let manifest = std::fs::read_to_string(workspace().join("allocator/Cargo.toml")).unwrap();
    let (_, table) = manifest.split_once("\n[target]\n").unwrap();
    table
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(".dependencies"))
        .map(|(target, rest)| (target.to_string(), rest.contains("libmimalloc-sys")))
        .collect()
}

/// What the library depends on, for all the targets given.
fn graph(targets: &[&str], more: &[&str]) -> String {
    let what = ["tree", "--locked", "--package", "quern-ffi", "--edges", "normal", "--prefix", "none"];
    let targets = targets.iter().flat_map(|target| ["--target", target]);
    cargo(&what.into_iter().chain(more.iter().copied()).chain(targets).collect::<Vec<_>>())
}

/// Cargo is asked about every target that this rustc knows; most of them in one question.
#[test]
fn mimalloc_on_exactly_the_targets_of_the_table() {
    let table = table();
    assert!(table.values().any(|mimalloc| *mimalloc) && table.values().any(|mimalloc| !*mimalloc));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let known = Command::new(rustc).args(["--print", "target-list"]).output().unwrap().stdout;
    let known = String::from_utf8(known).unwrap();
    let known: Vec<&str> = known.lines().collect();
    let (with, without): (Vec<&str>, Vec<&str>) =
        known.iter().partition(|target| table.get(**target) == Some(&true));
    println!("{} targets with mimalloc, {} without", with.len(), without.len());
    for target in table.keys() {
        assert!(known.contains(&&target[..]), "{target} in allocator/Cargo.toml is no target of rustc's");
    }
    for target in &with {
        assert!(graph(&[target], &[]).contains("libmimalloc-sys"), "{target}: mimalloc is missing");
    }
    if graph(&without, &[]).contains("mimalloc") {
        let wrong: Vec<_> =
            without.iter().filter(|target| graph(&[target], &[]).contains("mimalloc")).collect();
        panic!("mimalloc on targets that are not in the table of allocator/Cargo.toml: {wrong:?}");
    }
    assert!(!graph(&with, &["--no-default-features"]).contains("mimalloc"));
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

/// The gate is a table in one Cargo.toml; no source repeats it.
#[test]
fn one_table_of_targets() {
    let named: BTreeSet<&str> = ["allocator", "bench", "engine", "fast", "ffi", "."]
        .into_iter()
        .filter(|member| {
            let manifest = std::fs::read_to_string(workspace().join(member).join("Cargo.toml")).unwrap();
            manifest.contains("target_arch") || table().keys().any(|target| manifest.contains(target))
        })
        .collect();
    assert_eq!(named, BTreeSet::from(["allocator"]));
    for (path, text) in sources(&workspace().join("allocator")) {
        assert!(!text.contains("target_arch"), "{}", path.display());
    }
}

/// mimalloc's code is in the default build where the table says so, and nowhere in the other build.
///
/// QUERN_LIBRARY_DEFAULT and QUERN_LIBRARY_SYSTEM may name libraries that are already built, for QUERN_LIBRARY_TARGET
/// or this machine; else they are built here (the other one first, so that the default one is what stays).
#[test]
fn mimallocs_code_is_in_the_default_build_only() {
    let host = cargo(&["-vV"]);
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let target = std::env::var("QUERN_LIBRARY_TARGET").unwrap_or_else(|_| host.to_string());
    let expected = table().get(&target) == Some(&true);
    assert!(!has_code(&library("QUERN_LIBRARY_SYSTEM", &["--no-default-features"])));
    assert_eq!(has_code(&library("QUERN_LIBRARY_DEFAULT", &[])), expected, "{target}");
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

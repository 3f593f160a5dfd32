//! Sets the cfg `quern_mimalloc` when, and only when, libmimalloc-sys is a dependency of this build.
//!
//! A `links` crate hands its metadata to the build scripts of its direct dependents: libmimalloc-sys
//! (`links = "mimalloc"`) gives DEP_MIMALLOC_INCLUDE_DIR. So the table of targets in Cargo.toml is asked, not repeated.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(quern_mimalloc)");
    if std::env::var_os("DEP_MIMALLOC_INCLUDE_DIR").is_some() {
        println!("cargo::rustc-cfg=quern_mimalloc");
    }
}

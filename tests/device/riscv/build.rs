//! The memory map and the linker script.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo");
    println!("cargo:rerun-if-changed=memory.x");
    // Extension F is no stable `target_feature`: the target's name tells.
    println!("cargo:rustc-check-cfg=cfg(hard_float)");
    if std::env::var("TARGET").expect("set by cargo").starts_with("riscv32imaf") {
        println!("cargo:rustc-cfg=hard_float");
    }
    println!("cargo:rustc-link-arg-bins=-L{here}");
    println!("cargo:rustc-link-arg-bins=-Tmemory.x");
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
}

//! Gives each program its memory map.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo");
    println!("cargo:rerun-if-changed=memory");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv32") {
        println!("cargo:rustc-link-arg-bins=-L{here}/memory/riscv");
        println!("cargo:rustc-link-arg-bins=-Tmemory.x");
    } else {
        for program in ["digits", "images", "counts"] {
            println!("cargo:rustc-link-arg-bin={program}=-L{here}/memory/{program}");
        }
        println!("cargo:rustc-link-arg-bins=--nmagic");
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    if std::env::var_os("CARGO_FEATURE_DEFMT").is_some() {
        println!("cargo:rustc-link-arg-bins=-Tdefmt.x");
    }
}

//! Gives each program its memory map.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo");
    println!("cargo:rerun-if-changed=memory");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv32") {
        println!("cargo:rustc-link-arg-bins=-L{here}/memory/riscv_virt");
        println!("cargo:rustc-link-arg-bins=-Tmemory.x");
    } else {
        for board in ["olimex_stm32_h405", "mps2_an500"] {
            println!("cargo:rustc-link-arg-bin=fleet_{board}=-L{here}/memory/{board}");
        }
        println!("cargo:rustc-link-arg-bins=--nmagic");
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
}

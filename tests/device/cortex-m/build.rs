//! Gives each board's program its own memory map. The options stand here, not in RUSTFLAGS, so that other crates built for
//! the target are the same as elsewhere.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo");
    println!("cargo:rerun-if-changed=memory");
    for board in ["olimex_stm32_h405", "mps2_an500", "mps3_an547"] {
        println!("cargo:rustc-link-arg-bin={board}=-L{here}/memory/{board}");
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=--nmagic");
}

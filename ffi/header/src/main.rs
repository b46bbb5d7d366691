//! Writes `ffi/include/siskin.h`: `cargo run -p siskin-header`. Its tests show that the file that is checked in is the
//! generated one, that it is C99 and C++, and that its example compiles.
//!
//! A crate of its own so that those who only build the library do not build cbindgen.

use std::error::Error;
use std::path::PathBuf;

/// In the order in which the header tells its story.
const SOURCES: [&str; 13] = [
    "version",
    "result",
    "config",
    "callbacks",
    "outcome",
    "plan",
    "handle",
    "session",
    "step",
    "save",
    "getters",
    "ledger",
    "log",
];

/// The folder `ffi`.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn main() -> Result<(), Box<dyn Error>> {
    Ok(std::fs::write(root().join("include/siskin.h"), generated()?)?)
}

fn generated() -> Result<String, Box<dyn Error>> {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml"))?;
    let builder = SOURCES.iter().fold(cbindgen::Builder::new().with_config(config), |builder, source| {
        builder.with_src(root().join(format!("src/{source}.rs")))
    });
    let mut header = Vec::new();
    builder.generate()?.write(&mut header);
    Ok(readable(&String::from_utf8(header)?))
}

/// A C developer has no use for Rust's section on the safety of a call: the header says the same in words of C.
fn readable(header: &str) -> String {
    let mut out = String::new();
    let mut in_safety = false;
    for line in header.lines() {
        let text = line.trim_start().strip_prefix('*').map(str::trim);
        match text {
            Some("# Safety") => in_safety = true,
            Some("# Errors") => {
                out.push_str(" * Errors:\n");
                continue;
            }
            Some("/") | None => in_safety = false,
            _ => {}
        }
        if in_safety {
            continue;
        }
        if text == Some("/") && out.ends_with(" *\n") {
            out.truncate(out.len() - 3);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn checked_in() -> String {
        std::fs::read_to_string(root().join("include/siskin.h")).unwrap()
    }

    #[test]
    fn the_header_that_is_checked_in_is_the_generated_one() {
        let (generated, written) = (generated().unwrap(), checked_in());
        let differs = generated.lines().zip(written.lines()).position(|(a, b)| a != b);
        assert!(
            generated == written,
            "ffi/include/siskin.h is out of date at line {}; write it with `cargo run -p siskin-header`",
            differs.unwrap_or(0) + 1
        );
    }

    /// Every exported function of the sources is in the header, once.
    #[test]
    fn the_header_declares_every_function_once() {
        let header = checked_in();
        let mut count = 0;
        for entry in std::fs::read_dir(root().join("src")).unwrap() {
            let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for after in source.split("extern \"C\" fn ").skip(1).filter(|after| after.starts_with("siskin_")) {
                let name = after.split('(').next().unwrap();
                let declares = |line: &&str| !line.starts_with(' ') && line.contains(&format!("{name}("));
                assert_eq!(header.lines().filter(declares).count(), 1, "{name}");
                count += 1;
            }
        }
        assert!(count >= 20, "{count} functions found");
    }

    fn compiler(variable: &str, usual: &str) -> Option<String> {
        let program = std::env::var(variable).unwrap_or_else(|_| usual.into());
        Command::new(&program).arg("--version").output().ok().filter(|o| o.status.success()).map(|_| program)
    }

    fn compiles(program: &str, options: &[&str], source: &str) {
        let mut child = Command::new(program)
            .args(options)
            .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"])
            .arg(root().join("include"))
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program} {options:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The header twice, then the example on its top.
    fn sources() -> String {
        let header = checked_in();
        let example = header.split("@code").nth(1).unwrap().split("@endcode").next().unwrap();
        let example: String =
            example.lines().map(|line| line.trim_start().trim_start_matches('*').to_owned() + "\n").collect();
        format!("#include \"siskin.h\"\n#include \"siskin.h\"\n{example}")
    }

    fn in_every_standard(variable: &str, usual: &str, language: &str, standards: &[&str]) {
        let Some(program) = compiler(variable, usual) else {
            println!("skipped: {usual} not found");
            return;
        };
        for standard in standards {
            compiles(&program, &["-x", language, standard], &sources());
        }
        compiles(&program, &["-x", language, "-ffreestanding"], "#include \"siskin.h\"\nint siskin_header_alone;\n");
    }

    #[test]
    fn the_header_and_its_example_are_c() {
        in_every_standard("CC", "cc", "c", &["-std=c99", "-std=c11", "-std=c17"]);
    }

    #[test]
    fn the_header_and_its_example_are_cpp() {
        in_every_standard("CXX", "c++", "c++", &["-std=c++11", "-std=c++17"]);
    }
}

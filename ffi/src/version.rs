//! Which library this is.

/// Number of this ABI. It grows when something is removed or changes its meaning; what is only appended does not change it.
pub const SISKIN_ABI_VERSION: u32 = 1;

/// Number of the ABI of the library that is linked. Compare it with `SISKIN_ABI_VERSION` of the header once, at start.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn siskin_abi_version() -> u32 {
    SISKIN_ABI_VERSION
}

/// Version of the library for people, as `"0.1.0"`: a static, NUL-terminated text.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn siskin_version_text() -> *const core::ffi::c_char {
    const TEXT: &core::ffi::CStr =
        match core::ffi::CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => c"",
        };
    TEXT.as_ptr()
}

//! Flash and memory of a firmware, from the sections of its ELF file (Tool Interface Standard, ELF 1.2, figures 1-3 and 1-8).

/// Bytes of flash, and of memory that is given to data for good (the stack is not among them).
pub(crate) fn sizes(file: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| Some(u32::from_le_bytes(file.get(at..)?.first_chunk().copied()?));
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(file.get(at..)?.first_chunk().copied()?)));
    // 32 bits, little-endian.
    if file.get(..6)? != b"\x7fELF\x01\x01" {
        return None;
    }
    let (first, each, count) = (word(32)? as usize, half(46)?, half(48)?);
    let (mut flash, mut memory) = (0, 0);
    for header in (0..count).map(|i| first + i * each) {
        let (kind, flags, size) = (word(header + 4)?, word(header + 8)?, word(header + 20)?);
        let (has_bytes, writable, allocated) = (kind != 8, flags & 1 != 0, flags & 2 != 0);
        if !allocated {
            continue;
        }
        if has_bytes {
            flash += size;
        }
        if writable {
            memory += size;
        }
    }
    Some((flash, memory))
}

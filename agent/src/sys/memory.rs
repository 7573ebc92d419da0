//! What the process keeps in memory.

use std::fs;

/// Gives back the pages of code that only starting needed. What is needed again comes from the file.
pub fn forget_unused_code() {
    let Ok(program) = std::env::current_exe() else { return };
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, end) in maps.lines().filter_map(|line| code(line, &program.to_string_lossy())) {
        give_back(start, end - start);
    }
}

/// The range of a line of `/proc/self/maps`, if it is unchangeable code of the program.
fn code(line: &str, program: &str) -> Option<(usize, usize)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_code = words.next()? == "r-xp" && line.ends_with(program);
    let address = |text| usize::from_str_radix(text, 16).ok();
    is_code.then_some((address(start)?, address(end)?)).filter(|(start, end)| start < end)
}

#[expect(unsafe_code, reason = "madvise has no safe wrapper")]
fn give_back(start: usize, length: usize) {
    // SAFETY: the range is a private mapping of a file that nothing has written to (it is not writable),
    // so that reading it again gives the same bytes. Failing changes nothing.
    unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that only unchangeable code of the program itself is given back, and that the program runs
    /// on.
    #[test]
    fn only_code_is_given_back() {
        let code = |line: &str| code(line, "/usr/bin/agent");
        assert_eq!(code("1000-3000 r-xp 0 08:01 9  /usr/bin/agent"), Some((0x1000, 0x3000)));
        for other in [
            "1000-3000 rw-p 0 08:01 9  /usr/bin/agent",
            "1000-3000 r--p 0 08:01 9  /usr/bin/agent",
            "1000-3000 r-xp 0 08:01 9  /usr/lib/libc.so.6",
            "3000-1000 r-xp 0 08:01 9  /usr/bin/agent",
            "",
        ] {
            assert_eq!(code(other), None, "{other}");
        }
        forget_unused_code();
    }
}

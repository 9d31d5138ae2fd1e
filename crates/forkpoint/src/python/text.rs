//! Python's own code, in large pages of memory in the place of its file's pages: a fork of an interpreter has none of a file's
//! pages at first, and would fault in all that it runs through, sixteen at a time.
//!
//! What is replaced may be read and executed, and never written to, before and after. What of a file's constants lies in the
//! same large page may be executed then too, as it could in programs of older linkers; whoever is in such an interpreter may
//! make memory executable anyway.

use std::fs::read_to_string;
use std::ops::Range;

use crate::sys::{self, LARGE_PAGE};

/// So many are replaced at the most: Python has two or three.
const PAGES_MAX: usize = 4;

/// Before it is forked. Where the kernel cannot join pages (before Linux 6.1), or lets nobody execute what was written, all
/// stays as it is.
pub(super) fn join() {
    let Some(function) = sys::find_function(c"PyObject_Malloc") else { return };
    let Ok(told) = read_to_string("/proc/self/maps") else { return };
    for page in large_pages(&told, function.addr()).into_iter().take(PAGES_MAX) {
        if sys::replace_by_large(page).is_err() {
            return;
        }
    }
}

/// A mapping of a file that is not written to.
struct Part<'a> {
    range: Range<usize>,
    is_code: bool,
    /// Device and inode.
    file: (&'a str, &'a str),
}

impl<'a> Part<'a> {
    /// By a line of `proc_pid_maps(5)`.
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let range = number(start)?..number(end)?;
        let is_code = match words.next()? {
            "r-xp" => true,
            "r--p" => false,
            _ => return None,
        };
        let file = (words.nth(1)?, words.next()?);
        (file.1 != "0").then_some(Self { range, is_code, file })
    }
}

/// The places of large pages that are all of the file in which an address is, and in part its code.
fn large_pages(told: &str, address: usize) -> Vec<usize> {
    let parts: Vec<Option<Part<'_>>> = told.lines().map(Part::read).collect();
    let mut runs = parts.split(Option::is_none).map(|run| run.iter().flatten().collect::<Vec<_>>());
    let Some(run) = runs.find(|run| run.iter().any(|part| part.range.contains(&address))) else {
        return Vec::new();
    };
    let follows =
        |one: &&Part<'_>, next: &&Part<'_>| one.range.end == next.range.start && one.file == next.file;
    let own = run.chunk_by(follows).find(|own| own.iter().any(|part| part.range.contains(&address)));
    let Some((first, last)) = own.and_then(|own| own.first().zip(own.last())) else { return Vec::new() };
    let pages = (first.range.start.next_multiple_of(LARGE_PAGE)..last.range.end).step_by(LARGE_PAGE);
    let is_whole = |page: &usize| page + LARGE_PAGE <= last.range.end;
    let has_code = |page: &usize| {
        let is_in =
            |part: &&Part<'_>| part.is_code && part.range.start < page + LARGE_PAGE && *page < part.range.end;
        run.iter().any(is_in)
    };
    pages.filter(is_whole).filter(has_code).collect()
}

#[cfg(test)]
mod tests {
    use super::large_pages;

    const TOLD: &str = "\
00400000-0041f000 r--p 00000000 fe:00 11684446                           /usr/bin/python3.11
0041f000-006d2000 r-xp 0001f000 fe:00 11684446                           /usr/bin/python3.11
006d2000-00945000 r--p 002d2000 fe:00 11684446                           /usr/bin/python3.11
00945000-00946000 r--p 00544000 fe:00 11684446                           /usr/bin/python3.11
00946000-00a85000 rw-p 00545000 fe:00 11684446                           /usr/bin/python3.11
00a85000-00aca000 rw-p 00000000 00:00 0
11a8b000-11daf000 rw-p 00000000 00:00 0                                  [heap]
7f4c57600000-7f4c576c5000 r--p 00000000 fe:00 12035927                   /usr/lib/libcrypto.so.3
7f4c576c5000-7f4c57a42000 r-xp 000c5000 fe:00 12035927                   /usr/lib/libcrypto.so.3
7f4c57a42000-7f4c57c00000 r--p 00000000 fe:00 12035951                   /usr/lib/libgcc_s.so.1
7f4c57c00000-7f4c58000000 r-xp 00000000 00:00 0
";

    #[test]
    fn only_whole_pages_of_the_files_own_code_are_replaced() {
        // The third has constants alone, and what is written to lies in it.
        assert_eq!(large_pages(TOLD, 0x0042_0000), [0x40_0000, 0x60_0000]);
        assert_eq!(large_pages(TOLD, 0x0080_0000), [0x40_0000, 0x60_0000]);
        // The next would be of another file in part.
        assert_eq!(large_pages(TOLD, 0x7f4c_5770_0000), [0x7f4c_5760_0000, 0x7f4c_5780_0000]);
        // What may be written to, what is of no file, and where nothing is.
        for address in [0x0095_0000, 0x11a8_c000, 0x7f4c_57d0_0000, 8] {
            assert!(large_pages(TOLD, address).is_empty());
        }
    }
}

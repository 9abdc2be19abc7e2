//! Code that only the start needs does not stay mapped.
//!
//! On a page fault the kernel maps the pages around it that it has in its cache, 64 KiB at a time, so that a start
//! (options, files, look-ups, certificates) leaves nearly all of the program and of libc resident for as long as it runs.
//! Once unmapped, what the ticks need comes back with their first faults, and the rest is the kernel's to keep in its
//! cache or to drop.
//!
//! Source: madvise(2), MADV_COLD and MADV_DONTNEED; Documentation/filesystems/proc.rst, "smaps".

use std::ops::Range;
use std::path::Path;
use std::ptr::NonNull;
use std::time::Duration;

use nix::sys::mman::{MmapAdvise, madvise};

/// The first ticks are made by then.
const SOON: Duration = Duration::from_secs(1);

/// Does it a little later, and where something is published each `period` once more, when the first requests are made.
pub(super) fn unmap_soon(period: Option<Duration>) {
    tokio::spawn(async move {
        for after in std::iter::once(SOON).chain(period.map(|period| 3 * period)) {
            tokio::time::sleep(after).await;
            match std::fs::read_to_string("/proc/self/smaps").and_then(|smaps| unmap(&smaps)) {
                Ok(bytes) => log::debug!("{bytes} bytes of code were unmapped; what is needed comes back"),
                Err(error) => log::debug!("the code of the start stays mapped: {error}"),
            }
        }
    });
}

fn unmap(smaps: &str) -> std::io::Result<usize> {
    let exe = std::env::current_exe()?;
    let mut bytes = 0;
    for code in unwritten_code(smaps, |file| file == exe || is_libc(file)) {
        give_back(&code)?;
        bytes += code.len();
    }
    Ok(bytes)
}

/// The libraries that are there from the first to the last instruction. Another one may be unloaded meanwhile, as
/// NVIDIA's is, and something else take its place.
fn is_libc(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ["ld-linux", "libc.so", "libgcc_s.so"].iter().any(|known| name.starts_with(known))
}

/// The executable mappings of these files into which nobody has written: neither the loader nor a debugger.
fn unwritten_code(smaps: &str, is_wanted: impl Fn(&Path) -> bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in smaps.lines() {
        if let Some(pages) = line.strip_prefix("Anonymous:") {
            found.extend(mapping.take().filter(|_| pages.trim() == "0 kB"));
        } else if let Some((range, rest)) = header(line) {
            mapping = Some(range).filter(|_| rest.starts_with("r-xp ") && path(rest).is_some_and(&is_wanted));
        }
    }
    found
}

/// `55d0c0a00000-55d0c0b00000 r-xp 00012000 fe:00 1234   /usr/bin/hostgauge`; the other rows are `Key: value`.
fn header(line: &str) -> Option<(Range<usize>, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some((number(start)?..number(end)?, rest))
}

fn path(rest: &str) -> Option<&Path> {
    rest.find('/').and_then(|at| rest.get(at..)).map(Path::new)
}

/// First the pages are marked as not used: unmapping one that was just used would make it an active page of the cache,
/// which counts in a container's working set. A kernel that cannot (before Linux 5.4) is left alone.
#[cfg(target_os = "linux")]
const ADVICE: &[MmapAdvise] = &[MmapAdvise::MADV_COLD, MmapAdvise::MADV_DONTNEED];
#[cfg(not(target_os = "linux"))]
const ADVICE: &[MmapAdvise] = &[];

#[expect(unsafe_code, reason = "no safe function says which pages a process does without")]
fn give_back(code: &Range<usize>) -> nix::Result<()> {
    let Some(start) = NonNull::new(std::ptr::with_exposed_provenance_mut(code.start)) else { return Ok(()) };
    ADVICE.iter().try_for_each(|advice| {
        // SAFETY: these pages are a private mapping of a file that is never unmapped, and hold what the file holds:
        // whoever touches one afterwards finds the same bytes.
        unsafe { madvise(start, code.len(), *advice) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
00400000-00410000 r--p 00000000 fe:00 12                         /usr/bin/hostgauge
Rss:                  64 kB
Anonymous:             0 kB
00410000-00500000 r-xp 00010000 fe:00 12                         /usr/bin/hostgauge
Rss:                 960 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00500000-00510000 rw-p 00100000 fe:00 12                         /usr/bin/hostgauge
Anonymous:            64 kB
7f0000000000-7f0000100000 r-xp 00000000 fe:00 13                 /usr/lib/libc.so.6
Anonymous:             4 kB
7f0000200000-7f0000300000 r-xp 00000000 fe:00 14                 /usr/lib/libnvidia-ml.so.1
Anonymous:             0 kB
7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0                  [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_code_of_these_files_that_nobody_wrote_into_is_given_back() {
        let wanted = |file: &Path| file == Path::new("/usr/bin/hostgauge") || is_libc(file);
        let ours = 0x41_0000..0x50_0000;
        assert_eq!(unwritten_code(SMAPS, wanted), std::slice::from_ref(&ours), "libc has a breakpoint in it");
        let whole = SMAPS.replace("   4 kB", "   0 kB");
        assert_eq!(unwritten_code(&whole, wanted), [ours, 0x7f00_0000_0000..0x7f00_0010_0000]);
        // Without the row nothing is known.
        assert_eq!(unwritten_code(&SMAPS.replace("Anonymous", "Other"), wanted), []);
        for bad in ["", "00410000 r-xp", "x-y r-xp 0 0 0 /usr/bin/hostgauge\nAnonymous: 0 kB", "00410000-00500000"] {
            assert_eq!(unwritten_code(bad, wanted), [], "{bad:?}");
        }
    }

    #[test]
    fn this_process_goes_on_without_its_code() {
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("Linux has it");
        assert!(unmap(&smaps).expect("unmapped") > 100_000);
        let after = std::fs::read_to_string("/proc/self/smaps").expect("Linux has it");
        assert_eq!(unwritten_code(&smaps, is_libc), unwritten_code(&after, is_libc));
    }
}

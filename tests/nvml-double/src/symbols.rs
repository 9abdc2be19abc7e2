//! Takes one exported function away from a copy of the library: what an older driver looks like to `dlsym`.

use std::fs;
use std::io;
use std::path::Path;

/// Section types of ELF.
const SHT_DYNSYM: u32 = 11;
/// Lengths of a section header and of a symbol in 64-bit ELF.
const SECTION: usize = 64;
const SYMBOL: usize = 24;

/// Writes a copy of the library `so` to `to` in which `symbol` cannot be found. Its name is changed in the table of
/// names, so that it is found neither by the old name, which no longer stands there, nor by the new one, which has
/// another hash than the one it is filed under.
///
/// # Errors
///
/// `so` cannot be read or is no 64-bit little-endian ELF library, it does not export `symbol`, or `to` cannot be
/// written.
pub fn without_symbol(so: &Path, symbol: &str, to: &Path) -> io::Result<()> {
    let mut image = fs::read(so)?;
    let place = find(&image, symbol).ok_or_else(|| {
        let what = format!("{}: expected a 64-bit ELF library that exports {symbol}", so.display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    })?;
    if let Some(first) = image.get_mut(place) {
        *first = b'_';
    }
    fs::write(to, image)
}

/// Where the name of an exported symbol stands in the file.
fn find(image: &[u8], symbol: &str) -> Option<usize> {
    if image.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let headers = long(image, 0x28)?;
    let section = |index: usize| image.get(headers + index * SECTION..headers + (index + 1) * SECTION);
    let count = short(image, 0x3c)?;
    let symbols = (0..count).filter_map(section).find(|header| word(header, 4) == Some(SHT_DYNSYM))?;
    let names = section(word(symbols, 0x28)? as usize)?;
    let names = long(names, 0x18)?;
    let table = image.get(long(symbols, 0x18)?..)?.get(..long(symbols, 0x20)?)?;
    let mut places = table.chunks_exact(SYMBOL).filter_map(|entry| Some(names + word(entry, 0)? as usize));
    places.find(|place| {
        let name = image.get(*place..).and_then(|rest| rest.get(..=symbol.len()));
        name.is_some_and(|name| name.strip_suffix(&[0]) == Some(symbol.as_bytes()))
    })
}

fn bytes<const N: usize>(image: &[u8], at: usize) -> Option<[u8; N]> {
    image.get(at..)?.first_chunk().copied()
}

fn short(image: &[u8], at: usize) -> Option<usize> {
    bytes(image, at).map(|bytes| usize::from(u16::from_le_bytes(bytes)))
}

fn word(image: &[u8], at: usize) -> Option<u32> {
    bytes(image, at).map(u32::from_le_bytes)
}

fn long(image: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes(image, at)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_or_lacks_the_symbol_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let so = crate::library().expect("the library");
        let image = fs::read(&so).expect("an image");
        for (image, symbol) in [(&b"text"[..], "nvmlInit_v2"), (&image[..5000], "nvmlInit_v2"), (&image, "nvmlInit")] {
            fs::write(&from, image).expect("written");
            let error = without_symbol(&from, symbol, &to).expect_err(symbol);
            assert!(error.to_string().contains(symbol), "{error}");
            assert!(!to.exists());
        }
        without_symbol(&so, "nvmlInit_v2", &to).expect("a copy");
        assert_eq!(fs::read(&to).expect("a copy").len(), image.len());
    }
}

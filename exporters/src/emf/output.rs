//! Where lines end up: a stream, or a file that others rotate.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Target;

/// How soon a stream is tried again that is full and was set not to block by whoever shares it.
const AGAIN: Duration = Duration::from_millis(50);

/// An open output.
#[derive(Debug)]
pub(super) struct Output {
    /// `None` for a stream.
    path: Option<PathBuf>,
    /// `None` after the path could not be opened again.
    file: Option<File>,
    /// The last line there lacks its end.
    torn: bool,
}

impl From<OwnedFd> for Output {
    fn from(stream: OwnedFd) -> Self {
        Self { path: None, file: Some(stream.into()), torn: false }
    }
}

impl Output {
    pub(super) fn open(target: &Target) -> io::Result<Self> {
        match target {
            // A descriptor of its own: the standard library's handle is buffered, and a write that hangs would hold its
            // lock against the whole program.
            Target::Stdout => Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
            Target::File(path) => {
                let file = Some(append(path)?);
                Ok(Self { path: Some(path.clone()), file, torn: ends_within_a_line(path) })
            }
        }
    }

    /// Before a batch of lines: follows the path where another file is there now, or none.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if !self.file.as_ref().is_some_and(|file| is_at(file, path)) {
            // Dropped first: if the path cannot be opened, the file that was there must not be written to.
            self.file = None;
            self.file = Some(append(path)?);
            self.torn = ends_within_a_line(path);
        }
        // A file that was truncated has no line to end.
        self.torn &= self.file.as_ref().and_then(|file| file.metadata().ok()).is_none_or(|data| data.len() > 0);
        Ok(())
    }

    /// Writes one line, which brings its own end, by one call where the system takes it whole.
    pub(super) fn write_line(&mut self, line: &str) -> io::Result<()> {
        match &mut self.file {
            Some(file) => write_line(file, &mut self.torn, line),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Opens for appending. A named pipe is refused: opening one hangs until somebody reads.
fn append(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|data| data.file_type().is_fifo()) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "is a named pipe; expected a file"));
    }
    OpenOptions::new().append(true).create(true).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let place = |data: fs::Metadata| (data.dev(), data.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => place(open) == place(there),
        _ => false,
    }
}

/// Whether a regular file's last line has no end, because its writer was killed or the disk was full. What cannot be
/// read counts as ended.
fn ends_within_a_line(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        let mut last = [b'\n'];
        if fs::metadata(path)?.is_file() {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok(last[0])
    };
    last().is_ok_and(|last| last != b'\n')
}

/// Writes a line after the end of the one before, if that was torn. A write that breaks off within the line leaves it
/// torn.
fn write_line(to: &mut impl Write, torn: &mut bool, line: &str) -> io::Result<()> {
    let whole = if *torn { format!("\n{line}") } else { line.to_owned() };
    let mut rest = whole.as_bytes();
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                *torn = rest[written - 1] != b'\n';
                rest = &rest[written..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A disk that is full at times: each entry is the room before a failure.
    struct Disk {
        rooms: Vec<usize>,
        holds: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.rooms.last_mut() {
                Some(0) => {
                    self.rooms.pop();
                    Err(io::ErrorKind::StorageFull.into())
                }
                Some(room) => {
                    let taken = bytes.len().min(*room);
                    *room -= taken;
                    self.holds.extend(&bytes[..taken]);
                    Ok(taken)
                }
                None => {
                    self.holds.extend(bytes);
                    Ok(bytes.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        // For all disks that fill up at any byte: what is told written is there as a whole line, and every other line
        // there is the beginning of one that was told failed.
        #[test]
        fn no_two_lines_are_glued(rooms in proptest::collection::vec(0..40usize, 0..12)) {
            let mut disk = Disk { rooms, holds: Vec::new() };
            let mut torn = false;
            let (mut written, mut failed) = (Vec::new(), Vec::new());
            for index in 0..30 {
                let line = format!("<line {index}>");
                match write_line(&mut disk, &mut torn, &format!("{line}\n")) {
                    Ok(()) => written.push(line),
                    Err(_) => failed.push(line),
                }
            }
            let text = String::from_utf8(disk.holds).unwrap();
            let (whole, parts): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.ends_with('>'));
            // A line may lack only its end, which the one after it brings.
            prop_assert!(written.iter().all(|line| whole.contains(&line.as_str())));
            prop_assert!(whole.iter().all(|line| written.iter().chain(&failed).any(|told| told == line)));
            prop_assert!(parts.iter().all(|part| failed.iter().any(|line| line.starts_with(part))));
        }
    }

    #[test]
    fn a_stream_is_never_reopened() {
        let (_reader, pipe) = io::pipe().unwrap();
        let mut output = Output::from(OwnedFd::from(pipe));
        output.prepare().unwrap();
        assert!(output.file.is_some());
    }
}

//! Reading files that somebody else can replace: regular ones only, never through a link, never waiting for a pipe.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::libc::{ELOOP, ENXIO};

use crate::ports::Stretch;

/// What is found under a name.
pub(super) enum Opened {
    Regular(File, Metadata),
    Missing,
    /// A link, a directory, a pipe, a socket or a device.
    Other,
}

/// Opens a regular file for reading.
pub(super) fn open(path: &Path) -> io::Result<Opened> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Missing),
        // A link; a socket.
        Err(error) if matches!(error.raw_os_error(), Some(ELOOP | ENXIO)) => {
            return Ok(Opened::Other);
        }
        Err(error) => return Err(at(path, &error)),
    };
    let metadata = file.metadata().map_err(|error| at(path, &error))?;
    Ok(if metadata.is_file() { Opened::Regular(file, metadata) } else { Opened::Other })
}

/// Reads at most `max` bytes from an offset, from the beginning when the file has become shorter than that.
pub(super) fn read(path: &Path, from: u64, max: usize) -> io::Result<Stretch> {
    let (mut file, metadata) = match open(path)? {
        Opened::Regular(file, metadata) => (file, metadata),
        Opened::Missing => return Ok(Stretch::default()),
        Opened::Other => {
            let why = format!("`{}` is no regular file", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    };
    let from = if metadata.len() < from { 0 } else { from };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from)).map_err(|error| at(path, &error))?;
    file.take(max as u64).read_to_end(&mut bytes).map_err(|error| at(path, &error))?;
    let next = from + bytes.len() as u64;
    Ok(Stretch { bytes, next, file: Some((metadata.dev(), metadata.ino())) })
}

/// The length of a regular file; what is none has no bytes to read.
pub(super) fn length(path: &Path) -> io::Result<u64> {
    Ok(match open(path)? {
        Opened::Regular(_, metadata) => metadata.len(),
        Opened::Missing | Opened::Other => 0,
    })
}

/// Where the last `lines` lines begin, found from the end backwards: a log may be much longer than what is wanted of it.
pub(super) fn tail_offset(path: &Path, lines: u64) -> io::Result<u64> {
    const BLOCK_BYTES: u64 = 64 << 10;
    let Opened::Regular(mut file, metadata) = open(path)? else { return Ok(0) };
    let mut end = metadata.len();
    let mut missing = lines;
    // The end of the last line does not begin another one.
    let mut is_last = true;
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(|error| at(path, &error))?;
        Read::by_ref(&mut file)
            .take(end - start)
            .read_to_end(&mut block)
            .map_err(|error| at(path, &error))?;
        for (index, byte) in block.iter().enumerate().rev() {
            if *byte == b'\n' && !is_last {
                if missing <= 1 {
                    return Ok(start + index as u64 + 1);
                }
                missing -= 1;
            }
            is_last = false;
        }
        end = start;
    }
    Ok(if lines == 0 { metadata.len() } else { 0 })
}

pub(super) fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("failed to read `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn a_growing_file_is_read_in_stretches() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(read(&path, 7, 100).unwrap(), Stretch::default());
        fs_err::write(&path, "0123456789").unwrap();
        let first = read(&path, 0, 4).unwrap();
        assert_eq!((first.bytes.as_slice(), first.next), (b"0123".as_slice(), 4));
        let rest = read(&path, first.next, 100).unwrap();
        assert_eq!((rest.bytes.as_slice(), rest.next), (b"456789".as_slice(), 10));
        assert_eq!(rest.file, first.file);
        let end = read(&path, 10, 100).unwrap();
        assert_eq!((end.bytes.len(), end.next), (0, 10));
        fs_err::write(&path, "ab").unwrap();
        let cut = read(&path, 10, 100).unwrap();
        assert_eq!((cut.bytes.as_slice(), cut.next), (b"ab".as_slice(), 2));
    }

    #[test]
    fn links_pipes_sockets_and_directories_are_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs_err::write(at("file"), "secret").unwrap();
        fs_err::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs_err::create_dir(at("directory")).unwrap();
        for name in ["link", "pipe", "socket", "directory"] {
            let error = read(&at(name), 0, 10).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(length(&at(name)).unwrap(), 0, "{name}");
        }
        assert_eq!((length(&at("file")).unwrap(), length(&at("none")).unwrap()), (6, 0));
    }
}

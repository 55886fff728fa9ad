//! Appends to files. In: a descriptor and bytes. Out: done. Never here: fsync, the ring.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Writes all bytes with plain write(2) on the calling thread.
///
/// A buffered append takes the kernel 2 µs; through the ring it is handed to a kernel thread and takes 50.
///
/// # Errors
/// That of write(2), with an unknown part of the bytes written; `WriteZero` where the file takes no more.
pub fn write_fd(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    #[cfg(feature = "memory")]
    if crate::memory::is_on() {
        return Ok(());
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        // SAFETY: `rest` is a live slice, so its pointer is readable for its length; `fd` is open for the borrow.
        let written = unsafe { libc::write(fd.as_raw_fd(), rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn a_full_disk_is_an_error() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = write_fd(full.as_fd(), b"record").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    }

    #[test]
    fn a_write_longer_than_the_pipe_is_written_whole() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = bytes.clone();
        let writing = std::thread::spawn(move || write_fd(writer.as_fd(), &bytes));
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        writing.join().unwrap().unwrap();
        assert!(got == expected);
    }
}

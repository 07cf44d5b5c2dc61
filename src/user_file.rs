//! Files that the user names: read up to a bound, and never waited for without end.
//!
//! A name may be that of a device, or of a pipe to which nobody writes. What is no regular file is read on a thread of
//! its own, for a while; the thread goes with the process.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// How long a pipe is waited for: somebody may have to unlock a password store first.
const PATIENCE: Duration = Duration::from_secs(60);

/// The text of a file of at most `most` bytes.
///
/// # Errors
/// [`ErrorKind::FileTooLarge`] for a larger one, [`ErrorKind::TimedOut`] for one that does not end,
/// [`ErrorKind::InvalidData`] for what is not UTF-8; whatever the system says.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    read_within(path, most, PATIENCE)
}

/// The same of standard input, which ends when the user or the program before it says so.
pub(crate) fn read_stdin(most: u64) -> io::Result<String> {
    read_bounded(io::stdin().lock(), most)
}

fn read_within(path: &Path, most: u64, patience: Duration) -> io::Result<String> {
    if fs::metadata(path)?.is_file() {
        return read_bounded(File::open(path)?, most);
    }
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    let read = move || drop(sender.send(File::open(path).and_then(|file| read_bounded(file, most))));
    std::thread::Builder::new().name("user file".to_owned()).spawn(read)?;
    receiver.recv_timeout(patience).unwrap_or_else(|_| {
        Err(io::Error::new(ErrorKind::TimedOut, format!("it did not end within {} seconds", patience.as_secs())))
    })
}

/// The text of a source of at most `most` bytes, read to its end.
///
/// # Errors
/// As [`read_text`].
pub(crate) fn read_bounded(source: impl Read, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    source.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is too large: more than {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "12345").expect("written");
        assert_eq!(read_text(&path, 5).expect("a text"), "12345");
        assert_eq!(read_text(&path, 4).expect_err("too large").kind(), ErrorKind::FileTooLarge);
        fs::write(&path, b"\xff").expect("written");
        assert_eq!(read_text(&path, 5).expect_err("no UTF-8").kind(), ErrorKind::InvalidData);
        assert_eq!(read_text(&folder.path().join("none"), 5).expect_err("none").kind(), ErrorKind::NotFound);
        assert!(read_text(folder.path(), 5).is_err(), "a folder");
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_end_by_themselves() {
        assert_eq!(read_text(Path::new("/dev/zero"), 4_096).expect_err("no end").kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_text(Path::new("/dev/null"), 4_096).expect("nothing"), "");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        let error = read_within(&path, 5, Duration::from_millis(50)).expect_err("nobody writes");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let writer = {
            let path = path.clone();
            std::thread::spawn(move || fs::write(path, "abc"))
        };
        // The first reader waits still, and one of the two gets it.
        let read = read_within(&path, 5, Duration::from_millis(500));
        writer.join().expect("it ends").expect("written");
        assert!(read.is_ok() || read.is_err_and(|error| error.kind() == ErrorKind::TimedOut));
    }
}

//! Standard output: data, which reaches its reader or is missed aloud.
//!
//! A reader that went away, such as `head`, wanted no more: that is no error. Whatever else keeps data from being
//! written (a full disk, an output that is closed) makes the command end in exit code 1 with a word on standard error,
//! after it has done everything else that it does.

use std::io::{self, ErrorKind as IoErrorKind, Write};
use std::sync::Mutex;

use crate::error::{Error, ErrorClass};

/// What first kept standard output from being written.
static UNWRITTEN: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes data to standard output. What goes wrong is [told](failure) at the end of the command.
pub(super) fn print(text: &str) {
    remember(write_line(&mut io::stdout().lock(), text));
}

/// Keeps an error of standard output for the end, if it is one.
pub(super) fn remember(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != IoErrorKind::BrokenPipe
        && let Ok(mut unwritten) = UNWRITTEN.lock()
    {
        unwritten.get_or_insert(error);
    }
}

/// What kept standard output from being written, if anything did; told once.
pub(super) fn failure() -> Option<Error> {
    let error = UNWRITTEN.lock().ok()?.take()?;
    Some(
        Error::new(ErrorClass::OutputLost, "standard output cannot be written")
            .because(error)
            .hint("see where it goes, and that there is space left; whatever else was asked for is done"),
    )
}

/// Remembers that standard output was closed when the program was started, as far as can be told.
///
/// Rust opens `/dev/null` for reading and writing where a standard stream is closed; a shell's `>/dev/null` is open for
/// writing only. Some programs give their children such a null too, so this is asked only of commands that do nothing
/// but print.
pub(super) fn check_open() {
    if cfg!(target_os = "linux") && is_null_for_both() == Some(true) {
        remember(Err(io::Error::other("it is closed")));
    }
}

fn is_null_for_both() -> Option<bool> {
    const ACCESS: u32 = 0o3;
    const READ_WRITE: u32 = 0o2;
    let is_null = std::fs::read_link("/proc/self/fd/1").ok()?.as_os_str() == "/dev/null";
    let info = std::fs::read_to_string("/proc/self/fdinfo/1").ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    Some(is_null && flags & ACCESS == READ_WRITE)
}

/// Writes lines, all of them or none that is missed.
fn write_line(output: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(output, "{}", text.trim_end_matches('\n'))?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, and fails then or only when it is flushed.
    struct Full(usize, IoErrorKind);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(self.1.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            if self.0 == 0 { Err(self.1.into()) } else { Ok(()) }
        }
    }

    #[test]
    fn what_is_not_written_is_an_error() {
        let mut whole = Vec::new();
        write_line(&mut whole, "a\nb\n\n").expect("written");
        assert_eq!(whole, b"a\nb\n");
        for room in [0, 1, 4] {
            let error = write_line(&mut Full(room, IoErrorKind::StorageFull), "a\nb").expect_err("full");
            assert_eq!(error.kind(), IoErrorKind::StorageFull, "{room}");
        }
    }
}

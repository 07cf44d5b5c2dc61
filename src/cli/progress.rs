//! One line of progress, on a terminal only.

use std::io::{IsTerminal as _, Write as _};

use crate::id::AccountName;
use crate::pipeline::Progress;
use crate::units::thousands;

/// The line, rewritten in place.
pub(super) struct Line {
    is_shown: bool,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { is_shown: std::io::stderr().is_terminal() }
    }

    pub(super) fn show(&self, progress: Progress) {
        self.rewrite("", progress);
    }

    /// The same where several accounts have one line: that of the account that committed last.
    pub(super) fn show_of(&self, account: &AccountName, progress: Progress) {
        self.rewrite(&format!("{account}  "), progress);
    }

    fn rewrite(&self, of: &str, progress: Progress) {
        if self.is_shown {
            let Progress { window, range, headers, calls } = progress;
            let done = window.end().unix().abs_diff(range.start().unix()) + 1;
            let percent = done * 100 / range.seconds().max(1);
            let _ = write!(
                std::io::stderr().lock(),
                "\r\x1b[2K{of}{percent:>3}%  to {}  {} rows  {} calls",
                window.end(),
                thousands(headers),
                thousands(calls)
            );
        }
    }

    pub(super) fn clear(&self) {
        if self.is_shown {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

//! `secret_command` of the file of accounts: a program that prints the app secret, such as the client of a password
//! store.
//!
//! It is started without a shell, has no standard input, and is given up after a while. Neither what it is, nor what it
//! prints on either stream, is ever repeated: each may be the secret.

use std::io::ErrorKind as IoErrorKind;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorClass, Result};
use crate::home;
use crate::text::{Text, key, text};
use crate::user_file::read_bounded;

/// How long a program may take: somebody may have to unlock a password store first.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked whether a program has ended that prints nothing more.
const POLL: Duration = Duration::from_millis(10);

/// What a program prints, at most `most` bytes of it. The command is the program, and its arguments.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when it cannot be started, fails, does not end in time, or prints
/// something else than a text of that size.
pub(super) fn output_of(command: &[&str], most: u64) -> Result<String> {
    output_within(command, most, PATIENCE)
}

fn output_within(command: &[&str], most: u64, patience: Duration) -> Result<String> {
    let Some((program, arguments)) = command.split_first() else { return Err(Error::internal("no program to start")) };
    let until = Instant::now() + patience;
    let unstarted = |error: std::io::Error| {
        failed(text!("cannot be started: {why}", why = error.kind()))
            .hint("it is a list: the program's name or path, and its arguments one by one; no shell reads it")
    };
    // What is wrong with a path repeats it.
    let program = home::expand(program).map_err(|_| unstarted(IoErrorKind::NotFound.into()))?;
    let mut started = Command::new(program.as_os_str());
    let started = started.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = started.spawn().map_err(unstarted)?;
    let Some(output) = child.stdout.take() else { return Err(Error::internal("a program without output")) };
    let (sender, receiver) = mpsc::channel();
    let reading = move || drop(sender.send(read_bounded(output, most)));
    thread::Builder::new()
        .name("secret command".to_owned())
        .spawn(reading)
        .map_err(|error| Error::internal("cannot start a thread").because(error))?;
    let printed = receiver.recv_timeout(patience).ok();
    let status = match &printed {
        Some(Ok(_)) => ended_by(&mut child, until),
        _ => None,
    };
    let (Some(status), Some(Ok(text))) = (status, printed.as_ref()) else {
        // It would go on without anybody who listens.
        let _ = child.kill();
        let _ = child.wait();
        return Err(match printed {
            Some(Err(error)) if error.kind() == IoErrorKind::FileTooLarge => {
                failed(text!("printed more than {most} bytes", most))
                    .hint("it must print the app secret and nothing else")
            }
            Some(Err(error)) if error.kind() == IoErrorKind::InvalidData => {
                failed(text!("printed what is no UTF-8 text"))
            }
            Some(Err(error)) => failed(text!("cannot be read: {why}", why = error.kind())),
            _ => failed(text!("did not end within {seconds} seconds", seconds = patience.as_secs())),
        }
        .hint(BY_HAND));
    };
    match status.success() {
        true => Ok(text.clone()),
        false => Err(failed(ending(status)).hint(BY_HAND)),
    }
}

const BY_HAND: &str = key!(
    "run it by hand, as the user of this process, to see what it says: its output is not shown, because it may be the secret"
);

fn failed(why: Text) -> Error {
    Error::new(ErrorClass::SecretUnusable, text!("the program that `secret_command` names {why}", why))
}

fn ending(status: ExitStatus) -> Text {
    status.code().map_or_else(|| text!("was ended by a signal"), |code| text!("ended with exit code {code}", code))
}

/// How a program ended that closed its output; none when it has not in time.
fn ended_by(child: &mut Child, until: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => thread::sleep(POLL),
            Ok(None) | Err(_) => return None,
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 64;

    fn said(command: &[&str]) -> String {
        let error = output_within(command, MOST, Duration::from_millis(300)).expect_err("it fails");
        assert_eq!(error.kind().exit_code(), 2);
        format!("{error} {}", error.hint_text().expect("a hint"))
    }

    #[test]
    fn a_program_is_run_without_a_shell_and_gives_what_it_prints() {
        let output = |command: &[&str]| output_of(command, MOST).expect("it prints");
        assert_eq!(output(&["printf", "%s\\n", "$HOME *; echo x"]), "$HOME *; echo x\n");
        assert_eq!(output(&["/bin/sh", "-c", "cat; echo s3cret; echo noise >&2"]), "s3cret\n", "nothing is to be read");
    }

    #[test]
    fn what_goes_wrong_is_said_without_a_word_of_the_command_or_its_output() {
        for (command, word) in [
            (&["/no/such/m4rker"][..], "cannot be started: entity not found"),
            (&["~m4rker/x"], "cannot be started"),
            (&["/bin/sh", "-c", "echo m4rker; echo m4rker >&2; exit 3"], "ended with exit code 3"),
            (&["/bin/sh", "-c", "echo m4rker; kill -9 $$"], "was ended by a signal"),
            (&["/bin/sh", "-c", "echo m4rker; exec sleep 600"], "did not end within 0 seconds"),
            (&["/bin/sh", "-c", "exec >&-; exec sleep 600"], "did not end within 0 seconds"),
            (&["/bin/sh", "-c", "yes m4rker"], "printed more than 64 bytes"),
            (&["/bin/sh", "-c", "printf '\\377m4rker'"], "no UTF-8"),
        ] {
            let said = said(command);
            assert!(said.contains(word) && said.contains("`secret_command`") && !said.contains("m4rk"), "{said}");
        }
    }
}

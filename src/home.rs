//! A leading `~/` in paths that no shell has seen: of configuration files, variables and `--flag=~/path`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

/// The path with the home folder in the place of a leading `~`. A folder whose name begins with one is written
/// `./~name`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for the home folder of somebody else, and where there is none.
pub(crate) fn expand(path: &str) -> Result<Cow<'_, Path>> {
    expand_with(path, std::env::home_dir)
}

fn expand_with(path: &str, home: impl FnOnce() -> Option<PathBuf>) -> Result<Cow<'_, Path>> {
    let Some(rest) = path.strip_prefix('~') else { return Ok(Path::new(path).into()) };
    let below = match rest.strip_prefix(['/', std::path::MAIN_SEPARATOR]) {
        Some(below) => below.trim_start_matches('/'),
        None if rest.is_empty() => "",
        None => {
            return Err(Error::new(ErrorClass::LocationWrong, "only `~/` means a home folder")
                .with("path", path)
                .hint(text!("write the path out, or `./{path}` for a folder of that name", path)));
        }
    };
    let home = home().filter(|home| !home.as_os_str().is_empty());
    let home = home.ok_or_else(|| {
        Error::new(ErrorClass::LocationWrong, "there is no home folder")
            .with("path", path)
            .hint("write the path out, or set HOME")
    })?;
    Ok(if below.is_empty() { home } else { home.join(below) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_tilde_is_the_home_folder() {
        let expanded = |path| expand_with(path, || Some("/home/me".into())).map(|path| path.display().to_string());
        for (path, expected) in [
            ("~", "/home/me"),
            ("~/", "/home/me"),
            ("~/lake", "/home/me/lake"),
            ("~//lake/a b", "/home/me/lake/a b"),
            ("./~/lake", "./~/lake"),
            ("a~/b", "a~/b"),
            ("/~/x", "/~/x"),
            ("", ""),
        ] {
            assert_eq!(expanded(path).expect("a path"), expected, "{path}");
        }
        for wrong in ["~you/lake", "~lake"] {
            let error = expanded(wrong).expect_err("refused");
            assert!(error.hint_text().is_some_and(|hint| hint.contains(&format!("./{wrong}"))), "{error}");
        }
        for none in [None, Some(PathBuf::new())] {
            assert_eq!(expand_with("~/x", || none).expect_err("refused").kind().exit_code(), 2);
        }
    }
}

//! `wdt-lake completions SHELL` and `wdt-lake man [DIR]`: what shells and `man` want to know of the command line, made
//! from it.

use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::error::{Error, ErrorKind, Result, exit};
use crate::text::say;

/// The name by which the program is called.
const NAME: &str = "wdt-lake";

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Write a page for every command into this folder, which is made where it is missing. Without it the first page
    /// is printed.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Prints the completions for a shell.
pub(super) fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Args::command(), NAME, &mut script);
    print(script)
}

/// Writes the manual.
pub(super) fn man(args: &ManArgs) -> Result<u8> {
    // Not wrapped here: `man` does that.
    let command = super::Args::command();
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(|error| unwritten(error, "-"))?;
        return print(page);
    };
    let shown = folder.display();
    std::fs::create_dir_all(folder).map_err(|error| unwritten(error, shown.to_string()))?;
    clap_mangen::generate_to(command, folder).map_err(|error| unwritten(error, shown.to_string()))?;
    let page = folder.join("wdt-lake.1");
    super::print(&say!("the manual is in {folder}: read it by `man -l {page}`", folder = shown, page = page.display()));
    Ok(exit::DONE)
}

fn print(text: Vec<u8>) -> Result<u8> {
    let text =
        String::from_utf8(text).map_err(|error| Error::internal("the command line is no UTF-8").because(error))?;
    super::print(&text);
    Ok(exit::DONE)
}

fn unwritten(error: std::io::Error, path: impl Into<String>) -> Error {
    Error::new(ErrorKind::Output, "cannot write the manual")
        .with("path", path.into())
        .because(error)
        .hint("name a folder that this user may create and write, with space left")
}

//! Every help page as a whole, at 100 columns. A change is renewed by `INSTA_UPDATE=always cargo test --lib help_`.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory as _};

const COLUMNS: usize = 100;

/// The pages of a command and of all below it, by name.
fn pages(command: &Command, name: &str, found: &mut Vec<(String, String)>) {
    let page = command.clone().term_width(COLUMNS).render_long_help().to_string();
    found.push((name.to_owned(), page));
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        pages(below, &format!("{name}_{}", below.get_name()), found);
    }
}

#[test]
fn help_pages_are_these() {
    let mut command = super::Args::command().term_width(COLUMNS);
    command.build();
    let mut found = Vec::new();
    pages(&command, "help", &mut found);
    assert!(found.len() > 25, "{} pages", found.len());
    let mut names = BTreeSet::new();
    for (name, page) in found {
        for line in page.lines() {
            assert!(line.chars().count() <= COLUMNS, "{name}: {line}");
        }
        let page: String = page.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        insta::assert_snapshot!(name.clone(), page);
        names.insert(format!("wdt_lake__cli__help_tests__{name}.snap"));
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/snapshots");
    let kept = std::fs::read_dir(folder).expect("the snapshots").map(|entry| entry.expect("a file").file_name());
    let kept: BTreeSet<String> = kept.map(|name| name.to_string_lossy().into_owned()).collect();
    assert_eq!(kept, names, "pages of commands that are no more");
}

/// What a command takes, of itself and of all below it.
fn options(command: &Command, name: &str, found: &mut Vec<(String, String)>) {
    let longs = command.get_arguments().filter(|argument| !argument.is_hide_set()).filter_map(|one| one.get_long());
    found.extend(longs.map(|long| (name.to_owned(), long.to_owned())));
    command.get_subcommands().for_each(|below| options(below, &format!("{name} {}", below.get_name()), found));
}

#[test]
fn every_option_stands_on_a_page() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).expect("the pages").map(|entry| entry.expect("a file").path());
    let read = |path| std::fs::read_to_string(path).expect("a page");
    let pages: String = docs.filter(|path| path.is_file()).chain([root.join("README.md")]).map(read).collect();
    let words: BTreeSet<&str> = pages.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').collect();
    let mut command = super::Args::command();
    command.build();
    let mut found = Vec::new();
    options(&command, "wdt-lake", &mut found);
    assert!(found.len() > 200, "{}", found.len());
    let missing: Vec<_> = found.iter().filter(|(_, long)| !words.contains(format!("--{long}").as_str())).collect();
    assert!(missing.is_empty(), "no page names {missing:?}");
}

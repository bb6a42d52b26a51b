use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

use super::*;

/// The pages whose console blocks must be right.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let mut pages = vec![root.join("README.md")];
    for folder in ["docs/guides", "docs/reference"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        pages.extend(paths.filter(|path| path.is_file()));
    }
    pages
}

/// The `drover` commands in the console blocks of a page, with their line numbers.
fn commands(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (position, line) in text.lines().enumerate() {
        let Some(command) = line.trim_start().strip_prefix("$ ") else {
            continue;
        };
        let command = command.replace("cargo run -- ", "drover ");
        if let Some(rest) = command.strip_prefix("drover ") {
            // A comment, or another command of the shell.
            let ends = [" #", " || ", " && ", "; ", " >"];
            let rest = ends
                .iter()
                .fold(rest, |rest, end| rest.split(end).next().unwrap());
            found.push((position + 1, words(rest)));
        }
    }
    found
}

/// Splits as a shell does, as far as the pages need it.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for character in text.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (Some(_) | None, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_command_in_the_pages_parses() {
    let mut seen = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for (line, words) in commands(&text) {
            seen += 1;
            let parsed = Cli::try_parse_from(std::iter::once("drover".to_owned()).chain(words));
            if let Err(error) = parsed {
                panic!("{}:{line}: {error}", page.display());
            }
        }
    }
    assert!(
        seen > 10,
        "only {seen} commands found: are the console blocks still there?"
    );
}

#[test]
fn the_tree_of_commands_is_consistent() {
    Cli::command().debug_assert();
}

//! What is read from people and from Git, made out of ours by plain mutation. The same seed and number give the same
//! text; what a target says of it is an error only where a promise is broken.

#[path = "dice.rs"]
mod dice;

use std::collections::BTreeMap;

use drover_git::{AllowedSigners, IgnoreRules, SourceUrl};
use drover_spec::{agent_config, assemble, operation, parse_file, record, render};

use dice::Dice;

/// Something that reads text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Documents of the repository.
    Documents,
    /// The agent's own file.
    AgentFile,
    /// Signed operations.
    Operations,
    /// Recorded state of groups.
    Records,
    /// Addresses of repositories.
    Urls,
    /// Messages of commits.
    Trailers,
    /// Lists of signers.
    Signers,
    /// Ignore rules.
    IgnoreRules,
}

impl Target {
    pub(crate) const ALL: [Self; 8] = [
        Self::Documents,
        Self::AgentFile,
        Self::Operations,
        Self::Records,
        Self::Urls,
        Self::Trailers,
        Self::Signers,
        Self::IgnoreRules,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::AgentFile => "agent-file",
            Self::Operations => "operations",
            Self::Records => "records",
            Self::Urls => "urls",
            Self::Trailers => "trailers",
            Self::Signers => "signers",
            Self::IgnoreRules => "ignore-rules",
        }
    }

    /// What is mutated.
    pub(crate) fn corpus(self) -> Vec<String> {
        let shop = [
            include_str!("../../../../specs/examples/shop/groups/web.yaml"),
            include_str!("../../../../specs/examples/etcd/groups/etcd.yaml"),
        ];
        let page = |text: &str| {
            let blocks = text.split("```yaml\n").skip(1);
            let blocks = blocks.filter_map(|block| block.split_once("\n```"));
            blocks
                .map(|(block, _)| block.to_owned())
                .collect::<Vec<_>>()
        };
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        match self {
            Self::Documents => {
                let mut all: Vec<String> = texts(&shop);
                all.extend(page(include_str!("../../../../docs/reference/group.md")));
                all.extend(page(include_str!("../../../../docs/reference/policy.md")));
                all.extend(page(include_str!("../../../../docs/reference/metrics.md")));
                all
            }
            Self::AgentFile => page(include_str!("../../../../docs/reference/agent.md")),
            Self::Operations => texts(&[OPERATION]),
            Self::Records => texts(&[RECORD]),
            Self::Urls => texts(&URLS),
            Self::Trailers => texts(&[MESSAGE, "subject\n\nKey: value\n", "a\n\nA: b\n c\nD: e"]),
            Self::Signers => texts(&[SIGNERS]),
            Self::IgnoreRules => {
                texts(&["*.md\n!README.md\n/docs/**/a?[b-d].yaml\n# words\n\\#x\n"])
            }
        }
    }

    /// Reads a text.
    ///
    /// # Errors
    ///
    /// Which promise is broken.
    pub(crate) fn read(self, text: &str) -> Result<(), String> {
        match self {
            Self::Documents => documents(text),
            Self::AgentFile => match agent_config::parse("agent.yaml", text.as_bytes()) {
                Ok(_) => Ok(()),
                Err(mistakes) => places(&mistakes, text),
            },
            Self::Operations => operations(text),
            Self::Records => records(text),
            Self::Urls => urls(text),
            Self::Trailers => trailers(text),
            Self::Signers => {
                let _ = AllowedSigners::parse(text);
                Ok(())
            }
            Self::IgnoreRules => {
                let (rules, _) = IgnoreRules::parse(text.as_bytes());
                for path in ["docs/a/ab.yaml", "README.md", "groups", text] {
                    let _ = rules.ignores(path, false) || rules.ignores(path, true);
                }
                Ok(())
            }
        }
    }
}

fn documents(text: &str) -> Result<(), String> {
    let parsed = parse_file("groups/web.yaml", text.as_bytes());
    let repository = assemble([&parsed]);
    places(&repository.diagnostics, text)
}

/// Mistakes are at places that there are, and can be shown.
fn places(mistakes: &[drover_spec::Diagnostic], text: &str) -> Result<(), String> {
    let lines = text.split('\n').count() + 1;
    for mistake in mistakes {
        let line = mistake.span.line as usize;
        if line > lines {
            return Err(format!("line {line} of {lines}: {}", mistake.message));
        }
    }
    let shown = render(mistakes, &|_| Some(text.to_owned()), false);
    let bad = shown.chars().find(|c| c.is_control() && *c != '\n');
    bad.map_or(Ok(()), |c| Err(format!("{c:?} is shown on a terminal")))
}

fn operations(text: &str) -> Result<(), String> {
    let (document, _) = operation::split(text).unwrap_or((text, ""));
    let Ok(read) = operation::parse("operations/a.yaml", document) else {
        return Ok(());
    };
    match operation::parse("operations/a.yaml", &operation::encode(&read)) {
        Ok(again) if again == read => Ok(()),
        other => Err(format!("{read:?} is written and read as {other:?}")),
    }
}

fn records(text: &str) -> Result<(), String> {
    let Ok(read) = record::decode(text) else {
        return Ok(());
    };
    match record::decode(&record::encode(&read)) {
        Ok(again) if again == read => Ok(()),
        Ok(_) => Err("a record changes when it is written and read".to_owned()),
        Err(error) => Err(format!("what was written cannot be read: {error}")),
    }
}

fn urls(text: &str) -> Result<(), String> {
    let Ok(url) = SourceUrl::parse(text) else {
        return Ok(());
    };
    let shown = url.redacted();
    if shown.chars().any(char::is_control) {
        return Err(format!("{shown:?} is shown"));
    }
    if let Some(credentials) = url.credentials() {
        let password = credentials.password.expose();
        // A short one, or one that is written twice, may be anywhere.
        let once = password.len() > 5 && text.matches(password).count() == 1;
        if once && shown.contains(password) {
            return Err("the password is shown".to_owned());
        }
        return Ok(());
    }
    // A path that is no text cannot be written.
    if shown.contains(char::REPLACEMENT_CHARACTER) {
        return Ok(());
    }
    match SourceUrl::parse(&shown) {
        Ok(again) if again == url => Ok(()),
        Ok(again) => Err(format!("{shown} is read as {again}")),
        Err(error) => Err(format!("{shown} cannot be read: {error}")),
    }
}

fn trailers(text: &str) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for (key, value) in drover_git::trailers(text) {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if key.is_empty() || !key.chars().all(fine) {
            return Err(format!("{key:?} is the key of a trailer"));
        }
        if !text.contains(&key) {
            return Err(format!("{key:?} is a key, and nowhere in the message"));
        }
        *seen.entry((key, value)).or_insert(0) += 1;
    }
    Ok(())
}

const OPERATION: &str = "apiVersion: drover/v1alpha1\nkind: Operation\nspec:\n  operation: approve\n  fleet: prod\n  group: web\n  change: 9d2f5c0e6a1b4d7f8e3c2b1a0f9e8d7c6b5a4f3e2d1c0b9a8f7e6d5c4b3a2f1e\n  at: \"2026-11-30T01:00:00Z\"\n  expires: \"2026-12-01T01:00:00Z\"\n  because: \"INC-123: reviewed\"\n-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n";

const RECORD: &str = include_str!("record.yaml");

const URLS: [&str; 14] = [
    "ssh://git@git.example.com:2222/fleet.git",
    "git://git.example.com:9419/~jane/a%20b%25.git",
    "git://[::1]/srv/fleet.git/",
    "git@git.example.com:team/fleet.git",
    "https://jane:correct-horse@git.example.com:8443/a/b%20c/fleet.git?x=y#z",
    "http://[::1]:80/fleet.git/",
    "file:///srv/git/fleet.git",
    "/srv/git/fleet.git",
    "./fleet",
    "ssh://[fe80::1%25eth0]:22/~jane/fleet",
    "ext::sh -c touch",
    "-oProxyCommand=x",
    "https://git.example.com/../fleet.git",
    "HTTPS://GIT.EXAMPLE.COM:443/Fleet",
];

const MESSAGE: &str = "web: scale 3 -> 5\n\n- create web-4\n[skip ci]\n\nDrover-Group: web\nDrover-Plan: 9d2f\nDrover-Source: main@sha1:4be6\nSigned-off-by: Jane <jane@example.com>\n";

const SIGNERS: &str = "# people\njane@example.com namespaces=\"drover-operation,git\",valid-before=\"20270101Z\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChAzCIlWVGpg7BaFoKnXRFyP8Wn0hXSxpvB5fJ5q jane\ntom@example.com,tim valid-after=\"20260101\" ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY=\n";

/// What is put into texts.
const PIECES: [&str; 40] = [
    "\n",
    "\r\n",
    "\t",
    " ",
    "  ",
    ":",
    ": ",
    "- ",
    "---\n",
    "...\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    "'",
    "\"",
    "|\n",
    ">-\n",
    "&a ",
    "*a",
    "!!binary ",
    "#",
    "%",
    "@",
    "\\",
    "\\x41",
    "\u{0}",
    "\u{1b}[31m",
    "\u{feff}",
    "\u{2028}",
    "é",
    "𝄞",
    "null",
    "~",
    "1e309",
    "0x10",
    "-",
    "::",
    "//",
];

/// Returns text `number` of the walk with `seed`.
pub(crate) fn mutated(corpus: &[String], seed: u64, number: u64) -> String {
    let mut dice = Dice::of(seed, number);
    let at = dice.below(corpus.len());
    let mut text: Vec<char> = corpus[at].chars().collect();
    for _ in 0..=dice.below(4) {
        let at = dice.below(text.len() + 1);
        let end = (at + dice.below(24)).min(text.len());
        match dice.below(8) {
            0 => drop(text.drain(at..end)),
            1 => {
                let again: Vec<char> = text[at..end].to_vec();
                text.splice(at..at, again);
            }
            2 | 3 => {
                let piece = PIECES[dice.below(PIECES.len())];
                text.splice(at..at, piece.chars());
            }
            4 => {
                let piece = PIECES[dice.below(PIECES.len())];
                text.splice(at..end, piece.chars());
            }
            5 => {
                // The end of another one.
                let other: Vec<char> = corpus[dice.below(corpus.len())].chars().collect();
                let from = dice.below(other.len() + 1);
                text.truncate(at);
                text.extend(&other[from..]);
            }
            6 => {
                // A part somewhere else.
                let part: Vec<char> = text.drain(at..end).collect();
                let to = dice.below(text.len() + 1);
                text.splice(to..to, part);
            }
            _ => {
                if let Some(character) = text.get_mut(at) {
                    *character = char::from_u32(dice.below(0x300) as u32).unwrap_or('?');
                }
            }
        }
    }
    text.into_iter().collect()
}

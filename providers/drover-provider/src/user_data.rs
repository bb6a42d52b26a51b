//! The multi-part user data that `cloudInit` flavors become: the same bytes for the same input.

use std::fmt::Write;

use data_encoding::BASE64;
use drover_model::{Flavor, PartType, Template, UserDataPart};

use crate::flavor::{Facts, SubstitutionError, substitute};

/// Most bytes of rendered user data: what EC2 takes, the least of the providers.
pub const USER_DATA_MAX: usize = 16 * 1024;

/// How every rendered document begins.
const BEGINNING: &str = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"";

/// Longest line that mail's rules let go along as it is.
const LINE_MAX: usize = 998;

/// Bytes of content in one line of base64: 76 characters.
const BASE64_LINE: usize = 57;

/// Names that are known only once there is an instance, when its user data cannot be changed.
const LATE_NAMES: [&str; 2] = ["instance.address", "members"];

/// Returns whether init is user data, which a provider hands over as it is, instead of shell lines.
pub fn is_user_data(init: &[String]) -> bool {
    matches!(init, [document] if document.starts_with(BEGINNING))
}

/// Returns whether flavors make user data.
pub(crate) fn asked_for(template: &Template) -> bool {
    template
        .flavors
        .iter()
        .any(|flavor| matches!(flavor, Flavor::CloudInit(_)))
}

/// Renders the flavors as user data. None: no flavor is `cloudInit`. Of a flavor plugin that was not asked, nothing is
/// in it.
///
/// # Errors
///
/// A substitution that names no fact, or one that is known too late.
pub fn user_data(template: &Template, facts: &Facts) -> Result<Option<String>, SubstitutionError> {
    if !asked_for(template) {
        return Ok(None);
    }
    // Nothing is left for the provider's round, so that escapes are resolved here.
    let facts = Facts {
        address: Some(String::new()),
        members: Some(String::new()),
        ..facts.clone()
    };
    let exports = exports(template, &facts)?;
    let mut parts = Vec::new();
    for flavor in &template.flavors {
        match flavor {
            Flavor::Vanilla(vanilla) if vanilla.init.is_empty() => {}
            Flavor::Vanilla(vanilla) => {
                let lines = vanilla.init.iter().map(|line| early(line, &facts));
                let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
                parts.push(lines_part(&exports, &lines));
            }
            Flavor::Plugin(plugin) => {
                let init = plugin.answer.as_ref().map(|answer| answer.init.as_str());
                parts.extend(init.and_then(|init| own_part(&exports, init)));
            }
            Flavor::CloudInit(cloud_init) => {
                for part in &cloud_init.parts {
                    parts.push(UserDataPart {
                        content: early(&part.content, &facts)?,
                        ..part.clone()
                    });
                }
            }
        }
    }
    Ok(Some(multi_part(&parts)))
}

/// Returns how many bytes the init lines of all flavors have, each with its end, without what is known only once there
/// is an instance. None: some flavor is `cloudInit`, and they become a part of its user data.
///
/// # Errors
///
/// A substitution that names no fact.
pub fn init_length(template: &Template, facts: &Facts) -> Result<Option<usize>, SubstitutionError> {
    if asked_for(template) {
        return Ok(None);
    }
    let facts = Facts {
        address: Some(String::new()),
        members: Some(String::new()),
        ..facts.clone()
    };
    let lines = template.flavors.iter().flat_map(|flavor| match flavor {
        Flavor::Vanilla(vanilla) => vanilla.init.as_slice(),
        // What it answers is not known.
        Flavor::Plugin(_) | Flavor::CloudInit(_) => &[],
    });
    let mut length = 0;
    for line in lines {
        length += substitute(line, &facts)?.len() + 1;
    }
    Ok(Some(length))
}

/// Returns lines as a script.
fn lines_part(exports: &str, lines: &[String]) -> UserDataPart {
    // The options that init lines run with everywhere.
    let mut script = format!("#!/bin/sh\nset -eu\n{exports}");
    for line in lines {
        script.push_str(line);
        script.push('\n');
    }
    UserDataPart {
        content_type: PartType::ShellScript,
        content: script,
        merge_how: None,
    }
}

/// Returns the init of a flavor plugin: with an interpreter that is no plain shell it stays what it is. None: there
/// is nothing in it.
fn own_part(exports: &str, init: &str) -> Option<UserDataPart> {
    if init.is_empty() {
        return None;
    }
    if interpreter(init).is_none_or(is_shell) {
        return Some(lines_part(exports, &[init.to_owned()]));
    }
    Some(UserDataPart {
        content_type: PartType::ShellScript,
        content: init.to_owned(),
        merge_how: None,
    })
}

/// Returns what the first line of a script names as its interpreter. None: it names none.
pub fn interpreter(script: &str) -> Option<&str> {
    let line = script.strip_prefix("#!")?.lines().next();
    line.map(str::trim)
}

/// Returns whether an interpreter is the one that init lines run in anyway.
pub fn is_shell(interpreter: &str) -> bool {
    let mut words = interpreter.split_whitespace();
    match words.next() {
        Some("/bin/sh" | "/usr/bin/sh") => true,
        Some("/usr/bin/env") => words.next() == Some("sh"),
        Some(_) | None => false,
    }
}

/// Returns the environment of every flavor as lines of a script.
fn exports(template: &Template, facts: &Facts) -> Result<String, SubstitutionError> {
    let mut env = std::collections::BTreeMap::new();
    for flavor in &template.flavors {
        match flavor {
            Flavor::Vanilla(vanilla) => env.extend(&vanilla.env),
            Flavor::CloudInit(_) | Flavor::Plugin(_) => {}
        }
    }
    let mut lines = String::new();
    for (name, value) in env {
        let value = early(value, facts)?.replace('\'', r"'\''");
        let _ = writeln!(lines, "export {name}='{value}'");
    }
    Ok(lines)
}

fn early(text: &str, facts: &Facts) -> Result<String, SubstitutionError> {
    for name in LATE_NAMES {
        let written = format!("${{{name}}}");
        let mut places = text.match_indices(&written);
        if places.any(|(at, _)| !text[..at].ends_with('$')) {
            let name = name.to_owned();
            return Err(SubstitutionError { name });
        }
    }
    substitute(text, facts)
}

fn multi_part(parts: &[UserDataPart]) -> String {
    let boundary = boundary(parts);
    let mut out = format!("{BEGINNING}{boundary}\"\n");
    for part in parts {
        let UserDataPart {
            content_type,
            content,
            merge_how,
        } = part;
        let plain = is_plain(content);
        let (charset, encoding) = if plain {
            ("us-ascii", "7bit")
        } else {
            ("utf-8", "base64")
        };
        let _ = write!(
            out,
            "\n--{boundary}\nContent-Type: {}; charset=\"{charset}\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: {encoding}\n",
            content_type.as_str()
        );
        if let Some(merge_how) = merge_how {
            let _ = writeln!(out, "Merge-Type: {merge_how}");
        }
        // No file names: cloud-init numbers parts itself, also those that a part includes.
        out.push('\n');
        if plain {
            out.push_str(content);
        } else {
            let lines = content.as_bytes().chunks(BASE64_LINE);
            let lines: Vec<String> = lines.map(|line| BASE64.encode(line)).collect();
            out.push_str(&lines.join("\n"));
        }
    }
    let _ = write!(out, "\n--{boundary}--\n");
    out
}

/// Returns a boundary that is in no part: a fixed text, numbered on only where a part has it.
fn boundary(parts: &[UserDataPart]) -> String {
    let free = |boundary: &String| parts.iter().all(|part| !part.content.contains(boundary));
    let numbered = (1_u64..).map(|number| format!("==drover-user-data-{number}=="));
    let mut numbered = numbered.filter(free);
    numbered.next().expect("parts are finite")
}

/// Returns whether content can go along as it is. cloud-init garbles other characters then.
fn is_plain(content: &str) -> bool {
    let printable = |c: char| matches!(c, ' '..='~' | '\t' | '\n');
    content.chars().all(printable) && content.lines().all(|line| line.len() <= LINE_MAX)
}

#[cfg(test)]
mod tests;

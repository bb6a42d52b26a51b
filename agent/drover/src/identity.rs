//! Who commits: the person at the keyboard, as Git would name them.

use std::env;
use std::fs;
use std::path::PathBuf;

use drover_git::Signature;

#[cfg(test)]
mod tests;

/// Returns the user's name and address: `GIT_AUTHOR_*`, else Git's own configuration, else the login.
///
/// Git's configuration is read, not executed or included from elsewhere: nothing but `user.name` and
/// `user.email` matters here.
pub(crate) fn user() -> Signature {
    let configured = config_files()
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| parse_user(&text));
    let (mut name, mut email) = (None, None);
    for (file_name, file_email) in configured {
        name = file_name.or(name);
        email = file_email.or(email);
    }
    let login = variable("USER").unwrap_or_else(|| "drover".to_owned());
    let name = variable("GIT_AUTHOR_NAME").or(name);
    let email = variable("GIT_AUTHOR_EMAIL").or(email).or(variable("EMAIL"));
    Signature {
        email: email.unwrap_or_else(|| format!("{login}@localhost")),
        name: name.unwrap_or(login),
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The files in the order that Git reads them: a later one wins.
fn config_files() -> Vec<PathBuf> {
    if let Some(path) = variable("GIT_CONFIG_GLOBAL") {
        return vec![path.into()];
    }
    let home = env::var_os("HOME").map(PathBuf::from);
    let xdg = env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| home.as_ref().map(|home| home.join(".config")));
    let xdg = xdg.map(|folder| folder.join("git/config"));
    let own = home.map(|home| home.join(".gitconfig"));
    xdg.into_iter().chain(own).collect()
}

/// Returns `user.name` and `user.email` of a configuration file.
fn parse_user(text: &str) -> (Option<String>, Option<String>) {
    let (mut name, mut email) = (None, None);
    let mut in_user = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_user = line.eq_ignore_ascii_case("[user]");
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| in_user) else {
            continue;
        };
        let value = value.trim().trim_matches('"').to_owned();
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => name = Some(value),
            "email" => email = Some(value),
            _ => {}
        }
    }
    (name, email)
}

//! How the pull request of a branch is opened, in words: drover pushes the branch, and a person opens it.

#[cfg(test)]
mod tests;

/// Returns what a person does next, with the address of the host's own form where the repository's address tells
/// whose it is.
pub(super) fn how_to_open(repository: &str, base: &str, branch: &str) -> String {
    let next = format!("open a pull request from {branch} into {base}");
    match form(repository, base, branch) {
        Some(form) => format!("{next}: {form}"),
        None => next,
    }
}

/// Returns the address of the form in which a pull request is opened. None: it cannot be told from the repository's.
fn form(repository: &str, base: &str, branch: &str) -> Option<String> {
    let (host, path) = place(repository)?;
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let page = format!("https://{host}/{path}");
    if host == "github.com" || host.starts_with("github.") {
        Some(format!("{page}/compare/{base}...{branch}?expand=1"))
    } else if host == "gitlab.com" || host.starts_with("gitlab.") {
        let (from, into) = (
            "merge_request[source_branch]",
            "merge_request[target_branch]",
        );
        Some(format!(
            "{page}/-/merge_requests/new?{from}={branch}&{into}={base}"
        ))
    } else if host == "codeberg.org" || host.starts_with("gitea.") || host.starts_with("forgejo.") {
        Some(format!("{page}/compare/{base}...{branch}"))
    } else {
        None
    }
}

/// Returns host and path of an address; the port of ssh says nothing about that of the page.
fn place(repository: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = repository.split_once("://")?;
    if !matches!(scheme, "https" | "ssh") {
        return None;
    }
    let (authority, path) = rest.split_once('/')?;
    let host = authority.rsplit('@').next()?;
    let host = match (scheme, host.split_once(':')) {
        ("ssh", Some((host, _port))) => host,
        (_, _) => host,
    };
    (!host.is_empty() && !path.is_empty()).then_some((host, path))
}

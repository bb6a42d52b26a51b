use super::ForgeKind::{GitHub, GitLab, Gitea};
use super::comments::same_text;
use super::*;

fn dialect(kind: ForgeKind, api: &str, repository: &str) -> Result<Dialect, String> {
    Dialect::new(kind, api, repository).map_err(|error| error.to_string())
}

#[test]
fn a_token_only_goes_to_an_encrypted_address_or_this_machine() {
    let github = |api| dialect(GitHub, api, "acme/fleet").map(|it| it.host());
    assert_eq!(github("https://api.github.com").unwrap(), "api.github.com");
    assert_eq!(github("http://127.0.0.1:8080/").unwrap(), "127.0.0.1:8080");
    let refused: Vec<String> = [
        "http://git.example.com/api/v1",
        "ftp://git.example.com",
        "https://jane:word@git.example.com",
        "https://git.example.com/?a=b",
        "git.example.com",
    ]
    .map(|api| github(api).unwrap_err())
    .to_vec();
    insta::assert_snapshot!(refused.join("\n"), @r"
    `http://git.example.com/api/v1` is not the address of an API: a token is sent over https only
    `ftp://git.example.com` is not the address of an API: it begins with https://
    `https://[redacted]` is not the address of an API: the token is not a part of it
    `https://git.example.com/?a=b` is not the address of an API: it ends with its path
    `git.example.com` is not the address of an API: relative URL without a base
    ");
}

#[test]
fn a_repository_is_named_as_its_host_does() {
    let path =
        |kind, name| dialect(kind, "http://[::1]/api", name).map(|it| it.pull(7).to_string());
    assert_eq!(
        path(GitHub, "acme/fleet").unwrap(),
        "http://[::1]/api/repos/acme/fleet/pulls/7"
    );
    assert_eq!(
        path(GitLab, "acme/infra/fleet").unwrap(),
        "http://[::1]/api/projects/acme%2Finfra%2Ffleet/merge_requests/7"
    );
    assert_eq!(
        path(GitLab, "4711").unwrap(),
        "http://[::1]/api/projects/4711/merge_requests/7"
    );
    for name in [
        "fleet",
        "acme/infra/fleet",
        "../fleet",
        "acme/fl?eet",
        "/fleet",
        "",
    ] {
        assert!(path(Gitea, name).is_err(), "{name}");
    }
    for name in ["acme/../fleet", "acme//fleet", "acme/fl eet"] {
        assert!(path(GitLab, name).is_err(), "{name}");
    }
}

#[test]
fn what_another_wrote_is_not_ours() {
    let comment = |author: &str, bot| Comment {
        id: 1,
        body: String::new(),
        author: author.to_owned(),
        bot,
    };
    let ours = |kind, comment: &Comment, me: Option<&str>| {
        let dialect = Dialect::new(kind, "https://a.example", "acme/fleet").unwrap();
        dialect.is_ours(comment, me)
    };
    assert!(ours(GitHub, &comment("drover", false), Some("drover")));
    assert!(!ours(GitHub, &comment("eve", false), Some("drover")));
    // The token of a job does not know its name: what a person wrote is not its.
    assert!(ours(GitHub, &comment("github-actions[bot]", true), None));
    assert!(!ours(GitHub, &comment("eve", false), None));
    assert!(ours(Gitea, &comment("gitea-actions", false), None));
    assert!(!ours(Gitea, &comment("eve", false), None));
    assert!(!ours(GitLab, &comment("eve", false), None));
}

#[test]
fn hosts_may_change_the_ends_of_lines() {
    assert!(same_text("a\r\nb\r\n", "a\nb"));
    assert!(!same_text("a\nb", "a\nc"));
}

#[test]
fn the_interface_of_queries_stands_beside_the_other_one() {
    let viewer = |kind, api| {
        let dialect = dialect(kind, api, "acme/fleet").unwrap();
        dialect.viewer().map(|(url, _)| url.to_string())
    };
    for (api, url) in [
        ("https://api.github.com", "https://api.github.com/graphql"),
        (
            "https://git.example.com/api/v3",
            "https://git.example.com/api/graphql",
        ),
        (
            "https://git.example.com/api/v3/",
            "https://git.example.com/api/graphql",
        ),
    ] {
        assert_eq!(viewer(GitHub, api).as_deref(), Some(url));
    }
    assert_eq!(viewer(GitLab, "https://gitlab.com/api/v4"), None);
    assert_eq!(viewer(Gitea, "https://codeberg.org/api/v1"), None);
}

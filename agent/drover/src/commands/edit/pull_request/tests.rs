use super::*;

#[test]
fn the_form_of_a_known_host_is_named() {
    let asked = |repository: &str| how_to_open(repository, "main", "drover/pr/scale-web-1a2b");
    let plain = "open a pull request from drover/pr/scale-web-1a2b into main";
    assert_eq!(
        asked("https://github.com/acme/fleet.git"),
        format!(
            "{plain}: https://github.com/acme/fleet/compare/main...drover/pr/scale-web-1a2b?expand=1"
        )
    );
    assert_eq!(
        asked("ssh://git@gitlab.example.com:2222/acme/ops/fleet.git"),
        format!(
            "{plain}: https://gitlab.example.com/acme/ops/fleet/-/merge_requests/new?\
             merge_request[source_branch]=drover/pr/scale-web-1a2b&merge_request[target_branch]=main"
        )
    );
    assert_eq!(
        asked("https://codeberg.org/acme/fleet"),
        format!("{plain}: https://codeberg.org/acme/fleet/compare/main...drover/pr/scale-web-1a2b")
    );
    for other in [
        "https://git.example.com/fleet.git",
        "ssh://git@127.0.0.1:22/srv/fleet.git",
        "/srv/fleet.git",
        "https://github.com/",
        "http://github.com/acme/fleet.git",
    ] {
        assert_eq!(asked(other), plain, "{other}");
    }
}

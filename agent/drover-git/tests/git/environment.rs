//! Nothing that is set for the `git` program, or for a person, has an effect on drover.

use std::fs;
use std::process::{Command, Stdio};

/// Tests that are run again, in this binary, in an environment that would break or weaken them.
const AGAIN: [&str; 4] = [
    "remote::a_listing_is_one_request_and_nothing_else",
    "remote::pushes_a_commit_and_creates_a_branch",
    "state::what_was_not_published_survives_a_restart",
    "tls::only_the_named_authority_is_trusted",
];

#[test]
fn settings_of_git_and_of_the_user_have_no_effect() {
    let home = tempfile::tempdir().unwrap();
    let config = "[url \"/elsewhere/\"]\n\tinsteadOf = http://127\n\
                  \tinsteadOf = https://127\n\
                  [http]\n\tsslVerify = false\n\tproxy = http://127.0.0.1:1\n\
                  \textraHeader = X-Extra: 1\n\
                  [safe]\n\tbareRepository = explicit\n[core]\n\tbare = true\n";
    fs::write(home.path().join(".gitconfig"), config).unwrap();
    fs::create_dir_all(home.path().join("git")).unwrap();
    fs::write(home.path().join("git/config"), config).unwrap();
    let missing = home.path().join("missing");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact"])
        .args(AGAIN)
        .env("HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path())
        .env("GIT_CONFIG_GLOBAL", home.path().join(".gitconfig"))
        .env("GIT_CONFIG_SYSTEM", home.path().join(".gitconfig"))
        .env("GIT_DIR", &missing)
        .env("GIT_OBJECT_DIRECTORY", &missing)
        .env("GIT_INDEX_FILE", &missing)
        .env("GIT_SSL_CAINFO", &missing)
        .env("GIT_SSL_NO_VERIFY", "1")
        .env("http_proxy", "http://127.0.0.1:1")
        .env("https_proxy", "http://127.0.0.1:1")
        .env("ALL_PROXY", "http://127.0.0.1:1")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let all = format!("{} passed", AGAIN.len());
    assert!(text.contains(&all), "{text}");
}

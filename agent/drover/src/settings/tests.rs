use drover_git::SshIdentity;

use super::*;

fn config(text: &str) -> (PathBuf, AgentConfig) {
    let path = PathBuf::from("/etc/drover/agent.yaml");
    (
        path,
        agent_config::parse("agent.yaml", text.as_bytes()).unwrap(),
    )
}

const FILE: &str = "name: edge-1\nfleet: prod\nsource: {url: /srv/fleet.git, branch: live, interval: 5s}\n\
                    dataDir: /srv/data\nlisten: 'off'\nproviders: {allow: [process]}\n";

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let mut options = AgentOptions::default();
    let file = Settings::resolve(&options, Some(config(FILE))).unwrap();
    assert_eq!(file.branch, "live");
    assert_eq!(file.interval, Duration::from_secs(5));
    assert_eq!(file.listen, Listen::Off);
    assert_eq!(file.fleet.as_str(), "prod");
    assert_eq!(file.state_branch, "drover/state");
    assert_eq!(file.source_url().unwrap().redacted(), "/srv/fleet.git");

    options.source.branch = Some("next".to_owned());
    options.interval = Some(Duration::from_secs(9));
    options.allow_provider = vec!["docker".parse().unwrap()];
    let both = Settings::resolve(&options, Some(config(FILE))).unwrap();
    assert_eq!(both.branch, "next");
    assert_eq!(both.interval, Duration::from_secs(9));
    assert!(!both.allowed.allows(&"process".parse().unwrap()));

    let none = Settings::resolve(&AgentOptions::default(), None).unwrap();
    assert_eq!(none.branch, "main");
    assert_eq!(none.data_dir, Path::new("/var/lib/drover"));
    assert_eq!(none.fleet.as_str(), none.name.as_str());
    assert!(!none.allowed.allows(&"process".parse().unwrap()));
    assert!(none.allowed.allows(&"simulated".parse().unwrap()));
}

#[test]
fn recorded_state_never_goes_to_the_watched_branch() {
    let resolved = |branch: Option<&str>, state: Option<&str>| {
        let mut options = AgentOptions::default();
        options.source.branch = branch.map(str::to_owned);
        options.source.state_branch = state.map(str::to_owned);
        let resolved = Settings::resolve(&options, Some(config(FILE)));
        resolved.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(resolved(None, None), Ok(()));
    let same = "recorded state cannot go to the watched branch";
    for (branch, state) in [
        (None, Some("live")),
        (Some("drover/state"), None),
        (Some("a"), Some("a")),
    ] {
        let error = resolved(branch, state).unwrap_err();
        assert!(error.starts_with(same), "{error}");
    }
    assert_eq!(
        resolved(None, Some("a b")).unwrap_err(),
        "--state-branch: \"a b\" is not the name of a branch"
    );
    assert_eq!(
        resolved(Some("refs/heads/x"), None).unwrap_err(),
        "--branch: \"refs/heads/x\" is not the name of a branch"
    );
}

#[test]
fn processes_are_kept_in_the_data_folder_unless_somebody_says_otherwise() {
    let kept = |options: &AgentOptions, text: &str| {
        let settings = Settings::resolve(options, Some(config(text))).unwrap();
        settings.process_dir.display().to_string()
    };
    let elsewhere = format!("{FILE}processDir: /srv/instances\n");
    let mut options = AgentOptions::default();
    assert_eq!(kept(&options, FILE), "/srv/data/process");
    assert_eq!(kept(&options, &elsewhere), "/srv/instances");
    options.source.data_dir = Some("/data".into());
    assert_eq!(kept(&options, FILE), "/data/process");
    assert_eq!(kept(&options, &elsewhere), "/srv/instances");
    options.process_dir = Some("/flag".into());
    assert_eq!(kept(&options, &elsewhere), "/flag");
}

#[test]
fn the_process_provider_has_to_be_allowed() {
    let unlisted = FILE.replace("providers: {allow: [process]}\n", "");
    let settings = Settings::resolve(&AgentOptions::default(), Some(config(&unlisted))).unwrap();
    assert!(!settings.allowed.allows(&"process".parse().unwrap()));
}

#[test]
fn another_name_keeps_the_fleet_that_the_file_names_and_replaces_the_one_it_implies() {
    let options = AgentOptions {
        name: Some("edge-2".parse().unwrap()),
        ..AgentOptions::default()
    };
    let named = Settings::resolve(&options, Some(config(FILE))).unwrap();
    assert_eq!(named.fleet.as_str(), "prod");
    let implied = FILE.replace("fleet: prod\n", "");
    let implied = Settings::resolve(&options, Some(config(&implied))).unwrap();
    assert_eq!(implied.fleet.as_str(), "edge-2");
}

#[test]
fn without_a_source_the_error_says_what_to_do() {
    let settings = Settings::resolve(&AgentOptions::default(), None).unwrap();
    let error = settings.source_url().unwrap_err();
    assert_eq!(error.status(), Exit::Usage);
    assert!(error.render().contains("--config"), "{}", error.render());
}

#[test]
fn a_credential_is_read_from_its_file_and_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "tulip\n").unwrap();
    let text = FILE.replace("/srv/fleet.git", "https://git.example.com/fleet.git")
        + &format!(
            "credentials: {{source: {{tokenFile: {}}}}}\n",
            token.display()
        );
    let settings = Settings::resolve(&AgentOptions::default(), Some(config(&text))).unwrap();
    let login = settings.remote.credentials.as_ref().unwrap();
    let credentials = login.read().unwrap();
    assert_eq!(credentials.password.expose(), "tulip");
    assert!(!format!("{settings:?} {credentials:?}").contains("tulip"));
    // What is rotated takes effect without a restart.
    fs::write(&token, "rose\n").unwrap();
    assert_eq!(login.read().unwrap().password.expose(), "rose");
    fs::remove_file(&token).unwrap();
    let error = Settings::resolve(&AgentOptions::default(), Some(config(&text))).unwrap_err();
    assert!(error.render().contains("token"), "{}", error.render());
}

#[test]
fn credentials_of_the_file_are_not_used_for_another_repository() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "tulip\n").unwrap();
    let text = FILE.replace("/srv/fleet.git", "https://git.example.com/fleet.git")
        + &format!(
            "credentials: {{source: {{tokenFile: {0}, caFile: {0}}}}}\n",
            token.display()
        );
    let mut options = AgentOptions::default();
    for (url, used) in [
        ("https://git.example.com/fleet.git", true),
        ("https://GIT.example.com:443/fleet.git/", true),
        ("https://git.example.com/other.git", false),
        ("http://git.example.com/fleet.git", false),
        ("https://git.example.com:8443/fleet.git", false),
        ("https://evil.example.com/fleet.git", false),
    ] {
        options.source.source = Some(url.to_owned());
        let settings = Settings::resolve(&options, Some(config(&text))).unwrap();
        assert_eq!(settings.remote.credentials.is_some(), used, "{url}");
        assert_eq!(settings.remote.ca_file.is_some(), used, "{url}");
    }
}

#[test]
fn registries_get_their_credentials_and_their_programs_little_of_the_environment() {
    let text = format!(
        "{FILE}docker:
  registries:
    - {{registry: Registry.example.com/shop, username: robot, passwordFile: /etc/drover/registry}}
    - {{registry: index.docker.io, configFile: /etc/drover/docker.json}}
"
    );
    let settings = Settings::resolve(&AgentOptions::default(), Some(config(&text))).unwrap();
    let registries = settings.places(Path::new("/")).grants.registries;
    let login = |host: &str, prefix: &str, source| RegistryLogin {
        host: host.to_owned(),
        prefix: prefix.to_owned(),
        source,
    };
    let password = LoginSource::Password {
        username: "robot".to_owned(),
        file: "/etc/drover/registry".into(),
    };
    let file = LoginSource::ConfigFile("/etc/drover/docker.json".into());
    let expected = [
        login("registry.example.com", "shop", password),
        login("docker.io", "", file),
    ];
    assert_eq!(registries.logins, expected);
    let given: Vec<&String> = registries.helper_environment.keys().collect();
    // The test itself has more, of Cargo's.
    assert!(
        given
            .iter()
            .all(|name| HELPER_VARIABLES.contains(&name.as_str())),
        "{given:?}"
    );
    assert!(given.contains(&&"PATH".to_owned()), "{given:?}");
}

#[test]
fn ssh_takes_its_key_and_its_known_hosts_from_the_file() {
    let text = FILE.replace(
        "/srv/fleet.git",
        "'ssh://git@git.example.com/fleet.git', knownHosts: /etc/known",
    ) + "credentials: {source: {sshKeyFile: /etc/key, sshPassphraseFile: /etc/phrase}, push: {sshAgent: /run/agent}}\n";
    let settings = Settings::resolve(&AgentOptions::default(), Some(config(&text))).unwrap();
    let ssh = &settings.remote.ssh;
    assert_eq!(ssh.known_hosts, [PathBuf::from("/etc/known")]);
    let key = SshIdentity::KeyFile {
        path: "/etc/key".into(),
        passphrase: Some("/etc/phrase".into()),
    };
    assert_eq!(ssh.identity, Some(key));
    let agent = SshIdentity::Agent {
        socket: "/run/agent".into(),
    };
    assert_eq!(ssh.write_identity, Some(agent));
    assert_eq!(
        settings.source_url().unwrap().redacted(),
        "ssh://git@git.example.com/fleet.git"
    );
}

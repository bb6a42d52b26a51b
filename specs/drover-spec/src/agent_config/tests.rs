use super::*;
use crate::render;

fn parsed(text: &str) -> AgentConfig {
    parse("agent.yaml", text.as_bytes()).unwrap()
}

/// Returns the mistakes as people see them.
fn mistakes(text: &str) -> String {
    let diagnostics = parse("agent.yaml", text.as_bytes()).unwrap_err();
    render(&diagnostics, &|_| Some(text.to_owned()), false)
}

#[test]
fn fills_in_every_default() {
    let config = parsed("name: edge-1\nsource: {url: /srv/fleet.git}\n");
    assert_eq!(config.fleet.as_str(), "edge-1");
    assert_eq!(config.mode, Mode::Act);
    assert_eq!(config.source.branch, "main");
    assert_eq!(config.source.path, "");
    assert_eq!(config.source.interval, Duration::from_secs(30));
    assert_eq!(config.source.credentials, CredentialFiles::default());
    assert_eq!(config.state_branch, "drover/state");
    assert_eq!(config.data_dir, Path::new("/var/lib/drover"));
    assert_eq!(config.process_dir, None);
    assert_eq!(config.plugins, PluginsConfig::default());
    assert_eq!(config.listen, "127.0.0.1:7643".parse().ok());
    let allowed = |type_| config.allows(&ProviderType::parse(type_).unwrap());
    assert!(allowed("docker"));
    assert!(!allowed("process"), "it runs as the agent's own user");
}

#[test]
fn reads_every_field() {
    let config = parsed(
        "\
name: edge-1
fleet: prod
mode: observe
source: {url: 'https://git.example.com/fleet.git', branch: release/1, path: eu/west/, interval: 1m}
state: {branch: drover/edge-1}
dataDir: /data
processDir: /instances
listen: '[::1]:80'
providers: {allow: [process]}
plugins: {dir: /run/plugins}
credentials:
  source: {usernameFile: /run/user, passwordFile: /run/password, caFile: /run/ca.pem}
",
    );
    assert_eq!(config.fleet.as_str(), "prod");
    assert_eq!(config.mode, Mode::Observe);
    assert_eq!(config.source.path, "eu/west");
    assert_eq!(config.process_dir.as_deref(), Some(Path::new("/instances")));
    assert_eq!(config.source.url_span.column, 15);
    assert_eq!(
        config.plugins.dir.as_deref(),
        Some(Path::new("/run/plugins"))
    );
    assert_eq!(config.listen, "[::1]:80".parse().ok());
    assert!(config.allows(&ProviderType::parse("process").unwrap()));
    assert!(!config.allows(&ProviderType::parse("docker").unwrap()));
    let files = &config.source.credentials;
    assert_eq!(files.password.as_deref(), Some(Path::new("/run/password")));
    assert_eq!(
        parsed("name: a\nsource: {url: x}\nlisten: off\n").listen,
        None
    );
}

#[test]
fn reports_every_mistake_of_the_file() {
    insta::assert_snapshot!(mistakes(
        "\
nmae: edge-1
source: {url: '', branch: -x, path: ../up, interval: 5}
state: {branch: drover/state.lock}
dataDir: data
processDir: instances
listen: 0.0.0.0:80
providers: {allow: [Docker]}
plugins: {dir: plugins}
credentials: {source: {tokenFile: /a, passwordFile: /b}}
"
    ));
}

#[test]
fn refuses_to_record_on_the_watched_branch() {
    insta::assert_snapshot!(mistakes("name: a\nsource: {url: x}\nstate: {branch: main}\n"), @r"
error[inconsistent]: recorded state cannot go to the watched branch
 --> agent.yaml:3:8
  |
3 | state: {branch: main}
  |        ^^^^^^^^^^^^^^
");
}

#[test]
fn refuses_anything_but_one_document() {
    assert!(parse("agent.yaml", b"").is_err());
    assert!(parse("agent.yaml", b"a: 1\n---\nb: 2\n").is_err());
    assert!(parse("agent.yaml", b"\xff").is_err());
    assert!(parse("agent.yaml", b"a: [").is_err());
}

#[test]
fn knows_the_names_that_git_refuses() {
    for name in ["main", "drover/state", "a.b", "feature/x-1", "ünïcode"] {
        assert!(is_branch(name), "{name}");
    }
    for name in [
        "",
        "-a",
        "a..b",
        "a b",
        "a/",
        "/a",
        "a//b",
        ".a",
        "a/.b",
        "a.lock",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\b",
        "@",
        "a@{1}",
        "HEAD",
        "refs/heads/a",
        "a.",
        "a\u{7f}",
    ] {
        assert!(!is_branch(name), "{name}");
    }
}

#[test]
fn reads_whose_signatures_count_and_what_signs() {
    let config = parsed(
        "\
name: edge-1
source: {url: 'git@git.example.com:fleet.git', knownHosts: /etc/known, verify: {mode: tag, gnupgHome: /etc/gnupg}}
signers: /etc/signers
key: /etc/key
keyPassphraseFile: /etc/phrase
credentials:
  source: {sshKeyFile: /run/key, sshPassphraseFile: /run/phrase}
  push: {sshAgent: /run/agent, usernameFile: /run/user}
",
    );
    let path = |text: &str| Some(PathBuf::from(text));
    let verify = Verify {
        mode: VerifyMode::Tag,
        signers: None,
        gnupg_home: path("/etc/gnupg"),
        paths: Vec::new(),
    };
    assert_eq!(config.source.verify, Some(verify));
    assert_eq!(config.source.known_hosts, path("/etc/known"));
    assert_eq!(config.signers, path("/etc/signers"));
    assert_eq!(config.key, Some(("/etc/key".into(), path("/etc/phrase"))));
    let files = &config.source.credentials;
    assert_eq!(
        (&files.ssh_key, &files.ssh_passphrase),
        (&path("/run/key"), &path("/run/phrase"))
    );
    let push = config.source.push_credentials.unwrap();
    assert_eq!(
        (push.ssh_agent, push.username),
        (path("/run/agent"), path("/run/user"))
    );
    let plain = parsed("name: a\nsource: {url: x, verify: {signers: /s}}\n");
    assert_eq!(plain.source.verify.unwrap().mode, VerifyMode::Head);
    assert_eq!((plain.signers, plain.key), (None, None));
}

#[test]
fn files_may_have_signers_of_their_own() {
    let paths = |text: &str| {
        let verify = format!("verify: {{signers: /s, paths: {text}}}");
        format!("name: a\nsource: {{url: x, {verify}}}\n")
    };
    let config = parsed(&paths(
        "[{match: [policies/, '!policies/drafts/'], signers: /p}]",
    ));
    let rule = VerifyPath {
        patterns: vec!["policies/".to_owned(), "!policies/drafts/".to_owned()],
        signers: Some("/p".into()),
        gnupg_home: None,
    };
    assert_eq!(config.source.verify.unwrap().paths, [rule]);
    for (bad, why) in [
        ("[{match: [policies/]}]", "nobody could change these files"),
        ("[{signers: /p}]", "`match` is missing"),
        ("[{match: [], signers: /p}]", "match"),
        ("[{match: [a], signers: p}]", "must be an absolute path"),
        ("[]", "paths"),
    ] {
        let told = mistakes(&paths(bad));
        assert!(told.contains(why), "{bad}: {told}");
    }
}

#[test]
fn an_outage_is_longer_than_the_interval() {
    let read = |text: &str| {
        let file = format!("name: a\nsource: {{url: x, interval: 1m, outage: {text}}}\n");
        parse("agent.yaml", file.as_bytes())
    };
    let outage = read("{after: 15m, mode: holdCapacity}")
        .unwrap()
        .source
        .outage;
    let expected = (OutageMode::HoldCapacity, Duration::from_mins(15));
    assert_eq!(outage, Some(expected));
    let mistakes = [
        "{after: 1m, mode: freeze}",
        "{mode: freeze}",
        "{after: 15m}",
        "{after: 15m, mode: panic}",
    ];
    for text in mistakes {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn credentials_are_for_https_or_for_this_machine() {
    let told = |url: &str, files: &str| {
        let text = format!("name: a\nsource: {{url: '{url}'}}\ncredentials: {files}\n");
        let found = parse("agent.yaml", text.as_bytes());
        found.err().map(|_| mistakes(&text))
    };
    let token = "{source: {tokenFile: /t}}";
    let push = "{push: {usernameFile: /u, passwordFile: /p}}";
    for (url, files) in [
        ("http://git.example.com/x", token),
        ("HTTP://git.example.com:8080/x", push),
        ("http://127.0.0.1.example.com/x", token),
    ] {
        let told = told(url, files).unwrap();
        let why = "`url` must begin with https://: credentials are sent over https only";
        assert!(told.contains(why), "{url}: {told}");
        assert!(told.contains("agent.yaml:2:15"), "{url}: {told}");
    }
    for (url, files) in [
        ("https://git.example.com/x", token),
        ("http://git.example.com/x", "{source: {caFile: /c}}"),
        ("http://127.0.0.1:8080/x", token),
        ("http://[::1]:8080/x", push),
        ("http://localhost/x", token),
        ("git@git.example.com:x", token),
        ("/srv/x", token),
        // Refused by who opens it, without its line.
        ("http://me:word@git.example.com/x", token),
    ] {
        assert_eq!(told(url, files), None, "{url}");
    }
}

#[test]
fn reads_which_way_requests_take() {
    let proxy = |text: &str| {
        let more = "credentials: {proxy: {usernameFile: /u, passwordFile: /p}}\n";
        parsed(&format!(
            "name: a\nsource: {{url: x, proxy: {text}}}\n{more}"
        ))
        .source
        .proxy
    };
    let credentials = CredentialFiles {
        username: Some("/u".into()),
        password: Some("/p".into()),
        ..CredentialFiles::default()
    };
    let through = Proxy::Through {
        url: "https://proxy:3128".to_owned(),
        credentials: Box::new(credentials),
    };
    assert_eq!(proxy("'https://proxy:3128'"), Some(through));
    for here in ["http://127.0.0.1:3128", "http://localhost:3128"] {
        assert!(proxy(&format!("'{here}'")).is_some());
    }
    let open = "name: a\nsource: {url: x, proxy: 'http://proxy:3128'}\n";
    assert!(parsed(open).source.proxy.is_some());
    let credentials = "credentials: {proxy: {usernameFile: /u, passwordFile: /p}}\n";
    let told = mistakes(&format!("{open}{credentials}"));
    assert!(
        told.contains("credentials are sent over https only"),
        "{told}"
    );
    assert_eq!(proxy("off"), Some(Proxy::Off));
    assert_eq!(parsed("name: a\nsource: {url: x}\n").source.proxy, None);
    for bad in [
        "socks5://proxy:1080",
        "http://me:word@proxy",
        "http://",
        "proxy:3128",
    ] {
        let text = format!("name: a\nsource: {{url: x, proxy: '{bad}'}}\n");
        let told = mistakes(&text);
        assert!(told.contains("must be `off`, or http://"), "{bad}: {told}");
    }
    let alone = "name: a\nsource: {url: x}\ncredentials: {source: {clientKeyFile: /k}}\n";
    assert!(mistakes(alone).contains("belong together"));
}

#[test]
fn settings_of_keys_that_contradict_each_other_are_mistakes() {
    let text = "\
name: a
source: {url: x, verify: {}, knownHosts: known}
credentials:
  source: {sshKeyFile: /a, sshAgent: /b}
  push: {sshPassphraseFile: /a, caFile: /b}
";
    let mistakes = parse("agent.yaml", text.as_bytes()).unwrap_err();
    let line = |d: &Diagnostic| format!("{}: {}", d.span, d.message);
    let lines = mistakes.iter().map(line).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(lines, @"
    agent.yaml:2:26: nobody's signature would count: write `signers` or `gnupgHome`
    agent.yaml:2:42: `knownHosts` must be an absolute path
    agent.yaml:4:38: write either `sshKeyFile` or `sshAgent`
    agent.yaml:5:29: a passphrase is of use with `sshKeyFile` only
    agent.yaml:5:33: unknown field `caFile`
    ");
}

#[test]
fn an_open_pgp_key_is_named_by_its_whole_fingerprint_and_signs_alone() {
    let head = "name: a\nsource: {url: x}\n";
    let digits = "98dfea7130a300ae60279525ccd5784c33b04e6f";
    let rest = format!("openPgp: {{gnupgHome: /g, fingerprint: '{digits}', passphraseFile: /p}}\n");
    let config = parsed(&format!("{head}{rest}"));
    let expected = OpenPgpConfig {
        gnupg_home: "/g".into(),
        fingerprint: digits.to_ascii_uppercase(),
        passphrase: Some("/p".into()),
    };
    assert_eq!(config.open_pgp, Some(expected));
    for (text, why) in [
        (format!("key: /k\n{rest}"), "either `key` or `openPgp`"),
        (
            "openPgp: {gnupgHome: /g, fingerprint: '33B04E6F'}".to_owned(),
            "whole fingerprint",
        ),
        (
            "openPgp: {gnupgHome: g, fingerprint: '33B04E6F'}".to_owned(),
            "absolute path",
        ),
        ("openPgp: {gnupgHome: /g}".to_owned(), "`fingerprint`"),
    ] {
        let mistakes = parse("agent.yaml", format!("{head}{text}").as_bytes()).unwrap_err();
        let found = mistakes.iter().any(|mistake| mistake.message.contains(why));
        assert!(found, "{text}: {mistakes:?}");
    }
}

#[test]
fn reads_how_much_a_fetch_may_bring() {
    let limits = |limits: &str| {
        parsed(&format!("name: a\nsource: {{url: x, limits: {limits}}}\n"))
            .source
            .limits
    };
    let both = SourceLimits {
        objects: Some(2_000_000),
        object_bytes: Some(64 << 20),
        listing_bytes: Some(1 << 30),
    };
    let written = "{objects: 2000000, object: 64MiB, listing: 1GiB}";
    assert_eq!(limits(written), both);
    assert_eq!(limits("{}"), SourceLimits::default());
    let plain = parsed("name: a\nsource: {url: x}\n");
    assert_eq!(plain.source.limits, SourceLimits::default());
    let bad = mistakes("name: a\nsource: {url: x, limits: {objects: 10, object: 12MB}}\n");
    assert!(bad.contains("must be at least 1MiB"), "{bad}");
    assert!(bad.contains("1000"), "{bad}");
}

fn with_sources(sources: &str) -> String {
    let text =
        format!("name: edge-1\nsource: {{url: /srv/fleet.git}}\nmetrics:\n  sources:\n{sources}");
    match parse("agent.yaml", text.as_bytes()) {
        Ok(config) => format!("{:?}", config.metric_sources),
        Err(mistakes) => {
            let line = |d: &Diagnostic| format!("{}: {}", d.span, d.message);
            mistakes.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn sources_of_metrics_are_what_their_type_says() {
    let found = with_sources(
        "    - {name: prom, type: prometheus, url: \"http://127.0.0.1:9090/prom\", timeout: 2s, tokenFile: /etc/t}
    - {name: cost, type: file, path: /var/lib/cost.json}
    - {name: q, type: program, command: [/usr/bin/q, --depth]}\n",
    );
    insta::assert_snapshot!(found.replace("}, Metric", "},\nMetric"), @r#"
    [MetricSourceConfig { name: SourceName(prom), timeout: 2s, kind: Prometheus { url: "http://127.0.0.1:9090/prom", token: Some("/etc/t"), ca: None } },
    MetricSourceConfig { name: SourceName(cost), timeout: 5s, kind: File { path: "/var/lib/cost.json" } },
    MetricSourceConfig { name: SourceName(q), timeout: 5s, kind: Program { program: "/usr/bin/q", args: ["--depth"] } }]
    "#);
}

#[test]
fn mistakes_in_sources_of_metrics_say_where_they_are() {
    let found = with_sources(
        "    - {name: a, type: prometheus, path: /x}
    - {name: a, type: file, path: relative}
    - {name: b, type: program, command: [q]}
    - {name: c, type: prometheus, url: \"ftp://x\"}
    - {name: d, type: prometheus, url: \"http://me@x\"}
    - {name: e, type: graphite, url: \"http://x\", timeout: 60s}
    - {name: f, type: prometheus, url: \"http://prom:9090\", tokenFile: /t}
    - {name: g, type: prometheus, url: \"http://prom:9090\"}\n",
    );
    insta::assert_snapshot!(found, @"
    agent.yaml:5:7: `url` is missing from a source of type `prometheus`
    agent.yaml:5:35: `path` is for the type `file`, this is `prometheus`
    agent.yaml:6:14: the source `a` is there twice
    agent.yaml:6:35: `path` must be an absolute path
    agent.yaml:7:41: `command` must begin with an absolute path
    agent.yaml:8:40: `url` must be http:// or https:// with a host, without user name, query and fragment
    agent.yaml:9:40: `url` must be http:// or https:// with a host, without user name, query and fragment
    agent.yaml:10:23: `type` must be one of `prometheus`, `file`, `program`
    agent.yaml:10:59: `timeout` must be from 100ms to 10s
    agent.yaml:11:40: `url` must begin with https://: credentials are sent over https only, or to this machine
    ");
}

fn with_plugins(start: &str) -> String {
    let text =
        format!("name: edge-1\nsource: {{url: /srv/fleet.git}}\nplugins:\n  start:\n{start}");
    match parse("agent.yaml", text.as_bytes()) {
        Ok(config) => format!("{:?}", config.plugins.start),
        Err(mistakes) => {
            let line = |d: &Diagnostic| format!("{}: {}", d.span, d.message);
            mistakes.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn plugins_to_start_are_read_with_their_limits() {
    let found = with_plugins(
        "    - {name: ec2, command: [/usr/bin/drover-provider-ec2, '${socket}'], memory: 256MiB, env: {A: b}, startTimeout: 3s}
    - {name: small, command: [/bin/small]}\n",
    );
    insta::assert_snapshot!(found.replace("}, Plugin", "},\nPlugin"), @r#"
    [PluginConfig { name: "ec2", program: "/usr/bin/drover-provider-ec2", args: ["${socket}"], env: {"A": "b"}, memory: Some(268435456), start_timeout: 3s },
    PluginConfig { name: "small", program: "/bin/small", args: [], env: {}, memory: None, start_timeout: 10s }]
    "#);
}

#[test]
fn mistakes_in_plugins_to_start_say_where_they_are() {
    let found = with_plugins(
        "    - {name: a, command: [relative]}
    - {name: b, command: [/b], memory: 256MB}
    - {name: c, command: [/c], memory: 1KiB}
    - {name: c, command: [/c], memory: 99999999999999GiB}
    - {name: A, command: []}
    - {name: d, command: [/d]}
    - {name: d, command: [/d], env: {'1': x}, startTimeout: 1h}\n",
    );
    insta::assert_snapshot!(found, @"
    agent.yaml:5:26: `command` must begin with an absolute path
    agent.yaml:6:40: `memory` must be at least 1MiB, with the unit KiB, MiB or GiB
    agent.yaml:7:40: `memory` must be at least 1MiB, with the unit KiB, MiB or GiB
    agent.yaml:8:14: the plugin `c` is there twice
    agent.yaml:8:40: `memory` must be at least 1MiB, with the unit KiB, MiB or GiB
    agent.yaml:9:14: `name` contains 'A'; only lower-case letters, digits and '-' are allowed
    agent.yaml:9:26: `command` must have at least 1 entry
    agent.yaml:11:14: the plugin `d` is there twice
    agent.yaml:11:38: `1` cannot be an environment variable: it must have letters, digits and '_', and not begin with a digit
    agent.yaml:11:61: `startTimeout` must be from 100ms to 10m
    ");
}

#[test]
fn webhooks_are_read_with_their_types() {
    let config = parsed(
        "\
name: a
source: {url: x}
webhooks:
  - {id: gh-1, type: github, secretFile: /etc/gh}
  - {id: gl, type: gitlab, secretFile: /etc/gl}
  - {id: gt, type: gitea, secretFile: /etc/gt}
  - {id: any, type: generic, secretFile: /etc/any}
",
    );
    let found = config.webhooks.iter().map(|hook| {
        let secret = hook.secret_file.display();
        format!("{} {:?} {secret}", hook.id, hook.kind)
    });
    insta::assert_snapshot!(found.collect::<Vec<_>>().join("\n"), @"
    gh-1 GitHub /etc/gh
    gl GitLab /etc/gl
    gt Gitea /etc/gt
    any Generic /etc/any
    ");
    assert!(parsed("name: a\nsource: {url: x}\n").webhooks.is_empty());
}

#[test]
fn mistakes_in_webhooks_say_where_they_are() {
    let text = "\
name: a
source: {url: x}
listen: off
webhooks:
  - {id: A, type: github, secretFile: /a}
  - {id: b, type: bitbucket, secretFile: b}
  - {id: c, type: gitlab}
  - {id: d, type: gitlab, secretFile: /d, secret: plain}
  - {id: d, type: gitea, secretFile: /d}
";
    let mistakes = parse("agent.yaml", text.as_bytes()).unwrap_err();
    let line = |d: &Diagnostic| format!("{}: {}", d.span, d.message);
    let lines = mistakes.iter().map(line).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(lines, @"
    agent.yaml:5:3: webhooks are answered on `listen`, which is `off`
    agent.yaml:5:10: `id` contains 'A'; only lower-case letters, digits and '-' are allowed
    agent.yaml:6:19: `type` must be one of `github`, `gitlab`, `gitea`, `generic`
    agent.yaml:6:42: `secretFile` must be an absolute path
    agent.yaml:7:5: `secretFile` is missing from a webhook
    agent.yaml:8:43: unknown field `secret`
    agent.yaml:9:10: the webhook `d` is there twice
    ");
}

/// Reads `docker` of an agent's file.
fn with_docker(docker: &str) -> Result<DockerConfig, String> {
    let text = format!("name: edge-1\nsource: {{url: /srv/fleet.git}}\ndocker: {docker}\n");
    match parse("agent.yaml", text.as_bytes()) {
        Ok(config) => Ok(config.docker),
        Err(mistakes) => {
            let messages = mistakes.iter().map(|mistake| mistake.message.clone());
            Err(messages.collect::<Vec<_>>().join("; "))
        }
    }
}

#[test]
fn what_containers_may_have_of_the_machine_is_nothing_unless_it_is_written() {
    assert_eq!(with_docker("{}"), Ok(DockerConfig::default()));
    let text = "{endpoints: ['unix:///run/podman/podman.sock'], networks: [web_1, db.local], \
                mounts: [{path: /srv/www}, {path: /srv/cache, readOnly: false}]}";
    let mount = |path: &str, read_only| DockerMount {
        path: path.to_owned(),
        read_only,
    };
    let read = DockerConfig {
        endpoints: vec!["unix:///run/podman/podman.sock".to_owned()],
        networks: vec!["web_1".to_owned(), "db.local".to_owned()],
        mounts: vec![mount("/srv/www", true), mount("/srv/cache", false)],
        registries: Vec::new(),
    };
    assert_eq!(with_docker(text), Ok(read));
}

#[test]
fn what_is_no_socket_no_network_or_no_absolute_path_is_not_granted() {
    for endpoint in [
        "tcp://127.0.0.1:2375",
        "unix://podman.sock",
        "/run/podman.sock",
    ] {
        let mistakes = with_docker(&format!("{{endpoints: ['{endpoint}']}}")).unwrap_err();
        assert!(mistakes.contains("must be sockets"), "{mistakes}");
    }
    for network in ["host", "none", "'container:db'", "'ns:/proc/1/ns/net'"] {
        let mistakes = with_docker(&format!("{{networks: [{network}]}}")).unwrap_err();
        assert!(mistakes.contains("must be names of networks"), "{mistakes}");
    }
    let mistakes = with_docker("{mounts: [{path: srv}]}").unwrap_err();
    assert!(mistakes.contains("must be an absolute path"), "{mistakes}");
    for path in ["/srv/../etc", "/srv/./www", "/srv//www", "/srv/.."] {
        let mistakes = with_docker(&format!("{{mounts: [{{path: {path}}}]}}")).unwrap_err();
        assert!(mistakes.contains("must have no `.`, `..`"), "{mistakes}");
    }
    with_docker("{mounts: [{path: /srv/.well-known/..data}, {path: /}]}").unwrap();
}

#[test]
fn registries_are_read_as_images_name_them() {
    let text = "{registries: [
  {registry: registry.example.com, username: robot, passwordFile: /etc/drover/registry},
  {registry: 'Registry.example.com:5000/shop/web', configFile: /etc/drover/docker.json},
  {registry: localhost, configFile: /c}, {registry: index.docker.io/shop, configFile: /c}]}";
    let password = DockerLogin::Password {
        username: "robot".to_owned(),
        file: "/etc/drover/registry".into(),
    };
    let config = |path: &str| DockerLogin::ConfigFile(path.into());
    let registry = |host: &str, prefix: &str, login| DockerRegistry {
        host: host.to_owned(),
        prefix: prefix.to_owned(),
        login,
    };
    let read = [
        registry("registry.example.com", "", password),
        registry(
            "registry.example.com:5000",
            "shop/web",
            config("/etc/drover/docker.json"),
        ),
        registry("localhost", "", config("/c")),
        registry("docker.io", "shop", config("/c")),
    ];
    assert_eq!(with_docker(text).unwrap().registries, read);
}

#[test]
fn what_is_wrong_with_a_registry_is_told_with_its_place_and_what_was_meant() {
    let text = "\
name: edge-1
source: {url: /srv/fleet.git}
docker:
  registries:
    - {registry: https://a.example/v2/, configFile: /c}
    - {registry: shop, configFile: /c}
    - {registry: a.example/Shop, configFile: /c}
    - {registry: 'robot@a.example', configFile: /c}
    - {registry: 'a.example:x', configFile: /c}
    - {registry: a.example/, configFile: /c}
    - {registry: a.example}
    - {registry: b.example, username: robot}
    - {registry: c.example, passwordFile: /p}
    - {registry: d.example, username: robot, passwordFile: /p, configFile: /c}
    - {registry: e.example, username: 'a:b', passwordFile: /p}
    - {registry: f.example, username: robot, passwordFile: p}
    - {registry: g.example, username: robot, passwordfile: /p, configFile: /c}
    - {username: robot, passwordFile: /p}
    - {registry: docker.io, configFile: /c}
    - {registry: Index.Docker.io, configFile: /c}
";
    let mistakes = parse("agent.yaml", text.as_bytes()).unwrap_err();
    let line = |d: &Diagnostic| {
        let hint = d
            .hint
            .as_ref()
            .map_or(String::new(), |hint| format!(" ({hint})"));
        format!("{}: {}{hint}", d.span, d.message)
    };
    let lines = mistakes.iter().map(line).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(lines, @"
    agent.yaml:5:18: `registry` must be a host, with a path if it is for some of its images only, as images name them: such as registry.example.com:5000/shop (did you mean `a.example`?)
    agent.yaml:6:18: `registry` must be a host, with a path if it is for some of its images only, as images name them: such as registry.example.com:5000/shop (did you mean `docker.io/shop`?)
    agent.yaml:7:18: `registry` must be a host, with a path if it is for some of its images only, as images name them: such as registry.example.com:5000/shop
    agent.yaml:8:18: `registry` must be a host, with a path if it is for some of its images only, as images name them: such as registry.example.com:5000/shop
    agent.yaml:9:18: `registry` must be a host, with a path if it is for some of its images only, as images name them: such as registry.example.com:5000/shop
    agent.yaml:10:18: `registry` must be a host, with a path if it is for some of its images only, as images name them: such as registry.example.com:5000/shop (did you mean `a.example`?)
    agent.yaml:11:18: write where the credentials are: `username` and `passwordFile`, or `configFile`
    agent.yaml:12:39: `username` and `passwordFile` belong together
    agent.yaml:13:43: `username` and `passwordFile` belong together
    agent.yaml:14:76: write either `configFile`, or `username` and `passwordFile`
    agent.yaml:15:39: `username` must be a name without a colon
    agent.yaml:16:60: `passwordFile` must be an absolute path
    agent.yaml:17:46: unknown field `passwordfile` (did you mean `passwordFile`?)
    agent.yaml:17:76: write either `configFile`, or `username` and `passwordFile`
    agent.yaml:18:7: `registry` is missing from a registry (the registry as images name it, such as `registry.example.com:5000` or `docker.io`, and a path if the credentials are for some of its images only)
    agent.yaml:20:18: the registry `docker.io` is there twice
    ");
}

#[test]
fn secrets_are_what_the_file_lists_and_nothing_by_default() {
    let base = "name: edge-1\nsource: {url: /srv/fleet}\n";
    let none = parse("agent.yaml", base.as_bytes()).unwrap().secrets;
    assert_eq!(none, SecretsConfig::default());
    let text = format!(
        "{base}secrets: {{env: [WEB_TOKEN], files: [/run/secrets], ageIdentity: /etc/drover/age.key}}\n"
    );
    let secrets = parse("agent.yaml", text.as_bytes()).unwrap().secrets;
    assert_eq!(secrets.env, ["WEB_TOKEN"]);
    assert_eq!(secrets.files, [std::path::PathBuf::from("/run/secrets")]);
    assert_eq!(
        secrets.age_identity,
        Some(std::path::PathBuf::from("/etc/drover/age.key"))
    );
    for bad in [
        "files: [secrets]",
        "files: [/run/../etc]",
        "ageIdentity: age.key",
        "vault: x",
    ] {
        let text = format!("{base}secrets: {{{bad}}}\n");
        assert!(parse("agent.yaml", text.as_bytes()).is_err(), "{bad}");
    }
}

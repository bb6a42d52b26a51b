//! Signatures: what `git`, `ssh-keygen` and `gpg` made is accepted, and the other way round.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use drover_git::{
    AllowedSigners, CommitKey, CommitMeta, Edit, GitError, Identities, Mirror, Oid, OpenPgpKey,
    Signatories, SignatureError, SignersFile, SigningKey, StateBranch, Trust,
};
use tempfile::TempDir;

use crate::support::http_backend::{git, git_command};
use crate::support::ssh_server::keygen;
use crate::support::*;

/// A repository with a work tree, and some keys.
struct Desk {
    folder: TempDir,
    repository: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("fleet");
        fs::create_dir(&repository).unwrap();
        git(&repository, &["init", "--quiet", "--initial-branch=main"]);
        for (key, value) in [
            ("user.name", "Jane"),
            ("user.email", "jane@example.com"),
            ("gpg.format", "ssh"),
        ] {
            git(&repository, &["config", key, value]);
        }
        Self { folder, repository }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key(&self, name: &str, kind: &str) -> PathBuf {
        let path = self.path(name);
        let file = path.display().to_string();
        keygen(&["-q", "-t", kind, "-N", "", "-C", name, "-f", &file]);
        path
    }

    /// A list with one line per key, each with options.
    fn signers(&self, lines: &[(&str, &str, &str)]) -> Trust {
        let line = |(principal, options, key): &(&str, &str, &str)| {
            let public = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
            format!("{principal} {options} {public}")
        };
        let path = self.path("signers");
        fs::write(&path, lines.iter().map(line).collect::<String>()).unwrap();
        Trust {
            signers: Some(SignersFile(path)),
            gnupg_home: None,
        }
    }

    /// Commits with `git`, signed with a key or not at all.
    fn commit(&self, key: Option<&Path>) -> Oid {
        let mut arguments = vec!["commit", "--quiet", "--allow-empty", "-m", "a change"];
        let file = key.map(|key| key.display().to_string());
        let signing = file.map(|file| format!("user.signingkey={file}"));
        let mut options = Vec::new();
        if let Some(signing) = &signing {
            options.extend(["-c", signing.as_str()]);
            arguments.push("-S");
        }
        git(&self.repository, &[options, arguments].concat());
        git(&self.repository, &["rev-parse", "HEAD"])
            .parse()
            .unwrap()
    }

    fn mirror(&self) -> Arc<Mirror> {
        local(&self.repository)
    }

    fn verify(&self, commit: Oid, trust: &Trust) -> Result<String, SignatureError> {
        match self.mirror().verify_commit(commit, trust) {
            Ok(signed) => Ok(signed.principal),
            Err(GitError::Unverified { source, .. }) => Err(source),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Returns whose key signed a commit, by the list and keyring of `trust`.
    fn signed_by(&self, commit: Oid, trust: &Trust) -> Option<Vec<String>> {
        let mut signatories = Signatories::read(&Identities {
            signers: trust.signers.iter().cloned().collect(),
            keyrings: trust.gnupg_home.iter().cloned().collect(),
        });
        signatories.of(&self.mirror(), commit).unwrap()
    }

    /// Writes a commit anew, with another word in it.
    fn forge(&self, commit: Oid, from: &str, to: &str) -> Oid {
        let raw = git(
            &self.repository,
            &["cat-file", "commit", &commit.to_string()],
        );
        let file = self.path("raw");
        fs::write(&file, format!("{}\n", raw.replace(from, to))).unwrap();
        let file = file.display().to_string();
        let forged = ["hash-object", "-t", "commit", "-w", &file];
        git(&self.repository, &forged).parse().unwrap()
    }
}

#[test]
fn commits_that_git_signed_with_ssh_keys_are_accepted() {
    let desk = Desk::new();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = desk.key(kind, kind);
        let commit = desk.commit(Some(&key));
        let trust = desk.signers(&[("jane@example.com", "", kind)]);
        assert_eq!(
            desk.verify(commit, &trust).unwrap(),
            "jane@example.com",
            "{kind}"
        );
    }
}

#[test]
fn unsigned_foreign_and_changed_commits_are_refused() {
    let desk = Desk::new();
    let jane = desk.key("jane", "ed25519");
    desk.key("tom", "ed25519");
    let trust = desk.signers(&[("tom@example.com", "", "tom")]);
    let unsigned = desk.commit(None);
    assert_eq!(desk.verify(unsigned, &trust), Err(SignatureError::Missing));
    let signed = desk.commit(Some(&jane));
    let unknown = desk.verify(signed, &trust).unwrap_err();
    assert!(
        matches!(unknown, SignatureError::Unknown { .. }),
        "{unknown:?}"
    );
    let nobody = desk.verify(signed, &Trust::default()).unwrap_err();
    assert!(
        matches!(nobody, SignatureError::Unknown { .. }),
        "{nobody:?}"
    );

    let trust = desk.signers(&[("jane@example.com", "", "jane")]);
    desk.verify(signed, &trust).unwrap();
    for kind in ["ed25519", "rsa"] {
        let name = format!("changed-{kind}");
        let key = desk.key(&name, kind);
        let signed = desk.commit(Some(&key));
        let trust = desk.signers(&[("jane@example.com", "", &name)]);
        desk.verify(signed, &trust).unwrap();
        let changed = desk.forge(signed, "a change", "b change");
        let wrong = desk.verify(changed, &trust).unwrap_err();
        assert!(matches!(wrong, SignatureError::Wrong { .. }), "{wrong:?}");
    }
}

#[test]
fn a_key_counts_for_what_its_line_says_and_as_long_as_it_says() {
    let desk = Desk::new();
    let jane = desk.key("jane", "ed25519");
    let commit = desk.commit(Some(&jane));
    for (options, counts) in [
        ("namespaces=\"git\"", true),
        ("namespaces=\"file,git\"", true),
        ("namespaces=\"drover-operation\"", false),
        ("valid-after=\"20200101\"", true),
        ("valid-after=\"20990101000000Z\"", false),
        ("valid-before=\"20990101\"", true),
        ("namespaces=\"git\",valid-before=\"20200101Z\"", false),
    ] {
        let options = options.replace("\",v", "\" v");
        let trust = desk.signers(&[("jane@example.com", &options, "jane")]);
        let outcome = desk.verify(commit, &trust);
        assert_eq!(outcome.is_ok(), counts, "{options}: {outcome:?}");
        let refused = matches!(outcome, Err(SignatureError::NotValid { .. }));
        assert_eq!(refused, !counts, "{options}: {outcome:?}");
    }
}

#[test]
fn a_key_is_somebodys_by_every_name_of_its_lines_whatever_it_counts_for() {
    let desk = Desk::new();
    let jane = desk.key("jane", "ed25519");
    desk.key("tom", "ed25519");
    let unsigned = desk.commit(None);
    let signed = desk.commit(Some(&jane));
    let lines = [
        ("jane@example.com,jane@example.org", "", "jane"),
        (
            "janes-old-key",
            "namespaces=\"file\" valid-before=\"20200101Z\"",
            "jane",
        ),
        ("tom@example.com", "", "tom"),
    ];
    let trust = desk.signers(&lines);
    let names = ["jane@example.com", "jane@example.org", "janes-old-key"];
    assert_eq!(desk.signed_by(signed, &trust).unwrap(), names);
    assert_eq!(desk.signed_by(unsigned, &trust), Some(Vec::new()));
    let changed = desk.forge(signed, "a change", "b change");
    assert_eq!(desk.signed_by(changed, &trust), Some(Vec::new()));
    let trust = desk.signers(&lines[2..]);
    assert_eq!(desk.signed_by(signed, &trust), Some(Vec::new()));
    // Nobody knows whose it is, and whose it is not.
    fs::write(desk.path("signers"), "jane@example.com").unwrap();
    assert_eq!(desk.signed_by(signed, &trust), None);
    assert_eq!(desk.signed_by(unsigned, &trust), Some(Vec::new()));
}

#[test]
fn a_list_that_cannot_be_read_in_full_lets_nobody_in() {
    let desk = Desk::new();
    let jane = desk.key("jane", "ed25519");
    let public = fs::read_to_string(jane.with_extension("pub")).unwrap();
    let good = format!("jane@example.com {public}");
    AllowedSigners::parse(&format!("# a comment\n\n{good}")).unwrap();
    for (line, why) in [
        ("jane@example.com".to_owned(), "it has no key"),
        (format!("*@example.com {public}"), "without patterns"),
        (format!("jane cert-authority {public}"), "not supported"),
        (format!("jane valid-after=\"soon\" {public}"), "not a time"),
        (format!("jane namespaces=\"git {public}"), "quotation mark"),
        (format!("jane no-touch {public}"), "no option"),
        ("jane ssh-ed25519 AAAA".to_owned(), "cannot be read"),
        ("jane ssh-ed25519".to_owned(), "the key is missing"),
    ] {
        let error = AllowedSigners::parse(&format!("{good}{line}\n")).unwrap_err();
        assert!(
            error.starts_with("line 2: ") && error.contains(why),
            "{line}: {error}"
        );
    }
    let trust = Trust {
        signers: Some(SignersFile(desk.path("absent"))),
        gnupg_home: None,
    };
    let commit = desk.commit(Some(&jane));
    let error = desk.mirror().verify_commit(commit, &trust).unwrap_err();
    assert!(matches!(error, GitError::Signers { .. }), "{error:?}");
}

#[test]
fn git_accepts_the_commits_that_we_sign() {
    let desk = Desk::new();
    desk.commit(None);
    let trust = desk.signers(&[]);
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = desk.key(kind, kind);
        let signer = SigningKey::read(&key, None).unwrap();
        assert!(signer.fingerprint().contains("SHA256:"));
        let mut state =
            StateBranch::open(desk.mirror(), &format!("state/{kind}"), agent("edge-1")).unwrap();
        state.sign_with(Some(Arc::new(CommitKey::Ssh(signer))));
        let edits = [Edit::put("groups/web.yaml", "size: 3\n")];
        let message = "web: created\n\nA body.\n\nDrover-Group: web".to_owned();
        let id = state.commit(edits, message, at(0)).unwrap().unwrap();
        state.publish(&patient(1)).unwrap();
        desk.signers(&[("edge-1@example.com", "", kind)]);
        let signers = desk.path("signers").display().to_string();
        let file = format!("gpg.ssh.allowedSignersFile={signers}");
        git(
            &desk.repository,
            &["-c", &file, "verify-commit", &id.to_string()],
        );
        assert_eq!(desk.verify(id, &trust).unwrap(), "edge-1@example.com");
    }
    assert_sound(&desk.repository);
}

#[test]
fn commits_that_are_rebuilt_on_a_newer_tip_are_signed_again() {
    let site = Site::with_history();
    let desk = Desk::new();
    let key = desk.key("agent", "ed25519");
    let trust = desk.signers(&[("edge-1@example.com", "", "agent")]);
    let mut ours = site.state("a");
    let signer = SigningKey::read(&key, None).unwrap();
    ours.sign_with(Some(Arc::new(CommitKey::Ssh(signer))));
    let mut theirs = site.state("b");
    let edit = |path: &str| [Edit::put(path, "x\n")];
    ours.commit(edit("groups/a.yaml"), "ours".to_owned(), at(0))
        .unwrap();
    theirs
        .commit(edit("groups/b.yaml"), "theirs".to_owned(), at(0))
        .unwrap();
    theirs.publish(&patient(2)).unwrap();
    let published = ours.publish(&patient(1)).unwrap();
    assert_eq!(published.rebuilt, 1);
    let served = site.in_place();
    served
        .verify_commit(published.tip.unwrap(), &trust)
        .unwrap();
}

#[test]
fn signed_documents_go_both_ways_between_ssh_keygen_and_us() {
    let desk = Desk::new();
    let key = desk.key("jane", "ed25519");
    let trust = desk.signers(&[("jane@example.com", "", "jane")]);
    let document = desk.path("document");
    fs::write(&document, "approve: web\n").unwrap();
    let ours = SigningKey::read(&key, None).unwrap();
    let ours = ours.sign("drover-operation", b"approve: web\n").unwrap();
    fs::write(desk.path("ours.sig"), ours).unwrap();
    let verified = Command::new("ssh-keygen")
        .args([
            "-Y",
            "verify",
            "-n",
            "drover-operation",
            "-I",
            "jane@example.com",
        ])
        .arg("-f")
        .arg(desk.path("signers"))
        .arg("-s")
        .arg(desk.path("ours.sig"))
        .stdin(fs::File::open(&document).unwrap())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(verified.success());

    let (key, file) = (key.display().to_string(), document.display().to_string());
    keygen(&[
        "-q",
        "-Y",
        "sign",
        "-n",
        "drover-operation",
        "-f",
        &key,
        &file,
    ]);
    let theirs = fs::read_to_string(desk.path("document.sig")).unwrap();
    let signers = trust.signers.unwrap().read().unwrap();
    let verify = |namespace: &str, text: &[u8]| signers.verify(namespace, text, &theirs, at(0));
    let signed = verify("drover-operation", b"approve: web\n").unwrap();
    assert_eq!(signed.principal, "jane@example.com");
    let wrong = verify("drover-operation", b"approve: db\n").unwrap_err();
    assert!(matches!(wrong, SignatureError::Wrong { .. }), "{wrong:?}");
    let other = verify("git", b"approve: web\n").unwrap_err();
    assert!(
        matches!(other, SignatureError::Namespace { .. }),
        "{other:?}"
    );
    let huge = signers
        .verify("git", b"", &"x".repeat(64 << 10), at(0))
        .unwrap_err();
    assert!(
        matches!(huge, SignatureError::Unreadable { .. }),
        "{huge:?}"
    );
}

#[test]
fn a_tag_is_verified_by_its_own_name_and_commit() {
    let desk = Desk::new();
    let jane = desk.key("jane", "ed25519");
    let trust = desk.signers(&[("jane@example.com", "", "jane")]);
    let commit = desk.commit(None);
    let signing = format!("user.signingkey={}", jane.display());
    git(
        &desk.repository,
        &["-c", &signing, "tag", "-s", "-m", "one", "v1"],
    );
    git(&desk.repository, &["tag", "light"]);
    git(&desk.repository, &["tag", "-a", "-m", "plain", "plain"]);
    git(
        &desk.repository,
        &["update-ref", "refs/tags/v2", "refs/tags/v1"],
    );
    let mirror = desk.mirror();
    let refs = mirror.list().unwrap();
    let verify = |name: &str, commit: Oid| {
        let tag = refs.all()[&format!("refs/tags/{name}")];
        match mirror.verify_tag(name, tag, commit, &trust) {
            Ok(signed) => Ok(signed.principal),
            Err(GitError::Unverified { source, .. }) => Err(source),
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(verify("v1", commit).unwrap(), "jane@example.com");
    assert_eq!(verify("light", commit), Err(SignatureError::Missing));
    assert_eq!(verify("plain", commit), Err(SignatureError::Missing));
    let renamed = verify("v2", commit).unwrap_err();
    assert!(
        matches!(renamed, SignatureError::Unreadable { .. }),
        "{renamed:?}"
    );
    let moved = desk.commit(None);
    let moved = verify("v1", moved).unwrap_err();
    assert!(
        matches!(moved, SignatureError::Unreadable { .. }),
        "{moved:?}"
    );
}

/// A GnuPG home with one key. Its agent ends with it.
struct GnuPg {
    home: PathBuf,
}

impl GnuPg {
    fn create(home: PathBuf, user: &str) -> Self {
        fs::create_dir(&home).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&home, private).unwrap();
        let gnupg = Self { home };
        gnupg.run(&["--quick-gen-key", user, "ed25519", "sign", "1y"]);
        gnupg
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        self.run_with("", arguments)
    }

    fn run_with(&self, passphrase: &str, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback"])
            .args(["--passphrase", passphrase, "--homedir"])
            .arg(&self.home)
            .args(arguments)
            .output()
            .expect("these tests need `gpg` (package gnupg)");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {text}");
        output.stdout
    }
}

impl GnuPg {
    fn fingerprint(&self, user: &str) -> String {
        let listed = self.run(&["--with-colons", "--list-keys", user]);
        let listed = String::from_utf8(listed).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:"));
        line.unwrap().split(':').nth(9).unwrap().to_owned()
    }

    /// Commits with Git, signed with the key of `jane@example.com`.
    fn commit(&self, desk: &Desk) -> Oid {
        let key = "user.signingkey=jane@example.com";
        let output = git_command(&desk.repository)
            .env("GNUPGHOME", &self.home)
            .args(["-c", "gpg.format=openpgp", "-c", key])
            .args(["commit", "--quiet", "--allow-empty", "-S", "-m", "by gpg"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        let tip = git(&desk.repository, &["rev-parse", "HEAD"]);
        tip.parse().unwrap()
    }

    /// Takes up the public key of `jane@example.com` from her keyring.
    fn import(&self, desk: &Desk, jane: &Self) {
        let public = desk.path("jane.asc");
        fs::write(&public, jane.run(&["--export", "jane@example.com"])).unwrap();
        self.run(&["--import", &public.display().to_string()]);
    }

    /// Ends the agent that keeps private keys, and with it the passphrases that it remembers.
    fn forget(&self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(&self.home)
            .args(["--kill", "all"])
            .status();
    }

    /// Asserts that Git accepts the signature of a commit.
    #[track_caller]
    fn accepts(&self, desk: &Desk, id: Oid) {
        let output = git_command(&desk.repository)
            .env("GNUPGHOME", &self.home)
            .args(["verify-commit", &id.to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    }
}

impl Drop for GnuPg {
    fn drop(&mut self) {
        self.forget();
    }
}

#[test]
fn openpgp_signatures_are_checked_with_the_configured_keyring_only() {
    let desk = Desk::new();
    let jane = GnuPg::create(desk.path("jane"), "Jane <jane@example.com>");
    let agent_home = GnuPg::create(desk.path("agent"), "Agent <agent@example.com>");
    let signed = jane.commit(&desk);
    let trust = |home: Option<&Path>| Trust {
        signers: None,
        gnupg_home: home.map(Path::to_owned),
    };
    let without = desk.verify(signed, &trust(None)).unwrap_err();
    assert!(
        matches!(without, SignatureError::Unreadable { .. }),
        "{without:?}"
    );
    let agents = trust(Some(&agent_home.home));
    let unknown = desk.verify(signed, &agents).unwrap_err();
    assert!(
        matches!(unknown, SignatureError::Unknown { .. }),
        "{unknown:?}"
    );

    agent_home.import(&desk, &jane);
    let fingerprint = desk.verify(signed, &agents).unwrap();
    assert_eq!(fingerprint.len(), 40, "{fingerprint}");

    let changed = desk.forge(signed, "by gpg", "by me");
    let wrong = desk.verify(changed, &agents).unwrap_err();
    assert!(matches!(wrong, SignatureError::Wrong { .. }), "{wrong:?}");

    // Packed data, which would be unpacked before anybody knows what is in it, never comes to `gpg`.
    let raw = git(
        &desk.repository,
        &["cat-file", "commit", &signed.to_string()],
    );
    let begin = raw.find("-----BEGIN").unwrap();
    let end = raw.find(" -----END").unwrap();
    // It gets the packet, and no armour: of one with another checksum it would say that there is no signature.
    let checksum = raw[..end].trim_end().rsplit_once('\n').unwrap().1;
    assert!(checksum.starts_with(" ="), "{checksum}");
    let other = desk.forge(signed, checksum, " =AAAA");
    assert_eq!(desk.verify(other, &agents).unwrap(), fingerprint);
    let packed = "-----BEGIN PGP SIGNATURE-----\n \n yAEB\n";
    let bomb = desk.forge(signed, &raw[begin..end], packed);
    let packed = desk.verify(bomb, &agents).unwrap_err();
    assert!(
        packed.to_string().contains("something else in it"),
        "{packed}"
    );
    assert_eq!(desk.signed_by(bomb, &agents), Some(Vec::new()));

    let error = desk
        .mirror()
        .verify_commit(signed, &trust(Some(&desk.path("nowhere"))))
        .unwrap_err();
    assert!(matches!(error, GitError::Gpg { .. }), "{error:?}");
}

#[test]
fn an_openpgp_key_is_somebodys_by_its_user_id_also_once_it_was_revoked() {
    let desk = Desk::new();
    let jane = GnuPg::create(desk.path("jane"), "Jane <jane@example.com>");
    let agent_home = GnuPg::create(desk.path("agent"), "Agent <agent@example.com>");
    let signed = jane.commit(&desk);
    let trust = |home: &Path| Trust {
        signers: None,
        gnupg_home: Some(home.to_owned()),
    };
    let agents = trust(&agent_home.home);
    assert_eq!(desk.signed_by(signed, &agents), Some(Vec::new()));
    assert_eq!(desk.signed_by(signed, &Trust::default()), Some(Vec::new()));
    assert_eq!(desk.signed_by(signed, &trust(&desk.path("nowhere"))), None);
    agent_home.import(&desk, &jane);
    let user = Some(vec!["Jane <jane@example.com>".to_owned()]);
    assert_eq!(desk.signed_by(signed, &agents), user);
    let changed = desk.forge(signed, "by gpg", "by me");
    assert_eq!(desk.signed_by(changed, &agents), Some(Vec::new()));

    let fingerprint = jane.fingerprint("jane@example.com");
    let revocation = jane
        .home
        .join("openpgp-revocs.d")
        .join(fingerprint + ".rev");
    let revocation = fs::read_to_string(revocation).unwrap();
    let file = desk.path("revocation");
    // GnuPG keeps it with a mark that it must be made usable first.
    fs::write(&file, revocation.replace(":-----", "-----")).unwrap();
    agent_home.run(&["--import", &file.display().to_string()]);
    let revoked = desk.verify(signed, &agents).unwrap_err();
    assert!(
        matches!(revoked, SignatureError::NotValid { .. }),
        "{revoked:?}"
    );
    assert_eq!(desk.signed_by(signed, &agents), user);
}

/// Makes a state commit that this key signs.
fn state_commit(desk: &Desk, branch: &str, key: OpenPgpKey) -> Result<Oid, GitError> {
    let mut state = StateBranch::open(desk.mirror(), branch, agent("edge-1")).unwrap();
    state.sign_with(Some(Arc::new(CommitKey::OpenPgp(key))));
    let edits = [Edit::put("groups/web.yaml", "size: 3\n")];
    let id = state.commit(edits, "web: created".to_owned(), at(0))?;
    state.publish(&patient(1)).unwrap();
    Ok(id.unwrap())
}

#[test]
fn git_accepts_the_commits_that_we_sign_with_open_pgp_keys() {
    let desk = Desk::new();
    desk.commit(None);
    let gnupg = GnuPg::create(desk.path("agent"), "Agent <agent@example.com>");
    let fingerprint = gnupg.fingerprint("agent@example.com");
    let open = |fingerprint: &str, passphrase: Option<PathBuf>| {
        OpenPgpKey::open(gnupg.home.clone(), fingerprint, passphrase)
    };
    let key = open(&fingerprint.to_lowercase(), None).unwrap();
    assert_eq!(key.fingerprint(), format!("OpenPGP {fingerprint}"));
    let id = state_commit(&desk, "state/plain", key).unwrap();
    gnupg.accepts(&desk, id);
    let trust = Trust {
        signers: None,
        gnupg_home: Some(gnupg.home.clone()),
    };
    assert_eq!(desk.verify(id, &trust).unwrap(), fingerprint);

    gnupg.run_with(
        "secret words",
        &[
            "--quick-gen-key",
            "Locked <locked@example.com>",
            "ed25519",
            "sign",
            "1y",
        ],
    );
    let locked = gnupg.fingerprint("locked@example.com");
    let phrase = desk.path("phrase");
    fs::write(&phrase, "secret words\n").unwrap();
    gnupg.forget();
    let key = open(&locked, Some(phrase.clone())).unwrap();
    let id = state_commit(&desk, "state/locked", key.clone()).unwrap();
    gnupg.accepts(&desk, id);
    assert_eq!(desk.verify(id, &trust).unwrap(), locked);

    // The key is gone from under a running agent: its commits are not made without a signature.
    fs::write(&phrase, "other words\n").unwrap();
    gnupg.forget();
    let error = state_commit(&desk, "state/refused", key).unwrap_err();
    assert!(matches!(error, GitError::Sign { .. }), "{error:?}");
    gnupg.forget();
    for (fingerprint, passphrase) in [
        (&locked, Some(phrase)),
        (&locked, None),
        (&"A".repeat(40), None),
    ] {
        let error = open(fingerprint, passphrase).unwrap_err();
        let GitError::Sign { source, .. } = &error else {
            panic!("{error:?}")
        };
        let why = source.to_string();
        let told = ["signing failed: ", "the key needs a passphrase"];
        assert!(told.iter().any(|words| why.contains(words)), "{why}");
        assert!(!why.contains("words"), "{why}");
    }
    let error = OpenPgpKey::open(desk.path("nowhere"), &fingerprint, None).unwrap_err();
    assert!(matches!(error, GitError::Gpg { .. }), "{error:?}");
}

#[test]
fn a_commit_without_a_key_is_not_signed() {
    let desk = Desk::new();
    let mirror = desk.mirror();
    let meta = CommitMeta {
        signer: None,
        ..meta("plain")
    };
    let commit = mirror.build_commit(None, &[Edit::put("a", "b")], &meta);
    let commit = commit.unwrap().unwrap();
    let unsigned = desk.verify(commit, &desk.signers(&[]));
    assert_eq!(unsigned, Err(SignatureError::Missing));
}

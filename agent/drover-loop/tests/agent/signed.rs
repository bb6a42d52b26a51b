//! Signed commits and signed operations, over a real repository and real keys.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use drover_git::{
    CommitKey, CommitMeta, Edit, Mirror, PushOutcome, RemoteOptions, RepositoryKind, Signature,
    SignersFile, SigningKey, SourceUrl, Trust, init_repository,
};
use drover_loop::{
    GitSource, Memory, OPERATION_COMMITS_MAX, OPERATIONS_BRANCH, OperationRefusal, Operations as _,
    OperationsOptions, OperationsRead, OperationsReader, PathRule, SharedRefs, Source as _,
    SourceError, SourcePlace, Verification, VerifyMode, operation_path,
};
use drover_model::{
    ApprovalVerdict, ChangeId, FleetName, GroupName, InstanceId, OrderVerb, Revision, Timestamp,
};
use drover_spec::operation::{self, Asked, OPERATION_NAMESPACE, Operation};

/// A repository and people with keys.
struct Desk {
    folder: tempfile::TempDir,
    mirror: Arc<Mirror>,
}

const TRUNK: &str = "refs/heads/main";

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("fleet.git");
        init_repository(&repository, RepositoryKind::Bare, "main").unwrap();
        let desk = Self {
            mirror: open(&repository),
            folder,
        };
        desk.key("jane");
        desk.key("tom");
        desk.signers(&["jane", "tom"]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key(&self, name: &str) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(self.path(name))
            .stdin(Stdio::null())
            .status()
            .expect("these tests need `ssh-keygen` (package openssh-client)");
        assert!(made.success());
    }

    fn signing(&self, name: &str) -> SigningKey {
        SigningKey::read(&self.path(name), None).unwrap()
    }

    fn signers(&self, names: &[&str]) -> SignersFile {
        self.signers_in("signers", names)
    }

    fn signers_in(&self, file: &str, names: &[&str]) -> SignersFile {
        let line = |name: &&str| {
            let public = std::fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
            format!("{name}@example.com {public}")
        };
        let path = self.path(file);
        std::fs::write(&path, names.iter().map(line).collect::<String>()).unwrap();
        SignersFile(path)
    }

    /// Commits files to a branch, signed or not.
    fn commit(&self, branch: &str, edits: &[Edit], signer: Option<&str>) -> String {
        let refs = self.mirror.list().unwrap();
        let tip = refs.all().get(branch).copied();
        let meta = CommitMeta {
            message: "a change".to_owned(),
            author: Signature {
                name: "Jane".to_owned(),
                email: "jane@example.com".to_owned(),
            },
            time: now(),
            signer: signer.map(|name| Arc::new(CommitKey::Ssh(self.signing(name)))),
        };
        let commit = self.mirror.build_commit(tip, edits, &meta);
        let commit = commit.unwrap().expect("a change");
        let outcome = self.mirror.update(branch, tip, commit).unwrap();
        assert_eq!(outcome, PushOutcome::Done);
        commit.to_string()
    }

    fn ask(&self, path: &str, file: &str) {
        let branch = format!("refs/heads/{OPERATIONS_BRANCH}");
        self.commit(&branch, &[Edit::put(path, file)], None);
    }

    /// Puts a signed operation on its branch, and returns its path and file.
    fn operate(&self, operation: &Operation, signer: &str) -> (String, String) {
        let document = operation::encode(operation);
        let path = operation_path(operation, &document);
        let file = self.sign(&document, signer, OPERATION_NAMESPACE);
        self.ask(&path, &file);
        (path, file)
    }

    fn sign(&self, document: &str, signer: &str, namespace: &str) -> String {
        let signature = self.signing(signer).sign(namespace, document.as_bytes());
        operation::join(document, &signature.unwrap())
    }

    fn reader(&self) -> OperationsReader {
        self.reader_with(Memory::Kept)
    }

    fn reader_with(&self, memory: Memory) -> OperationsReader {
        self.reader_of(memory, OPERATION_COMMITS_MAX)
    }

    fn reader_of(&self, memory: Memory, commits_max: usize) -> OperationsReader {
        let options = OperationsOptions {
            branch: OPERATIONS_BRANCH.to_owned(),
            fleet: FleetName::parse("prod").unwrap(),
            signers: SignersFile(self.path("signers")),
            memory,
            commits_max,
        };
        let refs = SharedRefs::default();
        OperationsReader::new(open(self.mirror.directory()), refs, options)
    }

    fn read(&self, reader: &mut OperationsReader) -> OperationsRead {
        reader.read(&self.mirror.list().unwrap(), now())
    }

    fn source(&self, mode: VerifyMode, branch: &str) -> GitSource {
        self.source_with(mode, branch, Vec::new())
    }

    fn source_with(&self, mode: VerifyMode, branch: &str, paths: Vec<PathRule>) -> GitSource {
        let place = SourcePlace {
            branch: branch.to_owned(),
            path: String::new(),
        };
        GitSource::new(Arc::clone(&self.mirror), place).verifying(Some(Verification {
            mode,
            trust: Trust {
                signers: Some(SignersFile(self.path("signers"))),
                gnupg_home: None,
            },
            paths,
        }))
    }
}

fn open(repository: &Path) -> Arc<Mirror> {
    let url = SourceUrl::from_path(repository).unwrap();
    Arc::new(Mirror::open(repository, url, RemoteOptions::default()).unwrap())
}

fn now() -> Timestamp {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

fn group() -> GroupName {
    GroupName::parse("web").unwrap()
}

fn change() -> ChangeId {
    ChangeId::parse(&"ab".repeat(32)).unwrap()
}

fn of_change(verdict: ApprovalVerdict) -> Asked {
    let change = change();
    Asked::Change { verdict, change }
}

fn approve(minutes_ago: i64) -> Operation {
    let at = Timestamp::from_second(now().as_second() - 60 * minutes_ago).unwrap();
    Operation {
        asked: of_change(ApprovalVerdict::Approve),
        fleet: FleetName::parse("prod").unwrap(),
        group: group(),
        at,
        expires: Timestamp::from_second(at.as_second() + 3600).unwrap(),
        because: "reviewed".to_owned(),
    }
}

fn standing(operations: &OperationsRead) -> Vec<(String, ApprovalVerdict)> {
    let standing = operations.approvals.standing(&group(), &change(), now());
    let words = standing.into_iter();
    words
        .map(|(signer, approval)| (signer.to_string(), approval.verdict))
        .collect()
}

fn reasons(operations: &OperationsRead) -> Vec<OperationRefusal> {
    operations
        .refused
        .iter()
        .map(|refused| refused.reason)
        .collect()
}

fn jane(verdict: ApprovalVerdict) -> (String, ApprovalVerdict) {
    ("jane@example.com".to_owned(), verdict)
}

#[test]
fn a_signed_approval_counts_for_its_change_and_is_remembered_across_restarts() {
    let desk = Desk::new();
    let mut reader = desk.reader();
    let nothing = desk.read(&mut reader);
    assert_eq!(nothing, OperationsRead::default());
    desk.operate(&approve(5), "jane");
    for reader in [&mut reader, &mut desk.reader()] {
        let operations = desk.read(reader);
        assert_eq!(standing(&operations), [jane(ApprovalVerdict::Approve)]);
        assert_eq!(operations.refused, []);
        assert_eq!(operations.failure, None);
        let approval = &operations.approvals.of(&group())[0];
        assert_eq!(approval.because, "reviewed");
    }
}

#[test]
fn what_is_asked_of_an_instance_is_verified_alike() {
    let desk = Desk::new();
    let instance = InstanceId::parse("web-7").unwrap();
    let verb = OrderVerb::Keep;
    let keep = Operation {
        asked: Asked::Instance { verb, instance },
        ..approve(5)
    };
    let (path, file) = desk.operate(&keep, "jane");
    assert!(path.contains("-web-7-keep-"), "{path}");
    // Signed by nobody who counts, and once more under another name.
    desk.key("mallory");
    let forged = Operation {
        because: "mine".to_owned(),
        ..keep
    };
    desk.operate(&forged, "mallory");
    desk.ask("operations/again.yaml", &file);
    let operations = desk.read(&mut desk.reader());
    let orders = operations.approvals.orders_of(&group());
    assert_eq!((orders.len(), orders[0].verb), (1, OrderVerb::Keep));
    assert_eq!(orders[0].signer.as_str(), "jane@example.com");
    assert_eq!(operations.approvals.of(&group()), []);
    let refused = [OperationRefusal::Signature, OperationRefusal::Replayed];
    assert_eq!(reasons(&operations), refused);
}

#[test]
fn a_dry_run_reads_and_leaves_nothing_in_the_repository() {
    let desk = Desk::new();
    desk.operate(&approve(5), "jane");
    let before = desk.mirror.remembered("operations").unwrap();
    let mut reader = desk.reader_with(Memory::Nowhere);
    assert_eq!(standing(&desk.read(&mut reader)).len(), 1);
    assert_eq!(desk.mirror.remembered("operations").unwrap(), before);
    assert_eq!(before, None);
}

#[test]
fn a_later_rejection_wins_and_cannot_be_taken_out_again() {
    let desk = Desk::new();
    let mut reader = desk.reader();
    desk.operate(&approve(5), "jane");
    let reject = Operation {
        asked: of_change(ApprovalVerdict::Reject),
        ..approve(2)
    };
    let (path, _) = desk.operate(&reject, "jane");
    let rejected = [jane(ApprovalVerdict::Reject)];
    assert_eq!(standing(&desk.read(&mut reader)), rejected);
    let branch = format!("refs/heads/{OPERATIONS_BRANCH}");
    desk.commit(&branch, &[Edit::remove(path)], None);
    assert_eq!(standing(&desk.read(&mut reader)), rejected);
    assert_eq!(standing(&desk.read(&mut desk.reader())), rejected);
}

#[test]
fn a_rewritten_or_lost_branch_takes_nothing_back_and_adds_nothing() {
    let desk = Desk::new();
    let mut reader = desk.reader();
    let (path, file) = desk.operate(&approve(5), "jane");
    let reject = Operation {
        asked: of_change(ApprovalVerdict::Reject),
        ..approve(2)
    };
    desk.operate(&reject, "jane");
    assert_eq!(standing(&desk.read(&mut reader)).len(), 1);
    let git = |arguments: &[&str]| {
        let done = Command::new("git")
            .current_dir(desk.mirror.directory())
            .args(arguments)
            .status()
            .unwrap();
        assert!(done.success());
    };
    git(&["update-ref", "-d", "refs/heads/drover/ops"]);
    let lost = desk.read(&mut reader);
    assert!(
        lost.failure.as_deref().unwrap().contains("is gone"),
        "{lost:?}"
    );
    assert_eq!(standing(&lost), [jane(ApprovalVerdict::Reject)]);
    // Without the rejection.
    desk.ask(&path, &file);
    let rewritten = desk.read(&mut reader);
    let failure = rewritten.failure.as_deref().unwrap();
    assert!(failure.contains("was rewritten"), "{failure}");
    assert_eq!(standing(&rewritten), [jane(ApprovalVerdict::Reject)]);
    // The loop is told, and keeps what it had.
    let error = reader.approvals(&[], now()).unwrap_err();
    assert!(error.to_string().contains("was rewritten"), "{error}");
    // A restart knows that as well, and believes nothing.
    let restarted = desk.read(&mut desk.reader());
    assert!(restarted.failure.is_some(), "{restarted:?}");
    assert_eq!(standing(&restarted), []);
}

#[test]
fn no_operation_is_hidden_behind_many_others() {
    let desk = Desk::new();
    let reject = Operation {
        asked: of_change(ApprovalVerdict::Reject),
        ..approve(10)
    };
    desk.operate(&reject, "jane");
    for copy in 0..3 {
        desk.ask(&format!("operations/junk-{copy}.yaml"), "junk");
    }
    let mut all = desk.reader_of(Memory::Nowhere, 4);
    let read = desk.read(&mut all);
    assert_eq!(read.failure, None);
    assert_eq!(standing(&read), [jane(ApprovalVerdict::Reject)]);
    // Who reads less does not act as if there were no more.
    let mut fewer = desk.reader_of(Memory::Nowhere, 3);
    let failure = desk.read(&mut fewer).failure.unwrap();
    assert!(failure.contains("more than 3 commits"), "{failure}");
}

#[test]
fn what_does_not_count_is_told_with_its_reason() {
    use OperationRefusal::{Expired, Future, Invalid, OtherFleet, Replayed, Signature};
    let desk = Desk::new();
    let mut reader = desk.reader();
    let operation = approve(5);
    let document = operation::encode(&operation);
    let (first, file) = desk.operate(&operation, "jane");
    desk.key("mallory");
    let put = |name: &str, file: &str| desk.ask(&format!("operations/{name}"), file);
    put("replayed.yaml", &file);
    put("unsigned.yaml", &document);
    put(
        "foreign.yaml",
        &desk.sign(&format!("{document}# 1\n"), "mallory", OPERATION_NAMESPACE),
    );
    put(
        "purpose.yaml",
        &desk.sign(&format!("{document}# 2\n"), "jane", "git"),
    );
    put("changed.yaml", &file.replace("reviewed", "forced"));
    put(
        "garbage.yaml",
        &desk.sign("kind: Operation\n", "jane", OPERATION_NAMESPACE),
    );
    put("large.yaml", &"x".repeat(32 << 10));
    let of = |operation: Operation| {
        let document = operation::encode(&operation);
        desk.sign(&document, "jane", OPERATION_NAMESPACE)
    };
    let fleet = FleetName::parse("staging").unwrap();
    put(
        "fleet.yaml",
        &of(Operation {
            fleet,
            ..approve(4)
        }),
    );
    put("expired.yaml", &of(approve(90)));
    put("future.yaml", &of(approve(-30)));
    let expires = Timestamp::from_second(now().as_second() + 31 * 86_400).unwrap();
    put(
        "long.yaml",
        &of(Operation {
            expires,
            ..approve(3)
        }),
    );
    let operations = desk.read(&mut reader);
    let expected = [
        Replayed, Signature, Signature, Signature, Signature, Invalid, Invalid, OtherFleet,
        Expired, Future, Invalid,
    ];
    assert_eq!(reasons(&operations), expected, "{:#?}", operations.refused);
    assert!(
        operations.refused[0].why.contains(&first),
        "{:?}",
        operations.refused[0]
    );
    assert_eq!(standing(&operations), [jane(ApprovalVerdict::Approve)]);
    // Known again after a restart, in the same order and words.
    assert_eq!(desk.read(&mut desk.reader()), operations);
}

#[test]
fn a_signer_who_is_taken_off_the_list_counts_no_more() {
    let desk = Desk::new();
    let mut reader = desk.reader();
    desk.operate(&approve(5), "jane");
    desk.operate(&approve(4), "tom");
    assert_eq!(standing(&desk.read(&mut reader)).len(), 2);
    desk.signers(&["jane"]);
    let operations = desk.read(&mut reader);
    assert_eq!(standing(&operations), [jane(ApprovalVerdict::Approve)]);
    assert_eq!(reasons(&operations), [OperationRefusal::Signature]);
    // A list that cannot be read changes nothing, and is told.
    std::fs::write(desk.path("signers"), "jane@example.com\n").unwrap();
    let broken = desk.read(&mut reader);
    assert!(
        broken.failure.as_deref().unwrap().contains("line 1"),
        "{broken:?}"
    );
    assert_eq!(standing(&broken), [jane(ApprovalVerdict::Approve)]);
}

#[test]
fn only_a_signed_commit_is_acted_on() {
    let desk = Desk::new();
    let mut source = desk.source(VerifyMode::Head, "main");
    desk.commit(TRUNK, &[Edit::put("a.yaml", "1\n")], Some("jane"));
    let good = source.poll().unwrap();
    let tree = source.tree(&good).unwrap();
    let signer = tree.commit.signer.as_deref();
    assert_eq!(signer, Some("jane@example.com"), "what policies are told");
    desk.commit(TRUNK, &[Edit::put("a.yaml", "2\n")], None);
    let bad = source.poll().unwrap();
    let error = source.tree(&bad).unwrap_err();
    assert_eq!(error.reason(), "SourceUnverified");
    assert!(error.to_string().contains("is not signed"), "{error}");
    // A signed commit on top vouches for what is below it.
    desk.commit(TRUNK, &[Edit::put("a.yaml", "3\n")], Some("tom"));
    let next = source.poll().unwrap();
    source.tree(&next).unwrap();
    desk.signers(&["jane"]);
    let error = source.tree(&next).unwrap_err();
    assert!(matches!(error, SourceError::Unverified { .. }), "{error:?}");
}

/// Files that only some may change.
fn only(patterns: &[&str], signers: SignersFile) -> PathRule {
    PathRule {
        patterns: patterns
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect(),
        trust: Trust {
            signers: Some(signers),
            gnupg_home: None,
        },
    }
}

#[test]
fn files_with_signers_of_their_own_are_changed_by_nobody_else() {
    let desk = Desk::new();
    let rules = vec![only(
        &["policies/", "/groups/db*.yaml", "!policies/drafts/"],
        desk.signers_in("guards", &["jane"]),
    )];
    let mut source = desk.source_with(VerifyMode::Head, "main", rules);
    let mut look = |in_force: Option<&Revision>| {
        let tip = source.poll().unwrap();
        source.tree(&tip).unwrap();
        source.vouch(&tip, in_force).map(|()| tip)
    };
    let put = |path: &str, signer: &str| {
        desk.commit(TRUNK, &[Edit::put(path, "1\n")], Some(signer));
    };
    // Where nothing is in force, all files are new.
    put("policies/size.yaml", "tom");
    let error = look(None).unwrap_err();
    let said = "policies/size.yaml changed, which needs another signer: ";
    assert!(error.to_string().contains(said), "{error}");
    assert_eq!(error.reason(), "SourceUnverified");
    put("groups/web.yaml", "jane");
    let first = look(None).unwrap();

    // What is not named, and what a later pattern leaves out again.
    put("groups/api.yaml", "tom");
    put("policies/drafts/new.yaml", "tom");
    let second = look(Some(&first)).unwrap();
    put("groups/db-1.yaml", "tom");
    let error = look(Some(&second)).unwrap_err();
    assert!(error.to_string().contains("groups/db-1.yaml"), "{error}");
    // Taking a file away is a change of it, whatever else comes with it.
    desk.commit(
        TRUNK,
        &[Edit::remove("groups/db-1.yaml"), Edit::put("notes", "x")],
        Some("tom"),
    );
    let third = look(Some(&second)).unwrap();
    desk.commit(TRUNK, &[Edit::remove("policies/size.yaml")], Some("tom"));
    look(Some(&third)).unwrap_err();
    // Who signs on top vouches for what is below.
    put("notes", "jane");
    let fourth = look(Some(&third)).unwrap();

    // What is ignored is a matter of all whose files could be.
    let mut before = fourth;
    for (edit, answer) in [
        (Edit::put(".droverignore", "/policies/\n"), "groups/a.yaml"),
        (Edit::remove(".droverignore"), "groups/b.yaml"),
    ] {
        desk.commit(TRUNK, &[edit], Some("tom"));
        let error = look(Some(&before)).unwrap_err();
        let said = ".droverignore changed, which needs another signer: ";
        assert!(error.to_string().contains(said), "{error}");
        put(answer, "jane");
        before = look(Some(&before)).unwrap();
    }
}

#[test]
fn a_branch_is_no_tag() {
    let desk = Desk::new();
    let mut source = desk.source(VerifyMode::Tag, "main");
    desk.commit(TRUNK, &[Edit::put("a.yaml", "1\n")], Some("jane"));
    let tip = source.poll().unwrap();
    let error = source.tree(&tip).unwrap_err();
    assert!(
        error.to_string().contains("refs/heads/main is no tag"),
        "{error}"
    );
}

#[test]
fn a_signed_tag_is_followed_and_an_unsigned_one_is_not() {
    let desk = Desk::new();
    desk.commit(TRUNK, &[Edit::put("a.yaml", "1\n")], None);
    let git = |arguments: &[&str]| {
        let key = format!("user.signingkey={}", desk.path("jane").display());
        let done = Command::new("git")
            .current_dir(desk.mirror.directory())
            .args(["-c", "gpg.format=ssh", "-c", &key])
            .args(["-c", "user.name=Jane", "-c", "user.email=jane@example.com"])
            .args(arguments)
            .status()
            .unwrap();
        assert!(done.success());
    };
    let mut source = desk.source(VerifyMode::Tag, "live");
    git(&["tag", "-s", "-m", "live", "live", "main"]);
    let tip = source.poll().unwrap();
    source.tree(&tip).unwrap();
    desk.commit(TRUNK, &[Edit::put("a.yaml", "2\n")], None);
    git(&["tag", "-f", "-a", "-m", "live", "live", "main"]);
    let moved = source.poll().unwrap();
    assert_ne!(moved, tip);
    let error = source.tree(&moved).unwrap_err();
    assert!(error.to_string().contains("is not signed"), "{error}");
    // A branch of the same name is in the way, and is not taken for the tag.
    git(&["tag", "-f", "-s", "-m", "live", "live", "main"]);
    git(&["branch", "live", "main"]);
    let tip = source.poll().unwrap();
    let error = source.tree(&tip).unwrap_err();
    assert!(
        error.to_string().contains("refs/heads/live is no tag"),
        "{error}"
    );
    let mut in_full = desk.source(VerifyMode::Tag, "refs/tags/live");
    let tip = in_full.poll().unwrap();
    in_full.tree(&tip).unwrap();
}

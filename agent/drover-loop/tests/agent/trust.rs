//! An empty data directory believes what the agent's own key signed, and nothing else unless a person answers for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use drover_git::{
    CommitKey, Mirror, RemoteOptions, SignersFile, SigningKey, SourceUrl, StateTrust,
};
use drover_git::{CommitMeta, Edit, PushOutcome, Signature, Trust};
use drover_loop::{GitSource, Liveness, Recorder as _, RecorderError, StateCommit, Swap};
use drover_model::Revision;
use drover_provider::Clock as _;

use crate::git::{commit, git, place, recorder_with, repository, write};
use crate::harness::{World, group};

const STATE: &str = "refs/heads/drover/state";

/// A repository, people's keys, and an agent that signs or does not.
struct Scene {
    repository: tempfile::TempDir,
    keys: tempfile::TempDir,
    /// The mirrors of agents that lost theirs.
    mirrors: Vec<tempfile::TempDir>,
    world: World,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            repository: repository(),
            keys: tempfile::tempdir().unwrap(),
            mirrors: Vec::new(),
            world: World::new(&[]),
        };
        for name in ["agent", "newer", "mallory"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
                .arg(scene.keys.path().join(name))
                .stdin(Stdio::null())
                .status()
                .expect("these tests need `ssh-keygen` (package openssh-client)");
            assert!(made.success());
        }
        scene
    }

    fn dir(&self) -> &Path {
        self.repository.path()
    }

    fn key(&self, name: &str) -> Arc<CommitKey> {
        let key = SigningKey::read(&self.keys.path().join(name), None).unwrap();
        Arc::new(CommitKey::Ssh(key))
    }

    /// Writes a list with the public key of `name`.
    fn signers(&self, name: &str) -> PathBuf {
        let public = self.keys.path().join(format!("{name}.pub"));
        let public = std::fs::read_to_string(public).unwrap();
        let path = self.keys.path().join(format!("signers-{name}"));
        std::fs::write(&path, format!("{name}@example.com {public}")).unwrap();
        path
    }

    fn mirror(&self, folder: &Path) -> Mirror {
        let url = SourceUrl::from_path(self.dir()).unwrap();
        Mirror::open(folder, url, RemoteOptions::default()).unwrap()
    }

    /// Starts the agent without anything that its machine had. `others`: whose key counts beside its own.
    fn start_anew(&mut self, key: Option<&str>, others: Option<&str>) {
        self.world.lose_data();
        let folder = tempfile::tempdir().unwrap();
        let mirror = Arc::new(self.mirror(folder.path()));
        self.mirrors.push(folder);
        self.start(&mirror, key, others);
    }

    /// Starts the agent with the data that it has and another key.
    fn restart(&mut self, key: Option<&str>) {
        self.world.agent = None;
        let mirror = Arc::new(self.mirror(self.mirrors.last().unwrap().path()));
        self.start(&mirror, key, None);
    }

    fn start(&mut self, mirror: &Arc<Mirror>, key: Option<&str>, others: Option<&str>) {
        let trust = StateTrust {
            own: key.map(|name| self.key(name)),
            others: Trust {
                signers: others.map(|name| SignersFile(self.signers(name))),
                gnupg_home: None,
            },
        };
        let source = GitSource::new(Arc::clone(mirror), place(""));
        let recorder = recorder_with(mirror, &source, trust);
        self.world.start_with(Box::new(source), Box::new(recorder));
    }

    /// Puts a commit on the state branch, as whoever may push can.
    fn forge(&self, edits: &[Edit], signer: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mirror = self.mirror(folder.path());
        let refs = mirror.list().unwrap();
        let tip = refs.all()[STATE];
        mirror.fetch(&[(STATE, tip)]).unwrap();
        let meta = CommitMeta {
            message: "web: scale 3 -> 30\n".to_owned(),
            author: Signature {
                name: "drover edge-1".to_owned(),
                email: "edge-1@drover.invalid".to_owned(),
            },
            time: self.world.clock.now(),
            signer: signer.map(|name| self.key(name)),
        };
        let forged = mirror.build_commit(Some(tip), edits, &meta);
        let forged = forged.unwrap().unwrap();
        let moved = mirror.update(STATE, Some(tip), forged).unwrap();
        assert_eq!(moved, PushOutcome::Done);
        forged.to_string()
    }

    /// A forged state of the group, thirty times as large as anybody wanted.
    fn thirty(&self) -> Edit {
        let path = "groups/web.yaml";
        let text = git(self.dir(), &["show", &format!("{STATE}:{path}")]);
        Edit::put(path, text.replace("size: 3", "size: 30"))
    }

    fn tip(&self) -> String {
        git(self.dir(), &["rev-parse", STATE]).trim().to_owned()
    }

    /// Returns why nothing is done, which is what the agent says.
    async fn refused(&mut self) -> String {
        let before = self.tip();
        self.world.passes(3).await;
        assert_eq!(self.world.agent_holds(), ["StateUntrusted"]);
        assert!(!self.world.knows("web"));
        assert_eq!(
            self.tip(),
            before,
            "it wrote to a branch that it does not believe"
        );
        let status = self.world.agent.as_ref().unwrap().status();
        status.holds[0].hold.to_string()
    }

    fn accept(&self, tip: &str) {
        let tip = Revision::parse(tip).unwrap();
        let agent = self.world.agent.as_ref().unwrap();
        agent.accept_state(tip, "Zoe <zoe@example.com>");
    }

    /// Waits until the agent has taken up what is there, and has done nothing about it.
    async fn taken_up(&mut self) {
        let before = self.world.mutations();
        self.world.passes(3).await;
        self.world.converge().await;
        assert_eq!(self.world.mutations(), before);
        assert_eq!(self.world.living("web").len(), 3);
    }
}

#[tokio::test]
async fn what_the_own_key_signed_is_restored() {
    let mut scene = Scene::new();
    scene.start_anew(Some("agent"), None);
    scene.world.converge().await;
    let uid = scene.world.status("web").recorded.uid.clone();
    scene.start_anew(Some("agent"), None);
    scene.taken_up().await;
    assert_eq!(scene.world.status("web").recorded.uid, uid);
    // Each commit was: nobody had to answer for anything.
    let log = git(scene.dir(), &["log", "--format=%B", STATE]);
    assert!(!log.contains("Drover-Accepted-State"), "{log}");
}

#[tokio::test]
async fn what_nobody_or_somebody_else_signed_is_not_restored_until_a_person_answers_for_it() {
    for (signer, told) in [
        (None, "it is not signed"),
        (Some("mallory"), "which is no signer's key"),
    ] {
        let mut scene = Scene::new();
        scene.start_anew(Some("agent"), None);
        scene.world.converge().await;
        let good = scene.tip();
        let forged = scene.forge(&[scene.thirty()], signer);
        scene.start_anew(Some("agent"), None);
        let why = scene.refused().await;
        assert!(why.contains(&forged) && why.contains(told), "{why}");
        let way_out = format!("`drover reconcile --accept-state {forged}`");
        assert!(why.contains(&way_out), "{why}");
        // Another commit than the tip is no answer.
        scene.accept(&good);
        scene.refused().await;
        // It is one that was put back, whoever did so.
        git(scene.dir(), &["update-ref", STATE, &good]);
        scene.taken_up().await;
    }
}

#[tokio::test]
async fn a_person_answers_for_what_is_there_once_and_the_log_says_so() {
    let mut scene = Scene::new();
    scene.start_anew(None, None);
    scene.world.converge().await;
    let unsigned = scene.tip();
    // The key came after the data directory had gone.
    scene.start_anew(Some("agent"), None);
    scene.refused().await;
    scene.accept(&unsigned);
    scene.taken_up().await;
    let body = git(scene.dir(), &["log", "--format=%B", STATE]);
    let told = format!(
        "- recorded state at {}, which nobody who counts signed, accepted by Zoe <zoe@example.com>",
        Revision::parse(&unsigned).unwrap().short()
    );
    assert!(body.contains(&told), "{body}");
    let trailer = format!("Drover-Accepted-State: {unsigned}\n");
    assert_eq!(body.matches(&trailer).count(), 1, "{body}");
    scene.start_anew(Some("agent"), None);
    scene.taken_up().await;
    // What is slipped in later is not covered by it.
    scene.forge(&[scene.thirty()], None);
    scene.start_anew(Some("agent"), None);
    scene.refused().await;
}

#[tokio::test]
async fn what_was_slipped_in_below_the_agents_own_commits_is_found() {
    let mut scene = Scene::new();
    scene.start_anew(Some("agent"), None);
    scene.world.converge().await;
    let forged = scene.forge(&[Edit::put("groups/evil.yaml", "kind: GroupState\n")], None);
    // It goes on on top of what is there, as it always does.
    write(scene.dir(), "groups/web.yaml", &group("web", 4, "a"));
    commit(scene.dir(), "four");
    scene.world.pass().await;
    scene.world.converge().await;
    git(
        scene.dir(),
        &["merge-base", "--is-ancestor", &forged, STATE],
    );
    let tip = scene.tip();
    assert_ne!(tip, forged);
    scene.start_anew(Some("agent"), None);
    let why = scene.refused().await;
    assert!(
        why.contains(&format!("commit {forged} is not believed")),
        "{why}"
    );
    assert!(why.contains(&format!("--accept-state {tip}")), "{why}");
    scene.accept(&tip);
    scene.world.passes(3).await;
    scene.world.converge().await;
    assert_eq!(scene.world.living("web").len(), 4);
}

#[tokio::test]
async fn a_key_that_comes_later_signs_for_what_the_agent_itself_knew() {
    let mut scene = Scene::new();
    scene.start_anew(None, None);
    scene.world.converge().await;
    scene.restart(Some("agent"));
    write(scene.dir(), "groups/web.yaml", &group("web", 4, "a"));
    commit(scene.dir(), "four");
    scene.world.passes(2).await;
    scene.world.converge().await;
    assert!(scene.world.agent_holds().is_empty());
    scene.start_anew(Some("agent"), None);
    scene.world.passes(3).await;
    scene.world.converge().await;
    assert_eq!(scene.world.living("web").len(), 4);
}

#[tokio::test]
async fn the_key_before_this_one_counts_where_the_agents_file_names_it() {
    let mut scene = Scene::new();
    scene.start_anew(Some("agent"), None);
    scene.world.converge().await;
    scene.start_anew(Some("newer"), None);
    let why = scene.refused().await;
    assert!(why.contains("which is no signer's key"), "{why}");
    scene.start_anew(Some("newer"), Some("agent"));
    scene.taken_up().await;
    // From then on the new key's commits are there, and the old ones are what was there before.
    scene.start_anew(Some("newer"), None);
    scene.taken_up().await;
}

#[tokio::test]
async fn a_branch_that_is_not_believed_gets_no_question_either() {
    let mut scene = Scene::new();
    scene.start_anew(Some("agent"), None);
    scene.world.converge().await;
    scene.forge(&[scene.thirty()], None);
    scene.start_anew(Some("agent"), None);
    // The holder may live: it would be asked, in a commit that is signed.
    scene.world.liveness = Liveness::Unknown;
    let folder = scene.mirrors.last().unwrap().path().to_owned();
    let mirror = Arc::new(scene.mirror(&folder));
    scene.world.agent = None;
    scene.start(&mirror, Some("agent"), None);
    scene.refused().await;
}

#[tokio::test]
async fn what_comes_after_the_look_is_not_signed_for() {
    let mut scene = Scene::new();
    scene.start_anew(Some("agent"), None);
    scene.world.converge().await;
    let folder = tempfile::tempdir().unwrap();
    let mirror = Arc::new(scene.mirror(folder.path()));
    let source = GitSource::new(Arc::clone(&mirror), place(""));
    let trust = StateTrust {
        own: Some(scene.key("agent")),
        others: Trust::default(),
    };
    let mut recorder = recorder_with(&mirror, &source, trust);
    recorder.look().unwrap();
    assert_eq!(recorder.vouch(None), Ok(None));
    let path = "agents/edge-1.json";
    let lease = recorder.published(path).unwrap().unwrap();
    let forged = scene.forge(&[scene.thirty()], None);
    let commit = StateCommit {
        message: "agent edge-1: take the lease, epoch 2\n".to_owned(),
        files: vec![(path.to_owned(), Some(b"{}".to_vec()))],
        at: scene.world.clock.now(),
    };
    // The lease is as it was, and what stands around it is not.
    let swap = recorder.swap(path, Some(&lease), &commit).unwrap();
    assert!(matches!(swap, Swap::Differs { .. }), "{swap:?}");
    assert_eq!(scene.tip(), forged);
    assert!(matches!(
        recorder.vouch(None),
        Err(RecorderError::Untrusted { .. })
    ));
}

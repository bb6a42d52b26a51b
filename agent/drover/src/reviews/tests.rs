use drover_git::{
    CommitMeta, Edit, RemoteOptions, RepositoryKind, Signature, SourceUrl, init_repository,
};
use drover_model::ChangeId;
use drover_spec::agent_config::ReviewsKind;

use super::*;

const MAIN: &str = "refs/heads/main";

struct Desk {
    _folder: tempfile::TempDir,
    mirror: Arc<Mirror>,
    reviews: Reviews,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("fleet.git");
        init_repository(&repository, RepositoryKind::Bare, "main").unwrap();
        let url = SourceUrl::from_path(&repository).unwrap();
        let mirror = Mirror::open(&repository, url, RemoteOptions::default()).unwrap();
        let mirror = Arc::new(mirror);
        let config = ReviewsConfig {
            kind: ReviewsKind::GitHub,
            // Nobody listens there.
            api: "http://127.0.0.1:1".to_owned(),
            repository: "acme/fleet".to_owned(),
            token_file: folder.path().join("token"),
            ca_file: None,
            reviewers: [("tom".to_owned(), Signer::parse("tom@example.com").unwrap())].into(),
        };
        let reviews = Reviews::new(config, Arc::clone(&mirror), "main".to_owned(), "fleet");
        Self {
            _folder: folder,
            mirror,
            reviews,
        }
    }

    fn commit(&self, edits: &[Edit]) -> Oid {
        let tip = self.mirror.list().unwrap().get(MAIN);
        let meta = CommitMeta {
            message: "a change".to_owned(),
            author: Signature {
                name: "Jane".to_owned(),
                email: "jane@example.com".to_owned(),
            },
            time: "2026-11-30T12:00:00Z".parse().unwrap(),
            signer: None,
        };
        let commit = self.mirror.build_commit(tip, edits, &meta);
        let commit = commit.unwrap().unwrap();
        self.mirror.update(MAIN, tip, commit).unwrap();
        commit
    }

    /// Returns who approves what `tip` asks for, after `reviewed` was reviewed.
    fn approved(&mut self, reviewed: Oid, tip: Oid) -> Vec<String> {
        let pull = MergedPull {
            number: 7,
            author: "jane".to_owned(),
            target: "main".to_owned(),
            head: reviewed.to_string(),
            reference: "refs/pull/7/head".to_owned(),
        };
        let review = Review {
            login: "Tom".to_owned(),
            verdict: ReviewVerdict::Approve,
            commit: reviewed.to_string(),
            at: "2026-11-30T11:00:00Z".parse().unwrap(),
        };
        let known = Known {
            asked: Instant::now(),
            pulls: vec![(pull, vec![review])],
        };
        self.reviews.known.insert(tip, known);
        let awaited = Awaited {
            group: GroupName::parse("web").unwrap(),
            change: ChangeId::parse(&"ab".repeat(32)).unwrap(),
            revision: Revision::parse(&tip.to_string()).unwrap(),
            path: Some("groups/web.yaml".to_owned()),
        };
        let commits = self.reviews.commits_of(&awaited).unwrap();
        let said = self.reviews.said(&awaited, &commits);
        said.into_iter()
            .map(|(_, approval)| approval.signer.to_string())
            .collect()
    }
}

fn group(name: &str, size: u32) -> Edit {
    let text = format!("kind: Group\nmetadata: {{name: {name}}}\nspec: {{size: {size}}}\n");
    Edit::put(format!("fleet/groups/{name}.yaml"), text)
}

#[test]
fn a_review_covers_what_the_change_rests_on_and_nothing_else() {
    let mut desk = Desk::new();
    let reviewed = desk.commit(&[group("web", 2), Edit::put("fleet/policies/a.yaml", "x\n")]);
    assert_eq!(desk.approved(reviewed, reviewed), ["tom@example.com"]);
    let tip = desk.commit(&[
        group("db", 1),
        Edit::put("fleet/README.md", "words"),
        Edit::put("elsewhere.yaml", "kind: Policy\n"),
    ]);
    assert_eq!(desk.approved(reviewed, tip), ["tom@example.com"]);
    let others = [
        vec![group("web", 3)],
        vec![Edit::put("fleet/policies/a.yaml", "y\n")],
        vec![Edit::remove("fleet/policies/a.yaml")],
        vec![Edit::put("fleet/.droverignore", "groups/db.yaml\n")],
        vec![Edit::put("fleet/groups/bad.yaml", "kind: [\n")],
        // The group, from another file.
        vec![Edit::put(
            "fleet/groups/more.yaml",
            "kind: Group\nmetadata: {name: db2}\n---\nkind: Group\nmetadata: {name: web}\n",
        )],
    ];
    for edits in others {
        let tip = desk.commit(&edits);
        assert!(desk.approved(reviewed, tip).is_empty(), "{edits:?}");
        // Reviewed again, it is fine.
        assert_eq!(desk.approved(tip, tip), ["tom@example.com"]);
        // Back to what was reviewed.
        let back: Vec<Edit> = edits
            .iter()
            .map(|edit| match edit.path.as_str() {
                "fleet/groups/web.yaml" => group("web", 2),
                "fleet/policies/a.yaml" => Edit::put("fleet/policies/a.yaml", "x\n"),
                path => Edit::remove(path),
            })
            .collect();
        let tip = desk.commit(&back);
        assert_eq!(desk.approved(reviewed, tip), ["tom@example.com"]);
    }
}

#[test]
fn a_host_that_does_not_answer_is_told_once_and_approves_nothing() {
    let mut desk = Desk::new();
    let tip = desk.commit(&[group("web", 2)]);
    let awaited = [Awaited {
        group: GroupName::parse("web").unwrap(),
        change: ChangeId::parse(&"ab".repeat(32)).unwrap(),
        revision: Revision::parse(&tip.to_string()).unwrap(),
        path: Some("groups/web.yaml".to_owned()),
    }];
    assert!(desk.reviews.about(&awaited).is_empty());
    let said = desk.reviews.failure.clone().unwrap();
    assert!(said.contains("cannot read the token"), "{said}");
}

use git2::{RepositoryInitOptions, Signature, Time};

use super::*;

/// A repository, and what was put into it.
struct Fixture {
    _folder: tempfile::TempDir,
    repository: Repository,
    objects: BTreeSet<Oid>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false);
        Self {
            repository: Repository::init_opts(folder.path(), &options).unwrap(),
            _folder: folder,
            objects: BTreeSet::new(),
        }
    }

    /// Commits one file in a folder.
    fn commit(&mut self, parents: &[Oid], second: i64, text: &str) -> Oid {
        let blob = self.repository.blob(text.as_bytes()).unwrap();
        let mut builder = self.repository.treebuilder(None).unwrap();
        builder.insert("web.yaml", blob, 0o100_644).unwrap();
        let folder = builder.write().unwrap();
        let mut builder = self.repository.treebuilder(None).unwrap();
        builder.insert("groups", folder, 0o040_000).unwrap();
        let tree = builder.write().unwrap();
        let ada = Signature::new("Ada", "ada@example.com", &Time::new(second, 0)).unwrap();
        let found: Vec<_> = parents
            .iter()
            .map(|id| self.repository.find_commit(*id).unwrap())
            .collect();
        let found: Vec<_> = found.iter().collect();
        let root = self.repository.find_tree(tree).unwrap();
        let commit = self
            .repository
            .commit(None, &ada, &ada, text, &root, &found);
        self.objects.extend([blob, folder, tree]);
        let commit = commit.unwrap();
        self.objects.insert(commit);
        commit
    }

    /// The texts of the files of each chain.
    fn texts(&self) -> Vec<Vec<String>> {
        let chains = chains(&mut Source::Open(&self.repository), &self.objects).unwrap();
        let all: Vec<Oid> = chains
            .iter()
            .flat_map(|chain| chain.objects.clone())
            .collect();
        assert_eq!(
            all.len(),
            self.objects.len(),
            "one is in no chain, or in two"
        );
        let mut texts: Vec<Vec<String>> = chains
            .iter()
            .map(|chain| {
                let blobs = chain.objects.iter();
                let blobs = blobs.filter_map(|id| self.repository.find_blob(*id).ok());
                blobs
                    .map(|blob| String::from_utf8(blob.content().to_vec()).unwrap())
                    .collect()
            })
            .filter(|texts: &Vec<String>| !texts.is_empty())
            .collect();
        texts.sort();
        texts
    }
}

#[test]
fn versions_follow_commits_and_not_clocks() {
    let mut fixture = Fixture::new();
    let one = fixture.commit(&[], 30, "1");
    let two = fixture.commit(&[one], 20, "2");
    fixture.commit(&[two], 10, "3");
    assert_eq!(fixture.texts(), [["3", "2", "1"]]);
}

#[test]
fn histories_with_nothing_in_common_share_no_chain() {
    let mut fixture = Fixture::new();
    let a = fixture.commit(&[], 1, "a1");
    let b = fixture.commit(&[], 2, "b1");
    fixture.commit(&[a], 3, "a2");
    fixture.commit(&[b], 4, "b2");
    assert_eq!(fixture.texts(), [["a2", "a1"], ["b2", "b1"]]);
}

#[test]
fn a_history_is_one_although_its_beginning_is_elsewhere() {
    let mut fixture = Fixture::new();
    let before = fixture.commit(&[], 1, "0");
    fixture.objects.clear();
    let one = fixture.commit(&[before], 2, "1");
    fixture.commit(&[one], 3, "2");
    assert_eq!(fixture.texts(), [["2", "1"]]);
}

#[test]
fn what_no_commit_brought_and_merges_are_there_once() {
    let mut fixture = Fixture::new();
    let base = fixture.commit(&[], 1, "base");
    let one = fixture.commit(&[base], 2, "one");
    let other = fixture.commit(&[base], 3, "other");
    fixture.commit(&[one, other], 4, "other");
    let alone = fixture.repository.blob(b"alone").unwrap();
    fixture.objects.insert(alone);
    assert_eq!(
        fixture.texts(),
        [vec!["alone"], vec!["other", "one", "base"]]
    );
}

use std::collections::BTreeSet;

use drover_model::{Authors, GroupName, Kind};

use super::{Writers, Wrote};

fn wrote(author: &str, documents: Option<&[(Kind, &str)]>) -> Wrote {
    let identity = |(kind, name): &(Kind, &str)| (*kind, (*name).to_owned());
    Wrote {
        authors: Authors::of(&[author]),
        documents: documents.map(|all| all.iter().map(identity).collect()),
    }
}

fn told(authors: &Authors) -> Vec<&str> {
    authors.known().collect()
}

#[test]
fn a_history_that_is_cut_off_leaves_it_open_who_wrote_a_group() {
    let web = GroupName::parse("web").unwrap();
    let judges = BTreeSet::from([(Kind::Policy, "few".to_owned())]);
    let mut writers = Writers {
        commits: vec![
            wrote("ann", Some(&[(Kind::Group, "web")])),
            wrote("bob", Some(&[(Kind::Group, "db"), (Kind::Policy, "other")])),
            wrote("cem", Some(&[(Kind::Policy, "few")])),
            wrote("dan", None),
        ],
        complete: true,
        ..Writers::default()
    };
    let (authors, found) = writers.of(&web, &judges);
    assert_eq!(told(&authors), ["ann", "cem", "dan"]);
    assert!(found && !authors.unknown);
    let db = GroupName::parse("api").unwrap();
    let (authors, found) = writers.of(&db, &BTreeSet::new());
    assert_eq!(told(&authors), ["dan"]);
    assert!(!found);
    let everybody = writers.everybody();
    assert_eq!(told(&everybody), ["ann", "bob", "cem", "dan"]);
    writers.complete = false;
    assert!(writers.of(&web, &judges).0.unknown);
    assert!(writers.everybody().unknown);
    // What is known of the group's own time is judged by itself.
    writers.blind.insert(web.clone(), Vec::new());
    assert!(!writers.of(&web, &judges).0.unknown);
    writers.blind_cut.insert(web.clone());
    assert!(writers.of(&web, &judges).0.unknown);
}

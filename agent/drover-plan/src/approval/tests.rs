use std::time::Duration;

use drover_model::{
    BindingName, DecisionPoint, Digests, Drift, Enforcement, Outcome, PolicyName, Revision,
    SourceSpan,
};

use super::*;
use crate::testing::{Fixture, at, template};
use crate::{ChangeInput, change};

struct Case {
    fixture: Fixture,
    change: Change,
    rule: ApprovalRule,
    approvals: Approvals,
    authors: Authors,
    in_force: Option<ChangeId>,
}

impl Case {
    fn new(count: u32, from: &[&str]) -> Self {
        let mut fixture = Fixture::converged(3);
        fixture.group.spec.template = template(2);
        let digests: Digests = fixture.digests();
        let change = change(&ChangeInput {
            group: &fixture.recorded.name,
            recorded: &fixture.recorded,
            to: Some((&fixture.group.spec, 3, digests)),
            policies: BTreeMap::new(),
            drift: &Drift::default(),
        });
        Self {
            change: change.unwrap(),
            fixture,
            rule: ApprovalRule {
                count,
                from: from.iter().map(|it| signer(it)).collect(),
            },
            approvals: Approvals::default(),
            authors: Authors::of(&["Ann <ann@example.com>"]),
            in_force: None,
        }
    }

    fn say(&mut self, name: &str, verdict: ApprovalVerdict, seconds: i64) {
        let approval = Approval {
            change: self.change.id.clone(),
            signer: signer(name),
            verdict,
            at: at(seconds),
            expires: at(seconds) + Duration::from_hours(1),
            because: "seen".to_owned(),
            operation: Revision::parse(&"a".repeat(40)).unwrap(),
        };
        self.approvals.add(self.change.group.clone(), approval);
    }

    fn review(&self, now: i64) -> ApprovalReview {
        let wanted = [(verdict(), self.rule.clone())];
        self.review_of(now, &wanted)
    }

    fn review_of(&self, now: i64, wanted: &[(Verdict, ApprovalRule)]) -> ApprovalReview {
        review_approvals(&ApprovalInput {
            now: at(now),
            change: &self.change,
            recorded: &self.fixture.recorded,
            in_force: self.in_force.as_ref(),
            authors: &self.authors,
            wanted,
            approvals: &self.approvals,
        })
    }

    /// Has it come into force, as far as its approvals go.
    fn in_force(&mut self, now: i64, wanted: &[(Verdict, ApprovalRule)]) {
        match self.review_of(now, wanted) {
            ApprovalReview::Approved { spent, .. } => self.fixture.recorded.spent = spent,
            ApprovalReview::Withheld(held) => panic!("{}", held.hold),
        }
    }

    /// Who approved it, or the hold in words.
    fn reviewed(&self, now: i64) -> Result<Vec<String>, String> {
        match self.review(now) {
            ApprovalReview::Approved { by, .. } => {
                Ok(by.into_iter().map(|it| it.signer.to_string()).collect())
            }
            ApprovalReview::Withheld(held) => {
                let text = held.hold.to_string();
                Err(text.replace(self.change.id.short(), "X"))
            }
        }
    }
}

fn signer(name: &str) -> Signer {
    Signer::parse(&format!("{name}@example.com")).unwrap()
}

fn verdict() -> Verdict {
    Verdict {
        policy: PolicyName::parse("few").unwrap(),
        binding: BindingName::parse("prod").unwrap(),
        point: DecisionPoint::Approve,
        enforcement: Enforcement::RequireApproval,
        outcome: Outcome::Failed,
        message: "three go".to_owned(),
        span: SourceSpan::start_of("few.yaml"),
        values: BTreeMap::new(),
        digest: String::new(),
    }
}

use ApprovalVerdict::{Approve, Reject};

#[test]
fn so_many_people_must_approve_and_the_hold_names_who_has() {
    let mut case = Case::new(2, &[]);
    assert_eq!(
        case.reviewed(10).unwrap_err(),
        "change X needs 2 approvals by others than ann@example.com, has none: policy few (few.yaml:1:1): three go"
    );
    case.say("bob", Approve, 0);
    assert_eq!(
        case.reviewed(10).unwrap_err(),
        "change X needs 2 approvals by others than ann@example.com, has 1 (bob@example.com): policy few (few.yaml:1:1): three go"
    );
    case.say("bob", Approve, 5);
    assert!(case.reviewed(10).is_err(), "the same person twice is one");
    case.say("eve", Approve, 6);
    assert_eq!(
        case.reviewed(10).unwrap(),
        ["bob@example.com", "eve@example.com"]
    );
    assert!(case.reviewed(3_601).is_ok());
    assert!(case.reviewed(3_606).is_err(), "one has run out");
}

#[test]
fn whose_word_counts_is_the_bindings() {
    let mut case = Case::new(1, &["lead"]);
    case.say("bob", Approve, 0);
    case.say("eve", Reject, 0);
    assert!(case.reviewed(10).unwrap_err().contains("has none"));
    case.say("lead", Approve, 1);
    assert_eq!(case.reviewed(10).unwrap(), ["lead@example.com"]);
}

#[test]
fn the_author_approves_nothing_and_may_reject() {
    let mut case = Case::new(1, &[]);
    case.say("ANN", Approve, 0);
    assert!(case.reviewed(10).unwrap_err().contains("has none"));
    // Nor behind a later commit of somebody else.
    let held = |author: &str, change: &Change| Held {
        hold: Hold::ApprovalNeeded(Box::new(ApprovalNeeded {
            policy: PolicyHold::from(&verdict()),
            change: change.id.clone(),
            authors: Authors::of(&[author]),
            have: BTreeSet::new(),
            need: 1,
            spent: None,
        })),
        reason: None,
        instance: None,
        until: None,
    };
    case.fixture.recorded.holds = vec![held("ann@example.com", &case.change)];
    case.authors = Authors::of(&["Eve <eve@example.com>"]);
    case.say("eve", Approve, 1);
    assert_eq!(
        case.reviewed(10).unwrap_err(),
        "change X needs 1 approval by others than ann@example.com, eve@example.com, has none: policy few (few.yaml:1:1): three go"
    );
    case.say("bob", Approve, 1);
    assert_eq!(case.reviewed(10).unwrap(), ["bob@example.com"]);
    case.say("ann", Reject, 2);
    assert_eq!(
        case.reviewed(10).unwrap_err(),
        "change X was rejected by ann@example.com (seen): policy few (few.yaml:1:1): three go"
    );
}

#[test]
fn a_word_on_another_change_counts_for_nothing() {
    let mut case = Case::new(1, &[]);
    case.say("bob", Approve, 0);
    let id = drover_model::ChangeId::of(&drover_model::Value::Null);
    case.change.id = id;
    assert!(case.reviewed(10).is_err());
    let nothing = case.review_of(0, &[]);
    let authors = case.authors;
    let (by, spent) = (Vec::new(), SpentApprovals::default());
    assert_eq!(nothing, ApprovalReview::Approved { by, authors, spent });
}

#[test]
fn nobody_approves_what_anybody_may_have_written() {
    let mut case = Case::new(1, &[]);
    case.say("bob", Approve, 0);
    assert!(case.reviewed(10).is_ok());
    case.authors.unknown = true;
    assert_eq!(
        case.reviewed(10).unwrap_err(),
        "change X needs 1 approval, which nobody can give: not all who wrote it are known, has none: policy few (few.yaml:1:1): three go"
    );
}

#[test]
fn an_approval_is_used_once() {
    let mut case = Case::new(1, &[]);
    case.say("bob", Approve, 0);
    let wanted = [(verdict(), case.rule.clone())];
    case.in_force(10, &wanted);
    assert_eq!(
        case.reviewed(20).unwrap_err(),
        "change X needs 1 approval by others than ann@example.com, has none, as those until 2026-01-05T12:00:10Z are used: approve it again: policy few (few.yaml:1:1): three go"
    );
    // Given before, and read only now.
    case.say("eve", Approve, 9);
    assert!(case.reviewed(20).is_err());
    case.say("eve", Approve, 11);
    assert_eq!(case.reviewed(20).unwrap(), ["eve@example.com"]);
    case.in_force(20, &wanted);
    assert!(case.reviewed(30).is_err(), "nor twice");
}

#[test]
fn what_is_used_is_of_one_change() {
    let mut case = Case::new(1, &[]);
    case.say("bob", Approve, 0);
    let first = case.change.id.clone();
    let second = ChangeId::of(&drover_model::Value::from(2_i64));
    case.change.id = second.clone();
    case.say("bob", Approve, 0);
    case.change.id = first;
    let wanted = [(verdict(), case.rule.clone())];
    case.in_force(10, &wanted);
    assert!(case.reviewed(20).is_err());
    case.change.id = second;
    assert_eq!(case.reviewed(20).unwrap(), ["bob@example.com"]);
}

#[test]
fn a_rejection_is_not_used_up_and_brings_no_approval_back() {
    let mut case = Case::new(1, &["bob", "zoe"]);
    case.say("bob", Approve, 0);
    case.say("eve", Reject, 1);
    let wanted = [(verdict(), case.rule.clone())];
    case.in_force(10, &wanted);
    case.say("zoe", Reject, 2);
    assert!(
        case.reviewed(20)
            .unwrap_err()
            .contains("was rejected by zoe")
    );
    case.say("zoe", Approve, 3);
    assert!(case.reviewed(20).unwrap_err().contains("has none"));
}

#[test]
fn a_clock_that_is_ahead_and_a_rule_that_did_not_ask_use_an_approval_up_as_well() {
    let mut case = Case::new(1, &[]);
    case.say("bob", Approve, 100);
    case.in_force(10, &[]);
    assert!(case.reviewed(120).is_err());
    case.say("eve", Approve, 101);
    assert!(case.reviewed(120).is_ok());
    // Nobody had said anything: nothing is used.
    let mut case = Case::new(1, &[]);
    case.in_force(10, &[]);
    assert!(case.fixture.recorded.spent.is_empty());
}

#[test]
fn what_is_carried_out_keeps_its_approvals() {
    let mut case = Case::new(1, &[]);
    case.say("bob", Approve, 0);
    let wanted = [(verdict(), case.rule.clone())];
    case.in_force(10, &wanted);
    case.in_force = Some(case.change.id.clone());
    assert_eq!(case.reviewed(20).unwrap(), ["bob@example.com"]);
    case.in_force = Some(ChangeId::of(&drover_model::Value::from(2_i64)));
    assert!(case.reviewed(20).is_err());
}

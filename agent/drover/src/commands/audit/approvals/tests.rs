use drover_model::{ApprovalVerdict, ChangeId, InstanceId, OrderVerb};

use super::*;

fn at(minute: u32) -> Timestamp {
    format!("2026-01-05T08:{minute:02}:00Z").parse().unwrap()
}

/// What tom said at minute 10, for half an hour.
fn approval(because: &str) -> Approval {
    Approval {
        change: ChangeId::parse(&"ab".repeat(32)).unwrap(),
        signer: Signer::parse("tom@example.com").unwrap(),
        verdict: ApprovalVerdict::Approve,
        at: at(10),
        expires: at(40),
        because: because.to_owned(),
        operation: Revision::parse(&"cd".repeat(20)).unwrap(),
    }
}

fn web() -> GroupName {
    GroupName::parse("web").unwrap()
}

/// Judges an approval that came to be recorded between two minutes, by what was said.
fn judged(recorded: &Approval, said: &[Approval], between: (Option<u32>, u32)) -> String {
    judged_word(&Word::Approval(recorded.clone()), said, between)
}

fn judged_word(recorded: &Word, said: &[Approval], between: (Option<u32>, u32)) -> String {
    let mut approvals = Approvals::default();
    for one in said {
        approvals.add(web(), one.clone());
    }
    let mut approvers = Approvers {
        said: Ok(Said {
            approvals: Arc::new(approvals),
            refused: Vec::new(),
        }),
        last: BTreeMap::new(),
        counts: Counts::default(),
    };
    let (since, until) = between;
    let problem = approvers.judge(&web(), recorded, (since.map(at), at(until)));
    match (problem, approvers.counts()) {
        (Some(problem), _) => problem,
        (None, counts) => format!("{} proven, {} by review", counts.proven, counts.by_review),
    }
}

#[test]
fn an_approval_is_proven_by_the_operation_that_says_it() {
    let recorded = approval("seen");
    let operation = Approval {
        operation: Revision::parse(&"ef".repeat(20)).unwrap(),
        ..approval("seen")
    };
    let proven = "1 proven, 0 by review";
    assert_eq!(judged(&recorded, &[operation], (None, 12)), proven);
    let unproven = "tom@example.com is said to have said approve change";
    assert!(judged(&recorded, &[], (None, 12)).starts_with(unproven));
    // Whatever differs, somebody said something else.
    let others = [
        Approval {
            signer: Signer::parse("zoe@example.com").unwrap(),
            ..approval("seen")
        },
        Approval {
            change: ChangeId::parse(&"00".repeat(32)).unwrap(),
            ..approval("seen")
        },
        Approval {
            verdict: ApprovalVerdict::Reject,
            ..approval("seen")
        },
        Approval {
            expires: at(41),
            ..approval("seen")
        },
    ];
    assert!(judged(&recorded, &others, (None, 12)).starts_with(unproven));
}

#[test]
fn an_approval_has_to_stand_when_it_comes_into_force() {
    let said = [approval("seen")];
    let judged = |between| judged(&said[0], &said, between);
    let proven = "1 proven, 0 by review";
    assert_eq!(judged((Some(9), 11)), proven);
    // The signer's clock may be ahead a little, and the commit late.
    assert_eq!(judged((Some(1), 6)), proven);
    assert_eq!(judged((Some(39), 59)), proven);
    assert!(judged((Some(1), 4)).contains("at 2026-01-05T08:10:00Z only"));
    let expired = "had expired at 2026-01-05T08:40:00Z, before it came into force";
    assert!(judged((Some(40), 59)).contains(expired));
}

#[test]
fn a_review_is_counted_where_no_operation_says_the_same() {
    let review = approval("review of pull request 7");
    assert_eq!(judged(&review, &[], (None, 12)), "0 proven, 1 by review");
    let said = [review.clone()];
    assert_eq!(judged(&review, &said, (None, 12)), "1 proven, 0 by review");
    let other = approval("review of pull request seven");
    assert!(judged(&other, &[], (None, 12)).starts_with("tom@example.com"));
}

#[test]
fn what_is_asked_of_rollouts_and_instances_is_proven_likewise_and_never_by_a_review() {
    let promoted = Approval {
        verdict: ApprovalVerdict::Promote,
        ..approval("review of pull request 7")
    };
    let word = Word::Rollout(promoted.clone());
    let said = [promoted];
    assert_eq!(
        judged_word(&word, &said, (None, 12)),
        "1 proven, 0 by review"
    );
    let told = judged_word(&word, &[], (None, 12));
    assert!(
        told.contains("is said to have said promote change"),
        "{told}"
    );
    let Approval {
        signer,
        at,
        expires,
        because,
        operation,
        ..
    } = approval("its rack goes");
    let order = Word::Instance(Order {
        verb: OrderVerb::Replace,
        instance: InstanceId::parse("web-2").unwrap(),
        signer,
        at,
        expires,
        because,
        operation,
    });
    let told = judged_word(&order, &[], (None, 12));
    assert!(
        told.contains("is said to have said replace web-2"),
        "{told}"
    );
    assert_eq!(order.kind(), ProblemKind::OperationUnproven);
}

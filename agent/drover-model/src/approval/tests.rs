use super::*;
use crate::Value;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn change(text: &str) -> ChangeId {
    ChangeId::of(&Value::from(text))
}

fn group() -> GroupName {
    GroupName::parse("web").unwrap()
}

fn said(signer: &str, verdict: ApprovalVerdict, second: i64) -> Approval {
    Approval {
        change: change("a"),
        signer: Signer::parse(signer).unwrap(),
        verdict,
        at: at(second),
        expires: at(second + 100),
        because: "reviewed".to_owned(),
        operation: Revision::parse(&"ab".repeat(20)).unwrap(),
    }
}

fn standing(approvals: &Approvals, now: i64) -> Vec<(String, ApprovalVerdict)> {
    let standing = approvals.standing(&group(), &change("a"), at(now));
    let words = standing.into_iter();
    words
        .map(|(signer, approval)| (signer.to_string(), approval.verdict))
        .collect()
}

#[test]
fn the_latest_word_of_each_signer_counts() {
    let mut approvals = Approvals::default();
    approvals.add(group(), said("jane", ApprovalVerdict::Approve, 20));
    approvals.add(group(), said("jane", ApprovalVerdict::Reject, 10));
    approvals.add(group(), said("tom", ApprovalVerdict::Approve, 10));
    approvals.add(group(), said("tom", ApprovalVerdict::Reject, 30));
    let expected = [
        ("jane".to_owned(), ApprovalVerdict::Approve),
        ("tom".to_owned(), ApprovalVerdict::Reject),
    ];
    assert_eq!(standing(&approvals, 40), expected);
}

#[test]
fn a_rejection_wins_over_an_approval_of_the_same_moment() {
    for order in [
        [ApprovalVerdict::Approve, ApprovalVerdict::Reject],
        [ApprovalVerdict::Reject, ApprovalVerdict::Approve],
    ] {
        let mut approvals = Approvals::default();
        for verdict in order {
            approvals.add(group(), said("jane", verdict, 10));
        }
        let expected = [("jane".to_owned(), ApprovalVerdict::Reject)];
        assert_eq!(standing(&approvals, 20), expected);
    }
}

#[test]
fn what_has_expired_counts_no_more() {
    let mut approvals = Approvals::default();
    approvals.add(group(), said("jane", ApprovalVerdict::Approve, 0));
    assert_eq!(standing(&approvals, 99).len(), 1);
    assert!(standing(&approvals, 100).is_empty());
}

#[test]
fn a_rejection_that_expires_brings_no_earlier_approval_back() {
    let mut approvals = Approvals::default();
    let mut long = said("jane", ApprovalVerdict::Approve, 0);
    long.expires = at(1000);
    approvals.add(group(), long);
    approvals.add(group(), said("jane", ApprovalVerdict::Reject, 10));
    assert!(standing(&approvals, 200).is_empty());
}

#[test]
fn another_change_and_another_group_are_not_covered() {
    let mut approvals = Approvals::default();
    assert!(approvals.is_empty());
    approvals.add(group(), said("jane", ApprovalVerdict::Approve, 0));
    let other = GroupName::parse("db").unwrap();
    assert!(approvals.standing(&group(), &change("b"), at(1)).is_empty());
    assert!(approvals.standing(&other, &change("a"), at(1)).is_empty());
    assert_eq!(approvals.groups().collect::<Vec<_>>(), [&group()]);
}

#[test]
fn a_signer_is_a_principal_without_spaces() {
    for text in ["", "jane doe", "jane\n", &"x".repeat(321)] {
        assert!(Signer::parse(text).is_err(), "{text:?}");
    }
    assert_eq!(
        Signer::parse("jane@example.com").unwrap().as_str(),
        "jane@example.com"
    );
}

#[test]
fn what_is_used_is_known_for_as_long_as_an_approval_can_count() {
    let change = |number: u64| change(&number.to_string());
    let mut spent = SpentApprovals::default();
    spent.spend(change(1), at(0), at(0));
    spent.spend(change(1), at(5), at(5));
    assert_eq!(spent.until(&change(1)), Some(at(5)));
    assert_eq!(spent.until(&change(2)), None);
    let month = i64::try_from(APPROVAL_LIFETIME_MAX.as_secs()).unwrap();
    spent.spend(change(2), at(month + 5), at(month + 5));
    assert_eq!(spent.until(&change(1)), Some(at(5)));
    spent.spend(change(2), at(month + 6), at(month + 6));
    assert_eq!(spent.until(&change(1)), None);
}

#[test]
fn of_too_many_changes_nothing_counts_again() {
    let change = |number: usize| change(&number.to_string());
    let mut spent = SpentApprovals::default();
    for number in 0..=SPENT_CHANGES_MAX {
        assert_eq!(spent.before(), None);
        spent.spend(change(number), at(number as i64), at(number as i64));
    }
    assert_eq!(spent.changes().len(), SPENT_CHANGES_MAX);
    assert_eq!(spent.until(&change(0)), Some(at(0)));
    assert_eq!(spent.until(&change(1)), Some(at(1)));
    // One that nobody knows: nobody can tell whether it was used.
    assert_eq!(spent.until(&change(SPENT_CHANGES_MAX + 1)), Some(at(0)));
}

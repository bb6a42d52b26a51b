use drover_provider::Urgency;

use super::*;
use crate::budget::{Limit, Priority};

const ACTION: &str = "RunInstances";

/// How many instances may be made at once, at most so many: asked by taking them.
async fn room(purse: &Purse, most: usize) -> usize {
    let budget = purse.budget();
    let mut taken = 0;
    while taken < most {
        let priority = Priority::Make(Urgency::Scale);
        // A hundred at two a second would take longer than anybody waits.
        match budget
            .take(ACTION, Limit::RunResources, 100, priority)
            .await
        {
            Ok(()) => taken += 100,
            Err(_) => break,
        }
    }
    taken
}

#[tokio::test]
async fn profiles_that_lead_to_one_account_share_its_limits_and_what_they_spent() {
    let all = Arc::new(Purses::default());
    let of = |region| Purse::new(region, 100, Arc::clone(&all));
    let (one, two, elsewhere, other) = (of("eu"), of("eu"), of("us"), of("eu"));
    assert_eq!(room(&one, 300).await, 300);
    assert_eq!(room(&two, 400).await, 400, "nobody knows yet");
    for (purse, account) in [(&one, "1"), (&two, "1"), (&elsewhere, "1"), (&other, "2")] {
        purse.belongs_to(None);
        purse.belongs_to(Some(""));
        purse.belongs_to(Some(account));
        purse.belongs_to(Some(account));
    }
    assert!(Arc::ptr_eq(&one.budget(), &two.budget()));
    assert_eq!(
        room(&two, 1_000).await,
        300,
        "of a thousand seven hundred are spent"
    );
    assert_eq!(room(&one, 1_000).await, 0);
    assert_eq!(room(&elsewhere, 1_000).await, 1_000);
    assert_eq!(room(&other, 1_000).await, 1_000);
}

#[tokio::test]
async fn credentials_that_lead_to_another_account_leave_the_first_ones_limits() {
    let all = Arc::new(Purses::default());
    let one = Purse::new("eu", 100, Arc::clone(&all));
    one.belongs_to(Some("1"));
    assert_eq!(room(&one, 1_000).await, 1_000);
    one.belongs_to(Some("2"));
    assert_eq!(room(&one, 600).await, 600, "that one has spent nothing");
    let two = Purse::new("eu", 100, Arc::clone(&all));
    two.belongs_to(Some("2"));
    assert_eq!(room(&two, 1_000).await, 400);
    assert_eq!(
        all.0.lock().unwrap().len(),
        1,
        "nobody uses the first any more"
    );
}

use std::sync::Arc;

use super::*;

const ACTION: &str = "DescribeInstances";

/// A bucket that is quick enough to wait for.
fn quick() -> Bucket {
    Bucket::new(Rate::new(10.0, 100.0))
}

#[tokio::test]
async fn a_burst_goes_at_once_and_the_rest_at_the_refill() {
    let bucket = quick();
    let started = Instant::now();
    for _ in 0..10 {
        bucket
            .take(1.0, Priority::Make(Urgency::Scale))
            .await
            .unwrap();
    }
    for _ in 0..20 {
        bucket
            .take(1.0, Priority::Make(Urgency::Scale))
            .await
            .unwrap();
    }
    // Twenty at a hundred a second; however slow the machine is, it is not faster.
    assert!(started.elapsed() >= Duration::from_millis(199));
}

#[test]
fn half_of_the_limits_is_half_of_the_burst_and_of_the_refill() {
    let half = Limit::RunResources.rate().share(50);
    assert_eq!(half, Rate::new(500.0, 1.0));
    let least = Limit::Run.rate().share(1);
    assert_eq!(least, Rate::new(1.0, 0.02), "one call must fit");
}

#[tokio::test]
async fn what_would_wait_too_long_is_turned_away_at_once_and_takes_nothing() {
    let budget = Budget::new(100);
    let take = |count| {
        budget.take(
            ACTION,
            Limit::RunResources,
            count,
            Priority::Make(Urgency::Scale),
        )
    };
    take(1_000).await.unwrap();
    let error = take(100).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Throttled);
    assert!(error.message.contains("50 s more"), "{error}");
    take(1).await.unwrap();
}

#[tokio::test]
async fn who_observes_overtakes_who_makes_and_who_heals_who_rolls() {
    let bucket = Arc::new(quick());
    bucket.empty();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for (number, priority) in [
        (1, Priority::Rest),
        (2, Priority::Make(Urgency::Roll)),
        (5, Priority::Make(Urgency::Scale)),
        (6, Priority::Make(Urgency::Heal)),
        (3, Priority::Observe),
        (4, Priority::End),
    ] {
        let bucket = Arc::clone(&bucket);
        let order = Arc::clone(&order);
        waiting.push(tokio::spawn(async move {
            bucket.take(10.0, priority).await.unwrap();
            order.lock().unwrap().push(number);
        }));
        tokio::task::yield_now().await;
    }
    for task in waiting {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [3, 4, 6, 5, 2, 1]);
}

#[tokio::test]
async fn who_stops_waiting_holds_up_nobody() {
    let bucket = quick();
    bucket.empty();
    let gone = bucket.take(10.0, Priority::Observe);
    let waited = tokio::time::timeout(Duration::from_millis(1), gone).await;
    assert!(waited.is_err());
    assert!(bucket.lock().waiting.is_empty());
    bucket.take(1.0, Priority::Rest).await.unwrap();
}

#[tokio::test]
async fn a_call_that_ec2_turned_away_empties_the_bucket() {
    let budget = Budget::new(100);
    budget.empty(Limit::Run);
    let started = Instant::now();
    let taken = budget
        .take(ACTION, Limit::Run, 1, Priority::Make(Urgency::Scale))
        .await;
    taken.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(499));
}

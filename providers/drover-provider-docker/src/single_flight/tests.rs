use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Questions that are answered when they are told to.
#[derive(Default)]
struct Held {
    flight: SingleFlight<Result<u32, String>>,
    begun: AtomicUsize,
    go: tokio::sync::Notify,
}

impl Held {
    /// Asks, and answers with `answer` if that is its duty.
    fn ask(
        this: &Arc<Self>,
        key: &str,
        answer: Result<u32, String>,
    ) -> tokio::task::JoinHandle<Option<Result<u32, String>>> {
        let (this, key) = (Arc::clone(this), key.to_owned());
        tokio::spawn(async move {
            let (waiting, duty) = this.flight.ask(&key);
            if let Some(duty) = duty {
                this.begun.fetch_add(1, Ordering::SeqCst);
                this.go.notified().await;
                duty.answer(answer);
            }
            waiting.answer().await
        })
    }

    async fn begun(&self) -> usize {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.begun.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn one_asks_for_everybody_who_waits_and_the_next_asks_anew() {
    let held = Arc::<Held>::default();
    let first: Vec<_> = (0..5).map(|_| Held::ask(&held, "a", Ok(1))).collect();
    let other = Held::ask(&held, "b", Ok(2));
    assert_eq!(held.begun().await, 2, "one for each key");
    assert!(held.flight.under_way("a").is_some());
    held.go.notify_waiters();
    for answer in first {
        assert_eq!(answer.await.unwrap(), Some(Ok(1)));
    }
    assert_eq!(other.await.unwrap(), Some(Ok(2)));
    assert!(held.flight.under_way("a").is_none());
    let next = Held::ask(&held, "a", Ok(3));
    assert_eq!(held.begun().await, 3);
    held.go.notify_waiters();
    assert_eq!(next.await.unwrap(), Some(Ok(3)));
}

#[tokio::test]
async fn a_failure_is_everybodys() {
    let held = Arc::<Held>::default();
    let failed = Err("no route".to_owned());
    let all: Vec<_> = (0..5)
        .map(|_| Held::ask(&held, "a", failed.clone()))
        .collect();
    assert_eq!(held.begun().await, 1);
    held.go.notify_waiters();
    for answer in all {
        assert_eq!(answer.await.unwrap(), Some(failed.clone()));
    }
    assert_eq!(held.begun().await, 1, "nobody asks once more by itself");
}

#[tokio::test]
async fn who_waits_for_a_question_that_is_given_up_is_told_and_the_next_asks_it() {
    let held = Arc::<Held>::default();
    let first = Held::ask(&held, "a", Ok(1));
    assert_eq!(held.begun().await, 1);
    let second = Held::ask(&held, "a", Ok(2));
    assert_eq!(held.begun().await, 1);
    first.abort();
    assert_eq!(second.await.unwrap(), None);
    assert!(held.flight.under_way("a").is_none(), "it leaves nothing");
    let third = Held::ask(&held, "a", Ok(3));
    assert_eq!(held.begun().await, 2);
    held.go.notify_waiters();
    assert_eq!(third.await.unwrap(), Some(Ok(3)));
}

use std::time::Duration;

use drover_model::{EntryId, EntryRole, ErrorClass, EtcdKeeper, RosterView};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::RosterOrder;
use super::{List, Said, Status, change, host, judge, read};

const LIMIT: Duration = Duration::from_secs(2);

/// What a member says of itself, as the gateway writes it.
fn status(member: u64, leader: u64, term: u64) -> Status {
    let text = |number: u64| Value::String(number.to_string());
    let said = json!({
        "header": {"cluster_id": "7", "member_id": text(member), "raft_term": text(term)},
        "version": "3.4.23",
        "leader": text(leader),
        "raftIndex": "120",
        "raftTerm": text(term),
        "raftAppliedIndex": text(120 - member),
    });
    serde_json::from_value(said).unwrap()
}

/// A list of three, the third of which follows and has not worked yet.
fn list() -> List {
    let said = json!({"members": [
        {"ID": "1", "name": "m1", "peerURLs": ["http://127.0.0.1:2380"], "clientURLs": ["http://127.0.0.1:2379"]},
        {"ID": "2", "name": "m2", "peerURLs": ["http://[::1]:2380"], "clientURLs": ["http://[::1]:2379"]},
        {"ID": "3", "peerURLs": ["http://127.0.0.3:2380"], "isLearner": true},
    ]});
    serde_json::from_value(said).unwrap()
}

fn said(member: u64, leader: u64, term: u64) -> Said {
    Said {
        status: status(member, leader, term),
        list: Some(list()),
    }
}

#[test]
fn the_leaders_list_is_believed_once_a_majority_follows() {
    let roster = judge(&[said(1, 1, 4), said(2, 1, 4)]).unwrap();
    assert_eq!((roster.term, roster.leader), (4, EntryId(1)));
    let follower = &roster.entries[&EntryId(2)];
    assert_eq!(follower.hosts, ["::1"]);
    assert!(follower.started && follower.answers);
    assert_eq!(follower.lag, Some(2));
    let learner = &roster.entries[&EntryId(3)];
    assert_eq!(learner.role, EntryRole::Learner);
    assert!(!learner.started && !learner.answers && learner.name.is_empty());
}

#[test]
fn less_than_that_is_unclear() {
    let mut other_cluster = said(2, 1, 4);
    other_cluster.status.header.cluster_id.0 = 8;
    let listless = Said {
        list: None,
        ..said(1, 1, 4)
    };
    let cases = [
        (vec![], "no member answers"),
        (vec![said(1, 1, 4)], "1 of its 2 voters follow the leader"),
        (vec![said(1, 0, 4), said(2, 0, 4)], "nobody leads"),
        (
            vec![said(1, 1, 4), said(2, 2, 4)],
            "its members name different leaders",
        ),
        // Who led before the newest term leads no more, whatever its own list says.
        (vec![said(1, 1, 4), said(2, 0, 5)], "nobody leads"),
        (
            vec![said(1, 1, 4), said(2, 2, 5)],
            "1 of its 2 voters follow the leader",
        ),
        (vec![said(2, 1, 4)], "who leads does not answer"),
        (vec![listless, said(2, 1, 4)], "who leads does not answer"),
        (
            vec![said(1, 1, 4), other_cluster],
            "its members are of different clusters",
        ),
    ];
    for (answers, why) in cases {
        assert_eq!(judge(&answers), Err(why.to_owned()));
    }
}

#[test]
fn hosts_are_taken_from_peer_urls() {
    assert_eq!(host("http://127.0.0.1:2380"), "127.0.0.1");
    assert_eq!(host("https://[fd00::1]:2380"), "fd00::1");
    assert_eq!(host("nonsense"), "nonsense");
}

/// Answers every request with `answer` until it is dropped.
async fn serve(answer: &'static str) -> EtcdKeeper {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client_port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    EtcdKeeper {
        client_port,
        peer_port: 2380,
    }
}

async fn class_of(answer: &'static str, order: RosterOrder) -> Option<ErrorClass> {
    let keeper = serve(answer).await;
    let changed = change(keeper, "127.0.0.1", &order, LIMIT).await;
    changed.err().map(|error| error.class)
}

#[tokio::test]
async fn refusals_are_told_from_what_may_have_taken_effect() {
    let remove = || RosterOrder::Remove(EntryId(3));
    let done = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(class_of(done, remove()).await, None);
    let gone = "HTTP/1.1 404 Not Found\r\ncontent-length: 60\r\n\r\n{\"message\":\"etcdserver: member not found\",\"code\":5}         ";
    assert_eq!(class_of(gone, remove()).await, None);
    let promote = RosterOrder::Promote(EntryId(3));
    assert_eq!(class_of(gone, promote).await, Some(ErrorClass::Throttled));
    let unhealthy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 60\r\n\r\n{\"message\":\"etcdserver: unhealthy cluster\",\"code\":14}       ";
    assert_eq!(
        class_of(unhealthy, remove()).await,
        Some(ErrorClass::Throttled)
    );
    let late = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 60\r\n\r\n{\"message\":\"etcdserver: request timed out\",\"code\":14}       ";
    assert_eq!(class_of(late, remove()).await, Some(ErrorClass::Unknown));
    let broken = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
    assert_eq!(class_of(broken, remove()).await, Some(ErrorClass::Unknown));
    let elsewhere = "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(
        class_of(elsewhere, remove()).await,
        Some(ErrorClass::Unknown)
    );
}

#[tokio::test]
async fn nobody_who_listens_was_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keeper = EtcdKeeper {
        client_port: listener.local_addr().unwrap().port(),
        peer_port: 2380,
    };
    drop(listener);
    let order = RosterOrder::Add {
        address: "127.0.0.9".to_owned(),
    };
    let refused = change(keeper, "127.0.0.1", &order, LIMIT)
        .await
        .unwrap_err();
    assert_eq!(refused.class, ErrorClass::Throttled);
    let view = read(keeper, &["127.0.0.1".to_owned()], LIMIT).await;
    let RosterView::Unclear { why } = view else {
        panic!("{view:?}")
    };
    assert!(
        why.starts_with("no member answers (127.0.0.1: nobody listens"),
        "{why}"
    );
}

#[tokio::test]
async fn silence_and_endless_answers_end_in_time() {
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n{\"members\":[]";
    let keeper = serve(endless).await;
    let begun = std::time::Instant::now();
    let limit = Duration::from_millis(200);
    let view = read(keeper, &["127.0.0.1".to_owned()], limit).await;
    assert!(matches!(view, RosterView::Unclear { .. }));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

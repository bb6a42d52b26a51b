use super::*;
use crate::testing::FakeEngine;

fn get(keep: Keep, limit: Duration) -> Call {
    Call {
        method: Method::GET,
        target: "/x".to_owned(),
        body: None,
        registry_auth: None,
        limit,
        keep,
    }
}

const SOON: Duration = Duration::from_secs(10);

#[test]
fn texts_are_encoded_for_paths_and_queries() {
    assert_eq!(encoded("web-1.ab_c~"), "web-1.ab_c~");
    assert_eq!(
        encoded("a/b:c d&e=é\"%"),
        "a%2Fb%3Ac%20d%26e%3D%C3%A9%22%25"
    );
}

#[tokio::test]
async fn as_much_of_an_answer_is_kept_as_is_asked_for() {
    let engine = FakeEngine::start(|_| Some((200, "0123456789".repeat(10))));
    let socket = Socket::at(&engine.socket());
    let kept = async |keep| socket.exchange(get(keep, SOON)).await;
    assert_eq!(kept(Keep::All(100)).await.unwrap().body.len(), 100);
    assert_eq!(kept(Keep::First(12)).await.unwrap().body, b"012345678901");
    let last = kept(Keep::Last(10)).await.unwrap().body;
    assert!(last.ends_with(b"6789") && last.len() <= 20, "{last:?}");
    let larger = Fault::Lost("the answer is larger than 99 bytes".to_owned());
    assert_eq!(kept(Keep::All(99)).await, Err(larger));
}

#[tokio::test]
async fn a_call_that_cannot_have_arrived_is_told_from_one_whose_answer_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = Socket::at(&folder.path().join("engine.sock"));
    let fault = nobody
        .exchange(get(Keep::All(100), SOON))
        .await
        .unwrap_err();
    assert!(
        matches!(fault, Fault::NotSent { denied: false, .. }),
        "{fault:?}"
    );

    let engine = FakeEngine::start(|_| None);
    let socket = Socket::at(&engine.socket());
    let fault = socket
        .exchange(get(Keep::All(100), SOON))
        .await
        .unwrap_err();
    assert!(matches!(fault, Fault::Lost(_)), "{fault:?}");

    let listener = tokio::net::UnixListener::bind(folder.path().join("silent")).unwrap();
    let socket = Socket::at(&folder.path().join("silent"));
    let limit = Duration::from_millis(50);
    let fault = socket
        .exchange(get(Keep::All(100), limit))
        .await
        .unwrap_err();
    assert_eq!(fault, Fault::Lost("no answer within 50ms".to_owned()));
    drop(listener);
}

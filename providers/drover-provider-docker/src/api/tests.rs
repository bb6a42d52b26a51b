use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use drover_provider::ProviderError;

use super::*;
use crate::testing::{FakeEngine, Scripted, fleet, map, provider_at, request, strings, version};

fn engine(fake: &FakeEngine) -> Engine {
    Engine::at("unix:///engine", &fake.socket())
}

#[test]
fn the_version_is_the_newest_that_both_speak() {
    let spoken = |newest: &str, oldest: &str| {
        let said = format!("{{\"ApiVersion\": \"{newest}\", \"MinAPIVersion\": \"{oldest}\"}}");
        let version = Spoken::read(said.as_bytes()).unwrap().version();
        version.map(|version| version.to_string())
    };
    // Podman 4.3; Docker 25; a later one that still has it; one that has not.
    assert_eq!(spoken("1.41", "1.24").unwrap(), "1.41");
    assert_eq!(spoken("1.44", "1.24").unwrap(), "1.44");
    assert_eq!(spoken("1.52", "1.44").unwrap(), "1.44");
    assert_eq!(spoken("1.60", "1.50").unwrap(), "1.50");
    let old = spoken("1.24", "1.12").unwrap_err();
    assert_eq!(old, "the engine has API 1.24, 1.29 is needed");
    let quiet = Spoken::read(b"{\"ApiVersion\": \"1.43\"}").unwrap();
    assert_eq!(quiet.version().unwrap(), Version(1, 43));
    for said in [
        "",
        "{}",
        "{\"ApiVersion\": 1.41}",
        "{\"ApiVersion\": \"one\"}",
    ] {
        assert_eq!(Spoken::read(said.as_bytes()), None, "{said}");
    }
}

#[test]
fn an_image_is_asked_for_by_its_tag_and_never_with_every_tag() {
    let parts = |image| {
        let Reference { name, tag } = Reference::of(image);
        (name.to_owned(), tag.map(str::to_owned))
    };
    let of = |name: &str, tag: &str| (name.to_owned(), Some(tag.to_owned()));
    assert_eq!(parts("nginx"), of("nginx", "latest"));
    assert_eq!(parts("nginx:1.27"), of("nginx", "1.27"));
    assert_eq!(
        parts("registry.example.com:5000/a/b"),
        of("registry.example.com:5000/a/b", "latest")
    );
    assert_eq!(
        parts("registry.example.com:5000/a/b:c"),
        of("registry.example.com:5000/a/b", "c")
    );
    assert_eq!(parts("a/b@sha256:0f"), of("a/b", "sha256:0f"));
    assert_eq!(parts("a/b:c@sha256:0f"), of("a/b:c", "sha256:0f"));
}

#[test]
fn a_pull_that_fails_says_so_in_its_last_lines() {
    let good = b"{\"status\": \"Pulling\"}\n{\"status\": \"Done\"}\n";
    assert_eq!(pull_error(good), None);
    let bad = b"cut short\"}\n{\"status\": \"Pulling\"}\n{\"errorDetail\": {}, \"error\": \"manifest\nunknown\"}\n";
    assert_eq!(
        pull_error(bad),
        None,
        "a line break inside of a line is no line of JSON"
    );
    let bad =
        b"{\"status\": \"Pulling\"}\n{\"errorDetail\": {}, \"error\": \"manifest\\nunknown\"}\n";
    assert_eq!(pull_error(bad).as_deref(), Some("manifest\nunknown"));
}

#[test]
fn an_engines_words_are_passed_on_within_bounds() {
    let said = |status, body: &str| {
        let body = body.as_bytes().to_vec();
        words(&Answer { status, body }, shortened)
    };
    assert_eq!(
        said(404, "{\"message\": \"no such\\nthing\"}"),
        "no such thing"
    );
    assert_eq!(said(500, " plainly wrong\n"), "plainly wrong");
    assert_eq!(said(502, ""), "it answers with HTTP status 502");
    assert_eq!(said(500, &"x".repeat(1_000)).chars().count(), WORDS_MAX + 1);
}

#[test]
fn classes_follow_from_what_is_known_and_never_from_words() {
    let error = |kind| EngineError {
        what: "x".to_owned(),
        why: "no space left on device".to_owned(),
        kind,
    };
    let classes = [
        (
            ErrorKind::NotSent { denied: false },
            ErrorClass::Unknown,
            ErrorClass::Unknown,
        ),
        (
            ErrorKind::NotSent { denied: true },
            ErrorClass::Auth,
            ErrorClass::Auth,
        ),
        (ErrorKind::Lost, ErrorClass::Unknown, ErrorClass::Unknown),
        (
            ErrorKind::Refused(400),
            ErrorClass::Unknown,
            ErrorClass::InvalidSpec,
        ),
        (
            ErrorKind::Refused(301),
            ErrorClass::Unknown,
            ErrorClass::InvalidSpec,
        ),
        (
            ErrorKind::Refused(404),
            ErrorClass::Unknown,
            ErrorClass::InvalidSpec,
        ),
        (ErrorKind::Refused(403), ErrorClass::Auth, ErrorClass::Auth),
        (
            ErrorKind::Refused(409),
            ErrorClass::Unknown,
            ErrorClass::Partial,
        ),
        (
            ErrorKind::Refused(429),
            ErrorClass::Throttled,
            ErrorClass::Throttled,
        ),
        (
            ErrorKind::Refused(500),
            ErrorClass::Unknown,
            ErrorClass::Partial,
        ),
    ];
    for (kind, class, nothing_made) in classes {
        let error = error(kind);
        assert_eq!(error.class(), class, "{kind:?}");
        assert_eq!(error.class_of_nothing_made(), nothing_made, "{kind:?}");
    }
}

#[tokio::test]
async fn an_engine_that_was_replaced_is_asked_for_its_version_again() {
    let replaced = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&replaced);
    let fake = FakeEngine::start(move |asked| match asked {
        "GET /version" if seen.load(Ordering::Relaxed) == 0 => Some(version("1.41")),
        "GET /version" => Some(version("1.44")),
        asked if asked.contains("/v1.41/") && seen.load(Ordering::Relaxed) > 0 => Some((
            400,
            "{\"message\": \"client version 1.41 is too old\"}".to_owned(),
        )),
        _ => Some((200, "[]".to_owned())),
    });
    let engine = engine(&fake);
    assert_eq!(engine.containers(&[]).await, Ok(Vec::new()));
    assert_eq!(engine.containers(&[]).await, Ok(Vec::new()));
    replaced.store(1, Ordering::Relaxed);
    let error = engine.containers(&[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot list containers at unix:///engine: client version 1.41 is too old"
    );
    assert_eq!(engine.containers(&[]).await, Ok(Vec::new()));
    let versions = fake
        .asked()
        .iter()
        .filter(|asked| asked.ends_with("/version"))
        .count();
    assert_eq!(versions, 2, "it is remembered: {:?}", fake.asked());
}

#[tokio::test]
async fn an_engine_that_cannot_list_is_an_error_and_never_an_empty_list() {
    let answers: [fn(&str) -> Scripted; 6] = [
        |_| None,
        |_| Some((200, String::new())),
        |_| Some((200, "null".to_owned())),
        |_| Some((200, "{}".to_owned())),
        |_| Some((200, "[{\"Names\": []}]".to_owned())),
        |_| Some((500, "[]".to_owned())),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let fake = FakeEngine::start(move |asked| match asked {
            "GET /version" => Some(version("1.44")),
            asked => answer(asked),
        });
        let listed = fake.provider().list(&fleet()).await;
        let error = listed.expect_err(&format!("answer {number}"));
        assert_eq!(error.class, ErrorClass::Unknown, "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let nobody = provider_at(&folder.path().join("engine.sock"), folder.path());
    let error = nobody.list(&fleet()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unknown);
    assert!(error.message.contains("cannot connect to"), "{error}");
}

/// Makes a container at an engine that answers so to its creation, and to every look afterwards.
async fn making(created: (u16, &'static str), found: Option<&'static str>) -> ProviderError {
    let looks = AtomicUsize::new(0);
    let fake = FakeEngine::start(move |asked| {
        let answer = |status, said: &str| Some((status, said.to_owned()));
        match asked {
            "GET /version" => Some(version("1.44")),
            asked if asked.contains("/containers/json") => {
                let first = looks.fetch_add(1, Ordering::Relaxed) == 0;
                found
                    .filter(|_| !first)
                    .map_or_else(|| answer(200, "[]"), |found| answer(200, found))
            }
            asked if asked.contains("/images/") => answer(200, "{}"),
            asked if asked.contains("/containers/create") => answer(created.0, created.1),
            _ => None,
        }
    });
    let properties = map(&[("image", "a:1".into()), ("command", strings(&["x"]))]);
    let made = fake.provider().provision(&request(properties)).await;
    made.expect_err("nothing is made")
}

#[tokio::test]
async fn what_a_refused_creation_came_to_is_asked_and_not_guessed() {
    let refused = making((404, "{\"message\": \"no such image\"}"), None).await;
    assert_eq!(refused.class, ErrorClass::InvalidSpec, "{refused}");
    let broken = making((500, "{\"message\": \"no space left on device\"}"), None).await;
    assert_eq!(broken.class, ErrorClass::Partial, "{broken}");
    assert!(
        broken.message.contains("no space left on device"),
        "{broken}"
    );
    // The name is taken, and nobody can say by what.
    let unreadable = making((409, "{\"message\": \"conflict\"}"), Some("cut short")).await;
    assert_eq!(unreadable.class, ErrorClass::Unknown, "{unreadable}");
}

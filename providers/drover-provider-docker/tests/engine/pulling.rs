//! Images from a real registry.

use drover_model::{ErrorClass, Value};

use crate::harness::{Scope, shell};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_when_it_is_missing_or_always_as_it_is_written() {
    let scope = Scope::new("pulling");
    let (registry, image) = scope.engine.registry();
    let with = |image: &str, pull: &str| {
        let more = [("image", Value::from(image)), ("pull", Value::from(pull))];
        shell("echo from the registry", &more)
    };
    let never = scope
        .try_make(&scope.request(1, with(&image, "never")))
        .await;
    assert_eq!(never.unwrap_err().class, ErrorClass::InvalidSpec);

    // Several at once: one of them pulls.
    let (one, two) = (
        scope.request(2, with(&image, "missing")),
        scope.request(3, with(&image, "missing")),
    );
    let (one, two) = tokio::join!(scope.make(&one), scope.make(&two));
    for handle in [one, two] {
        let report = scope.until_ended(&handle).await;
        assert_eq!(report.message, "from the registry");
    }
    scope.make(&scope.request(4, with(&image, "always"))).await;

    // What no registry has is refused, in whatever way the engine says so, and leaves nothing behind.
    let before = scope.containers().len();
    let absent = format!("{}:2", image.trim_end_matches(":1"));
    let error = scope
        .try_make(&scope.request(5, with(&absent, "missing")))
        .await
        .unwrap_err();
    let classes = [ErrorClass::InvalidSpec, ErrorClass::Partial];
    assert!(
        classes.contains(&error.class),
        "{}: {error}",
        error.class.as_str()
    );
    assert!(error.message.contains("cannot pull image"), "{error}");

    // Without the registry what is there is used, unless it has to be pulled.
    drop(registry);
    scope.make(&scope.request(6, with(&image, "missing"))).await;
    let error = scope
        .try_make(&scope.request(7, with(&image, "always")))
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::Partial, "{error}");
    assert_eq!(scope.containers().len(), before + 1);
    scope.engine.remove("drover.fleet=pulling");
    scope.engine.delete(&format!("/images/{image}?force=true"));
}

//! Secrets reach the provider, and nobody else.

use std::sync::Mutex;

use drover_model::{Flavor, SecretRef, Template};
use drover_provider::{NoSecrets, SecretError, SecretSource, SecretText};

use super::*;

/// A variable of the agent's environment, which may change.
#[derive(Debug)]
struct Variable(Mutex<&'static str>);

impl SecretSource for Variable {
    fn read(&self, reference: &SecretRef) -> Result<SecretText, SecretError> {
        let value = *self.0.lock().unwrap();
        match reference {
            SecretRef::Env(name) if name == "WEB_TOKEN" => Ok(SecretText::new(value.to_owned())),
            other => NoSecrets.read(other),
        }
    }
}

fn secret_template(name: &str) -> Template {
    let mut template = template("v1");
    let reference = SecretRef::Env(name.to_owned());
    template.flavors = vec![Flavor::Vanilla(Vanilla {
        secrets: [("TOKEN".to_owned(), reference)].into(),
        ..Vanilla::default()
    })];
    template
}

fn ctx(fixture: &Fixture, source: &Arc<Variable>) -> ApplyContext {
    ApplyContext {
        secrets: Arc::clone(source) as Arc<dyn SecretSource>,
        ..fixture.ctx()
    }
}

fn given(fixture: &Fixture) -> Vec<Option<String>> {
    let world = fixture.provider.sim.world();
    let instances = world.of_group(&web(), fixture.clock.now());
    let env = instances.iter().map(|(_, instance)| {
        let blueprint = instance.blueprint.as_ref()?;
        blueprint.env.get("TOKEN").cloned()
    });
    env.collect()
}

#[tokio::test]
async fn an_instance_gets_the_value_and_the_journal_the_reference() {
    let fixture = fixture();
    let source = Arc::new(Variable(Mutex::new("hunter22")));
    let steps = vec![create_from(&[1], 1, secret_template("WEB_TOKEN"))];
    let report = apply(&plan(steps), &ctx(&fixture, &source)).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(given(&fixture), [Some("hunter22".to_owned())]);
    let intents = format!("{:?}", fixture.journal.open_intents(&web()).unwrap());
    assert!(intents.contains("WEB_TOKEN"), "{intents}");
    assert!(!intents.contains("hunter22"), "{intents}");
    // What a provider is given does not show it either.
    let requests = format!("{:?}", fixture.provider.provisions.lock().unwrap());
    assert!(!requests.contains("hunter22"), "{requests}");
}

#[tokio::test]
async fn what_a_provider_repeats_of_a_secret_is_taken_out() {
    let fixture = fixture();
    *fixture.provider.echoes.lock().unwrap() = Some(ErrorClass::Quota);
    let source = Arc::new(Variable(Mutex::new("hunter22")));
    let steps = vec![create_from(&[1], 1, secret_template("WEB_TOKEN"))];
    let report = apply(&plan(steps), &ctx(&fixture, &source)).await;
    let StepResult::Failed { message, .. } = &report.outcomes[0].result else {
        panic!("{report:?}");
    };
    assert_eq!(message, "refused: TOKEN=[secret env:WEB_TOKEN]");
    let states = format!("{:?}", fixture.states());
    assert!(!states.contains("hunter22"), "{states}");
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_named_and_nothing_is_called() {
    let fixture = fixture();
    let source = Arc::new(Variable(Mutex::new("hunter22")));
    let steps = vec![create_from(&[1], 1, secret_template("OTHER"))];
    let report = apply(&plan(steps), &ctx(&fixture, &source)).await;
    assert!(
        failed(ErrorClass::Auth)(&report.outcomes[0].result),
        "{report:?}"
    );
    let [IntentState::Failed { class, message, .. }] = &fixture.states()[..] else {
        panic!("{:?}", fixture.states());
    };
    // It says nothing against the template.
    assert_eq!(*class, ErrorClass::Auth);
    assert_eq!(
        message,
        "secret env:OTHER cannot be read: no secrets are allowed here"
    );
    assert_eq!(fixture.provider.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_repeated_call_whose_secret_has_changed_makes_nothing_twice() {
    let fixture = fixture();
    let lost = Fault::next(Op::Provision, 1, FaultKind::LostReply);
    fixture.provider.sim.world().inject(lost);
    let source = Arc::new(Variable(Mutex::new("hunter22")));
    let steps = vec![create_from(&[1], 1, secret_template("WEB_TOKEN"))];
    let report = apply(&plan(steps), &ctx(&fixture, &source)).await;
    assert!(is_unknown(&report.outcomes[0].result), "{report:?}");
    *source.0.lock().unwrap() = "hunter33";
    let open = fixture.journal.open_intents(&web()).unwrap();
    let steps = vec![resend(open[0].id)];
    let report = apply(&plan(steps), &ctx(&fixture, &source)).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(given(&fixture), [Some("hunter22".to_owned())]);
}

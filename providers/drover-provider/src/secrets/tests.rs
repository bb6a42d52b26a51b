use std::collections::{BTreeMap, BTreeSet};

use drover_model::{SecretRef, Value};

use super::{NoSecrets, SecretError, SecretSource, SecretText, Secrets, references};

#[derive(Debug)]
struct Known;

impl SecretSource for Known {
    fn read(&self, reference: &SecretRef) -> Result<SecretText, SecretError> {
        match reference {
            SecretRef::Env(name) if name == "TOKEN" => Ok(SecretText::new("hunter22".to_owned())),
            SecretRef::Env(name) if name == "SHORT" => Ok(SecretText::new("abc".to_owned())),
            other => NoSecrets.read(other),
        }
    }
}

fn secrets(names: &[&str]) -> Secrets {
    let references = names.iter().map(|name| SecretRef::Env((*name).to_owned()));
    Secrets::read(&Known, &references.collect()).unwrap()
}

fn properties() -> Value {
    let token = SecretRef::Env("TOKEN".to_owned()).to_value();
    let env: BTreeMap<String, Value> = BTreeMap::from([
        ("PORT".to_owned(), Value::from("80")),
        ("TOKEN".to_owned(), token.clone()),
    ]);
    let list = Value::List(vec![Value::from("run"), token]);
    Value::Map(
        [
            ("env".to_owned(), Value::Map(env)),
            ("command".to_owned(), list),
        ]
        .into(),
    )
}

#[test]
fn references_are_replaced_wherever_they_stand() {
    let revealed = secrets(&["TOKEN"]).reveal(&properties());
    let env = revealed.get("env").unwrap();
    assert_eq!(env.get("TOKEN"), Some(&Value::from("hunter22")));
    assert_eq!(env.get("PORT"), Some(&Value::from("80")));
    let command = revealed.get("command").and_then(Value::as_list).unwrap();
    assert_eq!(command[1], Value::from("hunter22"));
    // What is not known stays what it is.
    assert_eq!(Secrets::default().reveal(&properties()), properties());
}

#[test]
fn a_call_says_which_secrets_it_needs() {
    let found = references(&[], &properties());
    assert_eq!(found, BTreeSet::from([SecretRef::Env("TOKEN".to_owned())]));
}

#[test]
fn nothing_shows_a_value() {
    let secrets = secrets(&["TOKEN", "SHORT"]);
    let shown = format!("{secrets:?}");
    assert!(!shown.contains("hunter22"), "{shown}");
    assert!(shown.contains("[secret]"), "{shown}");
    assert_eq!(
        secrets.redact("cannot log in with hunter22: abc"),
        // A value of three letters would be found in too many words.
        "cannot log in with [secret env:TOKEN]: abc"
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let wanted = BTreeSet::from([SecretRef::File("/run/secrets/web".to_owned())]);
    let error = Secrets::read(&Known, &wanted).unwrap_err();
    assert_eq!(
        error.to_string(),
        "secret file:/run/secrets/web cannot be read: no secrets are allowed here"
    );
}

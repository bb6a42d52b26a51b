use super::*;
use crate::render;

fn about(verdict: ApprovalVerdict) -> Asked {
    let change = ChangeId::parse(&"ab".repeat(32)).unwrap();
    Asked::Change { verdict, change }
}

fn of_instance(verb: OrderVerb) -> Asked {
    let instance = InstanceId::parse("web-7").unwrap();
    Asked::Instance { verb, instance }
}

fn sample() -> Operation {
    Operation {
        asked: about(ApprovalVerdict::Approve),
        fleet: FleetName::parse("prod").unwrap(),
        group: GroupName::parse("web").unwrap(),
        at: "2026-11-30T01:00:00Z".parse().unwrap(),
        expires: "2026-12-01T01:00:00Z".parse().unwrap(),
        because: "reviewed: looks \"fine\"".to_owned(),
    }
}

#[test]
fn an_operation_is_a_small_document() {
    insta::assert_snapshot!(encode(&sample()), @r#"
    apiVersion: drover/v1alpha1
    kind: Operation
    spec:
      operation: approve
      fleet: prod
      group: web
      change: abababababababababababababababababababababababababababababababab
      at: "2026-11-30T01:00:00Z"
      expires: "2026-12-01T01:00:00Z"
      because: "reviewed: looks \"fine\""
    "#);
}

#[test]
fn what_is_written_is_read_again() {
    let changes = ApprovalVerdict::ALL.map(about);
    let instances = OrderVerb::ALL.map(of_instance);
    for asked in changes.into_iter().chain(instances) {
        for because in ["x", "INC-123: a\nb", "-----BEGIN SSH", "# é {}"] {
            let operation = Operation {
                asked: asked.clone(),
                because: because.to_owned(),
                ..sample()
            };
            assert_eq!(parse("a", &encode(&operation)).unwrap(), operation);
        }
    }
}

#[test]
fn an_operation_of_an_instance_names_it_and_no_change() {
    let operation = Operation {
        asked: of_instance(OrderVerb::Keep),
        ..sample()
    };
    insta::assert_snapshot!(encode(&operation), @r#"
    apiVersion: drover/v1alpha1
    kind: Operation
    spec:
      operation: keep
      fleet: prod
      group: web
      instance: web-7
      at: "2026-11-30T01:00:00Z"
      expires: "2026-12-01T01:00:00Z"
      because: "reviewed: looks \"fine\""
    "#);
}

#[test]
fn a_change_or_an_instance_is_named_as_the_word_has_it() {
    let spec = |fields: &str| {
        let times = "at: '2026-11-30T01:00:00Z', expires: '2026-12-01T01:00:00Z', because: x";
        let text = format!(
            "apiVersion: drover/v1alpha1\nkind: Operation\nspec: {{{fields}, fleet: prod, group: web, {times}}}\n"
        );
        let mistakes = parse("operations/x", &text).unwrap_err();
        render(&mistakes, &|_| None, false)
    };
    let change = format!("change: {}", "ab".repeat(32));
    let wrong = [
        spec("operation: keep"),
        spec(&format!("operation: keep, {change}")),
        spec(&format!("operation: approve, instance: web-7, {change}")),
        spec("operation: retry"),
        spec("operation: keep, instance: api-7"),
        spec("operation: keep, instance: seven"),
        spec("operation: keeps, instance: web-7"),
    ];
    insta::assert_snapshot!(wrong.join("\n"), @r"
    error[missing-field]: `instance` is missing from spec
    --> operations/x:3:19
     = help: `keep` is about one instance


    error[missing-field]: `instance` is missing from spec
    --> operations/x:3:19
     = help: `keep` is about one instance

    error[unknown-field]: `change` is not a field of `keep`
    --> operations/x:3:33
     = help: did you mean `instance`? `keep` is about one instance


    error[unknown-field]: `instance` is not a field of `approve`
    --> operations/x:3:38
     = help: did you mean `change`? `approve` is about one change


    error[missing-field]: `change` is missing from spec
    --> operations/x:3:19
     = help: `retry` is about one change


    error[bad-value]: `instance` is not one of group web
    --> operations/x:3:35


    error[bad-value]: `instance` is not an instance id such as web-7
    --> operations/x:3:35


    error[bad-value]: `operation` must be one of `approve`, `reject`, `promote`, `retry`, `replace`, `restart`, `yield`, `keep`, `release`
    --> operations/x:3:19
     = help: did you mean `keep`?
    ");
}

#[test]
fn the_signature_stands_below_what_it_covers() {
    let document = encode(&sample());
    let signature = format!("{SIGNATURE_BEGIN}\nAAAA\n-----END SSH SIGNATURE-----");
    let file = join(&document, &signature);
    let (signed, below) = split(&file).unwrap();
    assert_eq!(signed, document);
    assert_eq!(below.trim_end(), signature);
    assert_eq!(split(&document), None);
    // A signature within a line is a text, not a signature.
    assert_eq!(split(&format!("because: {signature}")), None);
}

#[test]
fn mistakes_are_told_together() {
    let text = "apiVersion: drover/v1\nkind: Operation\nspec: {operation: destroy, fleet: prod, group: Web, change: abc, at: now, sudo: true}\n";
    let mistakes = parse("operations/x", text).unwrap_err();
    insta::assert_snapshot!(render(&mistakes, &|_| None, false), @r#"
    error[bad-value]: `apiVersion` must be one of `drover/v1alpha1`
    --> operations/x:1:13

    error[missing-field]: `because` is missing from spec
    --> operations/x:3:1
     = help: why

    error[missing-field]: `expires` is missing from spec
    --> operations/x:3:1
     = help: when it ends to count, at most 30 days after `at`

    error[bad-value]: `operation` must be one of `approve`, `reject`, `promote`, `retry`, `replace`, `restart`, `yield`, `keep`, `release`
    --> operations/x:3:19

    error[bad-value]: `group` contains 'W'; only lower-case letters, digits and '-' are allowed
    --> operations/x:3:48

    error[bad-value]: `change` is not 64 hexadecimal digits
    --> operations/x:3:61

    error[bad-value]: `at` is not a time in UTC such as 2026-12-01T08:00:00Z
    --> operations/x:3:70

    error[unknown-field]: unknown field `sudo`
    --> operations/x:3:75
     = help: the fields are `operation`, `fleet`, `group`, `change`, `instance`, `at`, `expires`, `because`
    "#);
}

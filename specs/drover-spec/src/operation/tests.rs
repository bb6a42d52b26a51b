use super::*;
use crate::render;

fn sample() -> Operation {
    Operation {
        verdict: ApprovalVerdict::Approve,
        fleet: FleetName::parse("prod").unwrap(),
        group: GroupName::parse("web").unwrap(),
        change: ChangeId::parse(&"ab".repeat(32)).unwrap(),
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
    for verdict in [ApprovalVerdict::Approve, ApprovalVerdict::Reject] {
        for because in ["x", "INC-123: a\nb", "-----BEGIN SSH", "# é {}"] {
            let operation = Operation {
                verdict,
                because: because.to_owned(),
                ..sample()
            };
            assert_eq!(parse("a", &encode(&operation)).unwrap(), operation);
        }
    }
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

    error[bad-value]: `operation` must be one of `approve`, `reject`, `promote`, `retry`
    --> operations/x:3:19

    error[bad-value]: `group` contains 'W'; only lower-case letters, digits and '-' are allowed
    --> operations/x:3:48

    error[bad-value]: `change` is not 64 hexadecimal digits
    --> operations/x:3:61

    error[bad-value]: `at` is not a time in UTC such as 2026-12-01T08:00:00Z
    --> operations/x:3:70

    error[unknown-field]: unknown field `sudo`
    --> operations/x:3:75
     = help: the fields are `operation`, `fleet`, `group`, `change`, `at`, `expires`, `because`
    "#);
}

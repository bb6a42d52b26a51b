use std::time::Duration;

use drover_model::{Amount, Policy, PolicyBody, Value, defaults, key_path, value_path};

use super::*;
use crate::limits;

/// The smallest group: everything that may be left out is.
const SMALL: &str = "\
apiVersion: drover/v1alpha1
kind: Group
metadata: {name: web}
spec:
  provider: local
  size: 3
  template: {}
";

fn group(text: &str) -> Group {
    let mut file = parse_file("groups/web.yaml", text.as_bytes());
    assert_eq!(file.diagnostics, []);
    assert_eq!(file.documents.len(), 1);
    let document = file.documents.remove(0);
    assert_eq!(document.diagnostics, []);
    match document.outcome {
        Some(Document::Group(group)) => Arc::unwrap_or_clone(group),
        other => panic!("no group: {other:?}"),
    }
}

#[test]
fn fills_in_every_default_of_a_small_group() {
    let group = group(SMALL);
    assert_eq!(group.name.as_str(), "web");
    assert_eq!(group.spec.size, 3);
    assert_eq!(group.spec.rollout.surge_max, defaults::SURGE_MAX);
    assert_eq!(group.spec.rollout.unavailable_max, Amount::Count(0));
    assert_eq!(group.spec.rollout.min_ready, Duration::from_secs(30));
    assert_eq!(group.spec.health.startup_timeout, Duration::from_mins(10));
    assert_eq!(group.spec.drain.delay, Duration::from_secs(2));
    assert_eq!(group.spec.template.properties, Value::empty_map());
    assert_eq!(
        group.spec.template.flavors_as_written,
        Value::List(Vec::new())
    );
}

#[test]
fn a_check_is_one_of_four_kinds_and_the_providers_word_has_no_choices() {
    let with = |check: &str| format!("{SMALL}  health: {{checks: [{check}]}}\n");
    let group = group(&with("{provider: {}, interval: 2s}"));
    let check = &group.spec.health.checks[0];
    assert_eq!(check.probe, drover_model::Probe::Provider);
    assert_eq!(check.interval, Duration::from_secs(2));
    let two = mistakes(&with("{provider: {}, tcp: {port: 80}}"));
    assert_eq!(two.len(), 1, "{two:?}");
    assert!(two[0].contains("exactly one of"), "{two:?}");
    let chosen = mistakes(&with("{provider: {of: x}}"));
    assert_eq!(chosen.len(), 1, "{chosen:?}");
    assert!(chosen[0].contains("unknown-field"), "{chosen:?}");
}

/// Returns the mistakes of a text, each as `line:column code message`.
fn mistakes(text: &str) -> Vec<String> {
    let file = parse_file("f.yaml", text.as_bytes());
    let documents = file
        .documents
        .iter()
        .flat_map(|document| &document.diagnostics);
    file.diagnostics
        .iter()
        .chain(documents)
        .map(|found| {
            let span = &found.span;
            format!(
                "{}:{} {} {}",
                span.line, span.column, found.code, found.message
            )
        })
        .collect()
}

/// Returns the policies of a text.
fn policy(text: &str) -> Policy {
    let mut file = parse_file("policies/p.yaml", text.as_bytes());
    let document = file.documents.remove(0);
    assert_eq!(document.diagnostics, []);
    match document.outcome {
        Some(Document::Policy(policy)) => *policy,
        other => panic!("no policy: {other:?}"),
    }
}

/// Checks that every `#` in an expression is found again in the file, at the place that the
/// expression gives for it.
fn assert_located(text: &str, expressions: &[&drover_model::SourceText]) {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = 0;
    for expression in expressions {
        for (offset, _) in expression.text.match_indices("mark") {
            let span = expression.locate(offset, 4);
            let line: Vec<char> = lines[span.line as usize - 1].chars().collect();
            let start = span.column as usize - 1;
            let there: String = line[start..start + span.length as usize].iter().collect();
            assert_eq!(there, "mark", "{span} in {expression:?}");
            found += 1;
        }
    }
    assert_eq!(found, text.matches("mark").count());
}

#[test]
fn an_expression_knows_where_each_of_its_lines_stands() {
    let text = "\
# A comment, and a document before.
---
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: p}
spec:
  on: validate
  match:
    - mark == 1
    - 'ünï == mark'
    - \"日本 && mark\"
    - |
      first mark
        indented mark
      ü mark
    - |-

      after a blank line mark

      and another mark
    - >
      one line mark
    - |2
        kept indentation mark
  rules: [{expression: 'a || mark', message: m}]
";
    let policy = policy(text);
    let PolicyBody::Rules(rules) = &policy.body else {
        panic!("a validate policy has rules");
    };
    let expressions = policy.matches.iter().chain([&rules[0].expression]);
    assert_located(text, &expressions.collect::<Vec<_>>());
    // Windows line breaks do not move anything.
    let crlf = text.replace('\n', "\r\n");
    let policy = super::tests::policy(&crlf);
    assert_located(
        &text.replace("rules: [{expression: 'a || mark', message: m}]", "x: 1"),
        &policy.matches.iter().collect::<Vec<_>>(),
    );
}

#[test]
fn an_expression_whose_style_does_not_map_points_at_the_whole() {
    let text = "\
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: p}
spec:
  on: size
  match: [\"a\\tmark\", 'it''s mark']
  value: >
    folded
    mark
";
    let policy = policy(text);
    let PolicyBody::Value(value) = &policy.body else {
        panic!("a size policy has a value");
    };
    assert_eq!(value.text, "folded mark\n");
    for expression in policy.matches.iter().chain([value]) {
        assert_eq!(expression.lines, []);
        assert_eq!(expression.locate(5, 2), expression.span);
    }
}

#[test]
fn every_document_has_its_own_text_and_line() {
    let text = "\
# first
a: 1
--- # second
b: |
  ---
  not a document
--- {c: 3}
...
# between
---
---
d: 4";
    let file = parse_file("f.yaml", text.as_bytes());
    let texts: Vec<(u32, &str)> = file
        .documents
        .iter()
        .map(|document| (document.line, &*document.text))
        .collect();
    assert_eq!(
        texts,
        [
            (1, "# first\na: 1\n"),
            (4, "b: |\n  ---\n  not a document\n"),
            (7, "--- {c: 3}\n...\n# between\n"),
            (12, "d: 4"),
        ]
    );
}

#[test]
fn a_documents_text_alone_means_the_same_at_the_same_place() {
    let text = format!("# a\n---\n{SMALL}---\n{}", SMALL.replace("web", "api"));
    let file = parse_file("groups/all.yaml", text.as_bytes());
    assert_eq!(file.documents.len(), 2);
    for document in &file.documents {
        let again = parse_document(&file.path, document.line, &document.text);
        assert_eq!(again.documents.as_slice(), std::slice::from_ref(document));
    }
}

#[test]
fn a_syntax_error_costs_its_document_alone() {
    let good = SMALL.replace("web", "api");
    for broken in [
        "a: [1, 2\n",
        "a: 'open\n",
        "a: b: c\n",
        "\ta: 1\n",
        "a: *nowhere\n",
        "a: &x [*x]\n",
        "- ]\n",
    ] {
        let file = parse_file("f.yaml", format!("{broken}---\n{good}").as_bytes());
        let last = file.documents.last().expect("the good document is there");
        assert_eq!(
            last.identity,
            Some((Kind::Group, "api".to_owned())),
            "{broken}"
        );
        assert!(last.outcome.is_some(), "{broken}: {:?}", last.diagnostics);
        assert!(!file.identities_readable(), "{broken}");
        assert!(file.documents[0].outcome.is_none(), "{broken}");
        assert_eq!(*last.text, *good, "{broken}");
    }
}

#[test]
fn a_name_hidden_by_a_mistake_is_not_certain() {
    // Two documents without the line between them: the second name must not count as absent.
    let file = parse_file(
        "f.yaml",
        format!("{SMALL}{}", SMALL.replace("web", "api")).as_bytes(),
    );
    assert_eq!(
        file.documents[0].identity,
        Some((Kind::Group, "web".to_owned()))
    );
    assert!(!file.documents[0].identity_certain);
    assert!(!file.identities_readable());
    // A mistake that hides nothing leaves the identity certain.
    let file = parse_file("f.yaml", SMALL.replace("size: 3", "size: x").as_bytes());
    assert!(file.identities_readable());
    assert!(file.documents[0].outcome.is_none());
    for unreadable in [
        "kind: Group\n",
        "kind: Grup\nmetadata: {name: a}\n",
        "- a\n",
    ] {
        assert!(!parse_file("f.yaml", unreadable.as_bytes()).identities_readable());
    }
    for readable in ["", "# nothing\n", "---\n---\n", "\u{feff}"] {
        let file = parse_file("f.yaml", readable.as_bytes());
        assert!(file.identities_readable(), "{readable:?}");
        assert_eq!(file.documents, []);
    }
}

#[test]
fn the_digest_of_a_policy_is_that_of_its_text() {
    let text = "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec: {on: size, value: \"1\"}\n";
    let (one, same) = (policy(text), policy(&format!("---\n{text}")));
    assert_eq!(one.digest, same.digest, "it does not depend on the file");
    assert_eq!(one.digest.len(), 64);
    let other = policy(&text.replace("\"1\"", "\"2\""));
    assert_ne!(one.digest, other.digest);
}

#[test]
fn reports_each_place_of_a_property() {
    let text = SMALL.replace(
        "template: {}",
        "template: {properties: {command: [a, b], env: {PORT: x}}}",
    );
    let spans: Vec<String> = group(&text)
        .property_spans
        .iter()
        .map(|(path, span)| {
            let (path, what) = match value_path(path) {
                Some(path) => (path, "key "),
                None => (path.as_str(), ""),
            };
            format!("{what}{path}@{}:{}", span.line, span.column)
        })
        .collect();
    let expected = [
        "@7:26",
        "command@7:36",
        "key command@7:27",
        "command[0]@7:37",
        "command[1]@7:40",
        "env@7:49",
        "key env@7:44",
        "env.PORT@7:56",
        "key env.PORT@7:50",
    ];
    assert_eq!(spans, expected);
}

#[test]
fn reports_each_place_of_a_group() {
    let text = SMALL.replace(
        "template: {}",
        "template: {properties: {command: [a]}, flavors: [{vanilla: {init: [b]}}]}\n  health: {checks: [{tcp: {port: 1}}]}",
    );
    let spans = group(&text).spec_spans;
    let place = |path: &str| spans.get(path).map(|span| (span.line, span.column));
    assert_eq!(place("template.flavors[0].vanilla.init[0]"), Some((7, 70)));
    let key = key_path("template.flavors[0].vanilla.init");
    assert_eq!(place(&key), Some((7, 63)));
    assert_eq!(place("health.checks[0].tcp.port"), Some((8, 34)));
    assert_eq!(place("template.properties"), Some((7, 26)));
    assert_eq!(place("template.properties.command"), None, "it has its own");
}

#[test]
fn what_is_read_of_a_group_with_mistakes_is_left_out_where_it_misleads() {
    let read = |template: &str, spec: &str| {
        let text = SMALL
            .replace("template: {}", template)
            .replace("size: 3", spec);
        let mut file = parse_file("groups/web.yaml", text.as_bytes());
        file.documents.remove(0).glimpse.unwrap().group.is_some()
    };
    let flavors = |flavors: &str| format!("template: {{properties: {{}}, flavors: {flavors}}}");
    let good = flavors("[{vanilla: {init: [a]}}]");
    assert!(read(&good, "size: three"));
    assert!(read(&flavors("[{vanilla: {innit: [a]}}]"), "size: 3"));
    assert!(!read(&flavors("[{}, {vanilla: {init: [a]}}]"), "size: 3"));
    assert!(!read(&flavors("{vanilla: {init: [a]}}"), "size: 3"));
    assert!(!read(&good, "members: three"));
}

#[test]
fn a_group_with_mistakes_still_shows_its_provider_and_properties() {
    let with = |properties: &str| SMALL.replace("template: {}", properties);
    let glimpse = |text: &str| {
        let mut file = parse_file("groups/web.yaml", text.as_bytes());
        let document = file.documents.remove(0);
        assert_eq!(document.outcome.is_some(), document.diagnostics.is_empty());
        document.glimpse
    };
    let good = with("template: {properties: {image: web}}");
    assert_eq!(glimpse(&good), None, "the group itself says it");
    let bad = [
        good.replace("size: 3", "size: three"),
        good.replace("{name: web}", "{name: web, labls: {}}"),
        good.replace("name: web", "nam: web"),
        good.replace("drover/v1alpha1", "drover/v2"),
        good.replace("template:", "replicas: 3\n  template:"),
    ];
    for text in bad {
        let glimpse = glimpse(&text).unwrap();
        assert_eq!(glimpse.provider.as_str(), "local");
        assert_eq!(glimpse.properties.get("image"), Some(&"web".into()));
        assert!(glimpse.property_spans.contains_key("image"), "{text}");
        let whole = glimpse.group.map(|group| group.name.to_string());
        let named = !text.contains("nam: web");
        assert_eq!(whole.as_deref(), named.then_some("web"), "{text}");
        assert_eq!(glimpse.provider_span.line, 5);
    }
    let unlike = [
        with("template: {propertes: {image: web}}"),
        with("template: {properties: [image, web]}"),
        good.replace("size: 3", "size: three")
            .replace("local", "a b"),
        good.replace("size: 3", "size: [3"),
        good.replace("kind: Group", "kind: Policy"),
    ];
    for text in unlike {
        assert_eq!(glimpse(&text), None, "{text}");
    }
}

#[test]
fn what_limits_refuse_is_refused_quickly() {
    let deep = |open: &str, count: usize| open.repeat(count);
    let codes = |text: &str| -> Vec<&'static str> {
        let file = parse_file("f.yaml", text.as_bytes());
        let documents = file
            .documents
            .iter()
            .flat_map(|document| &document.diagnostics);
        let mut codes: Vec<_> = file
            .diagnostics
            .iter()
            .chain(documents)
            .map(|d| d.code)
            .collect();
        codes.dedup();
        codes
    };
    assert_eq!(codes(&deep("[", 100_000)), ["too-deep"]);
    assert_eq!(codes(&deep("{a: ", 100_000)), ["too-deep"]);
    assert_eq!(codes(&deep("- ", 100_000)), ["too-deep"]);
    assert_eq!(codes(&deep("? ", 100_000)), ["too-deep"]);
    let nested: String = (0..1_000)
        .flat_map(|n| [" ".repeat(n), "a:\n".to_owned()])
        .collect();
    assert_eq!(codes(&nested), ["too-deep"]);
    assert_eq!(
        codes(&"a".repeat(limits::FILE_BYTES_MAX + 1)),
        ["too-large"]
    );
    assert_eq!(
        codes(&format!("[{}]", "1,".repeat(limits::NODES_MAX))),
        ["too-large"]
    );
    let documents = "---\na: 1\n".repeat(limits::DOCUMENTS_MAX + 1);
    assert!(codes(&documents).contains(&"too-many-documents"));
    let aliases = "*x, ".repeat(limits::ALIASES_MAX + 1);
    assert_eq!(codes(&format!("[&x 1, {aliases}]")), ["too-large"]);
    // The bombs: nested lists of aliases, one large text, and anchors within anchors.
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let previous = format!("*a{}, ", n - 1).repeat(10);
        laughs = format!("{laughs}a{n}: &a{n} [{previous}]\n");
    }
    assert_eq!(codes(&laughs), ["too-large"]);
    let text = "x".repeat(limits::FILE_BYTES_MAX / 2);
    assert_eq!(
        codes(&format!("[&x {text}, {}]", "*x, ".repeat(99))),
        ["too-large"]
    );
    let anchors: String = (0..60)
        .flat_map(|n| ["&a".to_owned(), n.to_string(), " [".to_owned()])
        .collect();
    let items = "1,".repeat(50_000);
    let closed = "]".repeat(60);
    assert_eq!(codes(&format!("{anchors}{items}{closed}")), ["too-large"]);
    // What was once slow: many blank lines before a text, many substitutions in one.
    let blank = "\n".repeat(500_000);
    assert_eq!(codes(&format!("a: |\n{blank}  x\n")), ["not-a-document"]);
    let names = "${a}".repeat(200_000);
    let text = SMALL.replace(
        "template: {}",
        &format!("template: {{properties: {{a: \"{names}\"}}}}"),
    );
    assert_eq!(codes(&text), ["unknown-substitution"]);
    // An alias may not smuggle depth past the limit either.
    let half = "[".repeat(40);
    let end = "]".repeat(40);
    assert_eq!(
        codes(&format!("a: &a {half}{end}\nb: {half}*a{end}\n")),
        ["too-deep"]
    );
}

#[test]
fn a_document_with_a_thousand_mistakes_shows_the_first_hundred() {
    let fields: String = (0..1_000)
        .flat_map(|n| ["x".to_owned(), n.to_string(), ": 1\n".to_owned()])
        .collect();
    let text = format!(
        "apiVersion: drover/v1alpha1\nkind: Fleet\nmetadata: {{name: a}}\nspec: {{}}\n{fields}"
    );
    let found = mistakes(&text);
    assert_eq!(found.len(), limits::DIAGNOSTICS_MAX + 1);
    assert_eq!(
        found.last().unwrap(),
        "104:1 too-many-mistakes 900 more mistakes in this document are not shown"
    );
}

#[test]
fn refuses_what_makes_a_reviewer_see_another_text() {
    for (text, place) in [
        ("a: \u{202e}b", "1:4"),
        ("a: 1\nb: \u{2066}", "2:4"),
        ("a: \u{7}", "1:4"),
        ("a: 1\rb: 2", "1:5"),
        ("a: \u{0}", "1:4"),
    ] {
        let found = mistakes(text);
        assert!(
            found[0].starts_with(&format!("{place} forbidden")),
            "{found:?}"
        );
    }
    // Escaped, each of them is a text like any other.
    assert!(mistakes("a: \"\\u202e\\u0007\\r\\0\"")[0].contains("not-a-document"));
}

proptest::proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200)) {
        let _ = parse_file("f.yaml", &bytes);
    }

    #[test]
    fn never_panics_on_anything_like_yaml(text in "([a-z0-9]{1,3}|[-:?,\\[\\]{}#&*!|>'\"%@` \n\t~<=+]|---\n|: |- |\n  ){0,60}") {
        let file = parse_file("f.yaml", text.as_bytes());
        let report = crate::assemble([&file]);
        crate::render(&report.diagnostics, &|_| Some(text.clone()), true);
        // Together the documents' texts are parts of the file, in order.
        let mut rest = text.as_str();
        for document in &file.documents {
            let at = rest.find(&*document.text).expect("the text is the file's own");
            rest = &rest[at + document.text.len()..];
        }
    }

    #[test]
    fn never_panics_on_a_damaged_document(
        at in proptest::arbitrary::any::<proptest::sample::Index>(),
        length in 0_usize..6,
        with in "([ -~\n\tü]|\n---\n|\\PC){0,4}",
    ) {
        const WHOLE: &str = include_str!("../../tests/valid/everything.yaml");
        let start = at.index(WHOLE.len());
        let end = (start + length).min(WHOLE.len());
        let text = format!("{}{with}{}", &WHOLE[..start], &WHOLE[end..]);
        let file = parse_file("f.yaml", text.as_bytes());
        for document in &file.documents {
            let good = document.diagnostics.iter().all(|found| !found.is_error());
            proptest::prop_assert_eq!(good, document.outcome.is_some());
        }
        let repository = crate::assemble([&file]);
        crate::render(&repository.diagnostics, &|_| Some(text.clone()), false);
    }
}

fn with_env(env: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: local
  size: 1
  template:
    flavors: [{{vanilla: {{env: {env}}}}}]
"
    )
}

#[test]
fn the_environment_of_a_flavor_may_come_from_secrets() {
    let text = with_env("{PORT: '80', TOKEN: {valueFrom: {env: WEB_TOKEN}}}");
    let group = parse_document("web.yaml", 1, &text).into_group().unwrap();
    let [drover_model::Flavor::Vanilla(vanilla)] = &group.spec.template.flavors[..] else {
        panic!("{:?}", group.spec.template.flavors);
    };
    assert_eq!(vanilla.env.len(), 1);
    let secret = drover_model::SecretRef::Env("WEB_TOKEN".to_owned());
    assert_eq!(vanilla.secrets["TOKEN"], secret);
    assert_eq!(group.spec.template.secrets(), [secret].into());
}

#[test]
fn a_file_of_sops_is_no_document() {
    let text = "db: ENC[AES256_GCM,data:aw==,type:str]\nsops: {mac: x, age: []}\n";
    let parsed = parse_file("secrets/web.yaml", text.as_bytes());
    assert!(parsed.documents.is_empty() && parsed.diagnostics.is_empty());
    // Nobody hides a document with that key, nor makes any map one of SOPS.
    for text in [
        "kind: Group\nsops: {mac: x}\n",
        "db: x\nsops: {}\n",
        "sops: [mac]\n",
    ] {
        let parsed = parse_file("secrets/web.yaml", text.as_bytes());
        assert_eq!(parsed.documents.len(), 1, "{text}");
    }
}

#[test]
fn what_is_no_reference_to_a_secret_says_so_where_it_stands() {
    let mut said = Vec::new();
    for env in [
        "{TOKEN: {valueFrom: {vault: x}}}",
        "{TOKEN: {valueFrom: {sops: x}}}",
        "{TOKEN: {valueFrom: {env: 'A B'}}}",
        "{TOKEN: {from: x}}",
        "{'A B': {valueFrom: {env: X}}}",
    ] {
        let parsed = parse_document("web.yaml", 1, &with_env(env));
        let documents = parsed.documents.iter();
        let found = documents.flat_map(|document| &document.diagnostics);
        said.extend(found.map(|found| format!("{}: {}", found.span, found.message)));
    }
    insta::assert_snapshot!(said.join("\n"));
}

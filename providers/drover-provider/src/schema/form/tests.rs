use super::*;

#[test]
fn a_pattern_means_what_it_means_in_other_languages() {
    let cases: [(&str, &[&str], &[&str]); 10] = [
        ("b", &["abc"], &["ac"]),
        ("^a[0-9]+$", &["a1", "a42"], &["a", "a1b", "ba1", "a1\n"]),
        (r"^\d+\.\w$", &["1.x", "42._"], &["1xx", "٣.x", "1.é"]),
        (r"^[\d-]+$", &["1-2"], &["a"]),
        ("^(?:ab|c)*$", &["", "abc"], &["ac"]),
        ("^[^/]+$", &["a b"], &["a/b"]),
        ("^[[a&&b~~]+$", &["[&~ab"], &["c"]),
        ("^.{2}$", &["éé"], &["é", "ééé"]),
        (r"^[\]\\]$", &["]", "\\"], &["a"]),
        (r"^\t\/\-$", &["\t/-"], &["t/-"]),
    ];
    for (pattern, fits, others) in cases {
        let read = Pattern::parse(pattern).unwrap();
        assert_eq!(read.as_str(), pattern);
        for text in fits {
            assert!(read.matches(text), "{pattern} and {text:?}");
        }
        for text in others {
            assert!(!read.matches(text), "{pattern} and {text:?}");
        }
    }
}

#[test]
fn what_other_languages_read_differently_is_refused() {
    let long = "a".repeat(PATTERN_MAX + 1);
    let deep = format!("{}{}", "(".repeat(40), ")".repeat(40));
    let cases = [
        ("(?=a)", "`(?`"),
        ("(?i)a", "`(?`"),
        ("(?<n>a)", "`(?`"),
        (r"\p{L}", r"`\p`"),
        (r"(a)\1", r"`\1`"),
        (r"\bword", r"`\b`"),
        (r"\s", r"`\s`"),
        (r"a\", "at its end"),
        ("[]a]", "an empty class"),
        ("[^]a]", "an empty class"),
        ("[a--b]", "`--`"),
        ("a(", "no such expression"),
        ("[z-a]", "no such expression"),
        ("(.{500}){500}", "too large"),
        (&deep, "no such expression"),
        (&long, "more than 1000 bytes"),
    ];
    for (pattern, why) in cases {
        let said = Pattern::parse(pattern).unwrap_err();
        assert!(said.contains(why), "{pattern}: {said}");
    }
}

#[test]
fn a_form_says_what_it_wants() {
    let form = Form::of("^a+$", "an a", "aaa").within(2, Some(3));
    for (text, fits) in [
        ("aa", true),
        ("aaa", true),
        ("a", false),
        ("aaaa", false),
        ("ab", false),
    ] {
        assert_eq!(form.fits(text), fits, "{text}");
    }
    assert_eq!(form.expected(), "an a such as aaa");
    let not = Form::but("^drover[.]", "");
    assert!(not.fits("mine") && !not.fits("drover.x"));
    assert_eq!(not.expected(), "a text that does not match `^drover[.]`");
    let length = Form::default().within(0, Some(5));
    assert_eq!(length.expected(), "a text of 0 to 5 characters");
    assert!(length.fits("ééééé"));
    let pattern = Form {
        pattern: Pattern::parse("x").ok(),
        ..Form::default()
    };
    assert_eq!(pattern.expected(), "a text that matches `x`");
}

#[test]
fn the_forms_of_processes_know_what_no_process_can_have() {
    assert!(Form::of_processes().fits("") && !Form::of_processes().fits("a\0"));
    assert!(!Form::program().fits("") && Form::program().fits("sh"));
    let variable = Form::variable();
    assert!(variable.fits("PATH") && variable.fits("a.b") && variable.fits("a b"));
    assert!(!variable.fits("") && !variable.fits("A=B") && !variable.fits("A\0"));
}

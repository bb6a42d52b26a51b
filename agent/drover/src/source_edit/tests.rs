use super::*;

#[test]
fn a_dry_run_shows_the_change_as_a_diff() {
    let old = "a\nb\nc\nd\nsize: 3  # why\nf\ng\nh\ni\n";
    let new = old.replace("size: 3", "size: 5");
    insta::assert_snapshot!(unified_diff("groups/web.yaml", old, &new), @r"
    --- a/groups/web.yaml
    +++ b/groups/web.yaml
    @@ -2,7 +2,7 @@
     b
     c
     d
    -size: 3  # why
    +size: 5  # why
     f
     g
     h
    ");
}

#[test]
fn a_diff_covers_lines_that_are_added_or_removed() {
    insta::assert_snapshot!(unified_diff("f", "a\n", "a\nb\n"), @r"
    --- a/f
    +++ b/f
    @@ -1,1 +1,2 @@
     a
    +b
    ");
    insta::assert_snapshot!(unified_diff("f", "a\nb\nc\n", "a\nc\n"), @r"
    --- a/f
    +++ b/f
    @@ -1,3 +1,2 @@
     a
    -b
     c
    ");
}

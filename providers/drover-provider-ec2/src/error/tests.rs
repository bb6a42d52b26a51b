use super::*;

#[test]
fn codes_have_the_class_that_the_reference_page_says() {
    let page = include_str!("../../../../docs/reference/providers/ec2.md");
    let table = page.split("## Errors").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut checked = 0;
    for row in rows {
        let (class, rest) = row.split_once("` | ").unwrap();
        let codes = rest.split(" | ").next().unwrap();
        for code in codes.split('`').skip(1).step_by(2) {
            let code = code.replace('*', "Any");
            let found = class_of_code(&code).map(ErrorClass::as_str);
            // What no code says is decided by the status, as that row tells.
            assert_eq!(found.unwrap_or("invalidSpec"), class, "{code}");
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} codes");
}

#[test]
fn a_limit_of_the_account_is_told_from_one_of_the_request() {
    let class = |code| class_of_code(code);
    assert_eq!(class("VolumeLimitExceeded"), Some(ErrorClass::Quota));
    assert_eq!(class("RequestLimitExceeded"), Some(ErrorClass::Throttled));
    assert_eq!(class("TagLimitExceeded"), Some(ErrorClass::InvalidSpec));
    assert_eq!(class("InvalidParameterValue"), None);
}

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

#[test]
fn a_status_without_a_code_has_a_class_of_its_own() {
    let class = class_of_status;
    for (status, expected) in [
        (400, ErrorClass::InvalidSpec),
        (401, ErrorClass::Auth),
        (403, ErrorClass::Auth),
        (404, ErrorClass::InvalidSpec),
        (407, ErrorClass::Auth),
        (408, ErrorClass::Unknown),
        (425, ErrorClass::Throttled),
        (429, ErrorClass::Throttled),
        (500, ErrorClass::Unknown),
        (302, ErrorClass::Unknown),
    ] {
        assert_eq!(class(status), expected, "{status}");
    }
}

#[test]
fn the_words_of_a_body_are_told_without_its_marks_and_only_the_first() {
    let page =
        b"<html>\r\n<head><title>407 Proxy</title></head>\x1b[31m<p class='x'>Log\nin first</html>";
    let words = first_words(page).unwrap();
    assert_eq!(words, "407 Proxy [31m Log in first");
    assert_eq!(first_words(b"<html></html>"), None);
    assert_eq!(first_words(b""), None);
    assert_eq!(first_words(&[0xff; 5]).unwrap().chars().count(), 5);
    let long = "word ".repeat(2_000);
    assert_eq!(first_words(long.as_bytes()).unwrap().chars().count(), 200);
}

#[test]
fn an_image_that_the_account_may_not_use_is_told_from_credentials_by_words_alone() {
    let image = Some("Not authorized for images: [ami-1]");
    assert!(is_of_images(Some("AuthFailure"), image));
    let key = Some("AWS was not able to validate the provided access credentials");
    assert!(!is_of_images(Some("AuthFailure"), key));
    assert!(!is_of_images(Some("UnauthorizedOperation"), image));
    assert!(!is_of_images(Some("AuthFailure"), None));
}

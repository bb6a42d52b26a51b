use super::{Failure, contained, on_large_stack};

#[test]
fn a_panic_is_contained_and_told() {
    let told = on_large_stack(|| -> u32 { panic!("boom {}", 1) });
    assert_eq!(told, Err(Failure::Panic("boom 1".to_owned())));
    let told = contained(|| -> u32 { panic!("boom") });
    assert_eq!(told, Err(Failure::Panic("boom".to_owned())));
    assert!(
        Failure::Panic("boom".to_owned())
            .explain()
            .contains("which is a bug: boom")
    );
}

#[test]
fn recursion_far_beyond_the_limits_fits() {
    fn deep(level: u32) -> u64 {
        let frame = std::hint::black_box([u64::from(level); 128]);
        if level == 0 {
            0
        } else {
            frame[0] + deep(level - 1)
        }
    }
    // 20,000 frames of a kilobyte: an ordinary thread's stack is a tenth of that.
    assert!(on_large_stack(|| deep(20_000)).is_ok());
}

//! Numbers in sentences.

use std::fmt::Display;

/// Returns how many there are of what a noun names that makes its plural with an s: `1 instance`, `2 instances`.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    plural(count, noun, &format!("{noun}s"))
}

/// The same for any noun, and for whatever else differs with the number: `1 is`, `2 are`.
pub fn plural<N: Copy + Display + PartialEq + From<u8>>(count: N, one: &str, many: &str) -> String {
    let words = if count == N::from(1) { one } else { many };
    format!("{count} {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(0_u32, "launch instance"), "0 launch instances");
        assert_eq!(counted(1_usize, "instance"), "1 instance");
        assert_eq!(plural(1_u64, "is", "are"), "1 is");
        assert_eq!(plural(21_u64, "is", "are"), "21 are");
    }
}

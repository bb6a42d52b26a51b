use super::*;

fn weight(text: &str) -> usize {
    weigh(text.as_bytes(), usize::MAX).unwrap()
}

#[test]
fn what_looks_like_structure_within_a_text_is_a_text() {
    let text = r#""{[,:\"{[,:""#;
    assert_eq!(weight(text), VALUE_BYTES + TEXT_BYTES + text.len() - 2);
    assert_eq!(weight(r#""\\""#), VALUE_BYTES + TEXT_BYTES + 2);
}

#[test]
fn what_is_too_deep_or_too_much_is_refused() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(weigh(nested(DEPTH_MAX).as_bytes(), usize::MAX).is_ok());
    assert!(serde_json::from_str::<serde_json::Value>(&nested(DEPTH_MAX)).is_ok());
    let deep = nested(DEPTH_MAX + 1);
    assert_eq!(weigh(deep.as_bytes(), usize::MAX), Err(TooMuch::Depth));
    assert!(serde_json::from_str::<serde_json::Value>(&deep).is_err());
    let exactly = weight("[1,2]");
    assert!(weigh(b"[1,2]", exactly).is_ok());
    let less = exactly - 1;
    assert_eq!(weigh(b"[1,2]", less), Err(TooMuch::Memory(less)));
    // What is cut off is weighed to its end.
    assert!(weigh(b"\"a\\", usize::MAX).is_ok());
}

/// Returns how much memory this process has, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse::<usize>().unwrap() << 10
}

/// Lists that grow much when they are read: what is in them again and again.
const SHAPES: [(&str, &str); 9] = [
    ("maps", r#"{"":0}"#),
    ("maps of maps", r#"{"":{"":{"":{}}}}"#),
    ("lists", "[0]"),
    ("lists of lists", "[[[[[[]]]]]]"),
    ("numbers", "0"),
    ("texts", r#""a""#),
    (
        "long texts",
        r#""0123456789012345678901234567890123456789""#,
    ),
    (
        "keys",
        r#"{"a":0,"b":1,"c":2,"d":3,"e":4,"f":5,"g":6,"h":7,"i":8,"j":9,"k":0,"l":1}"#,
    ),
    (
        "an instance",
        r#"{"ID":"i-0123456789abcdef0","LogicalID":null,"Tags":{"drover.fleet":"prod","drover.group":"web","tier":"front"}}"#,
    ),
];

/// The memory that each shape may take.
const MEASURED: usize = 48 << 20;

/// Reads one shape, in a process of its own: the memory of this one is used by every test.
fn measure(shape: &str) -> String {
    let (_, unit) = SHAPES.into_iter().find(|(name, _)| *name == shape).unwrap();
    let one = weight(unit) + 1;
    let text = format!("[{}]", vec![unit; MEASURED / one].join(","));
    let estimate = weight(&text);
    let before = resident();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let middle = resident();
    let go = crate::GoJson::parse(text.as_bytes()).unwrap();
    let after = resident();
    drop((json, go));
    format!(
        "measured {estimate} {} {}\n",
        middle - before,
        after - middle
    )
}

#[test]
fn no_shape_takes_more_memory_than_is_estimated() {
    const SHAPE: &str = "DROVER_TEST_SHAPE";
    if let Ok(shape) = std::env::var(SHAPE) {
        use std::io::Write as _;
        std::io::stdout()
            .write_all(measure(&shape).as_bytes())
            .unwrap();
        return;
    }
    for (shape, _) in SHAPES {
        let test = "weight::tests::no_shape_takes_more_memory_than_is_estimated";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", test])
            .env(SHAPE, shape)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers = text.split_once("measured ").unwrap().1.lines().next();
        let numbers: Vec<usize> = numbers
            .unwrap()
            .split(' ')
            .map(|number| number.parse().unwrap())
            .collect();
        for taken in &numbers[1..] {
            assert!(*taken <= numbers[0], "{shape}: {numbers:?}");
            assert!(numbers[0] <= 4 * taken, "{shape}: {numbers:?}");
        }
    }
}

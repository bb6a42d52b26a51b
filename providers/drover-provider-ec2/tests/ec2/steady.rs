//! What a fleet at rest costs in calls: one page of a listing for each thousand instances in each pass, and no other.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::agent::{Sandbox, push};
use crate::fake::{Fake, FakeSettings};

/// Instances of the group: as many as a page holds.
const SIZE: usize = 1_000;

/// Passes that are counted at least.
const PASSES: u64 = 5;

/// How long anything may take that needs no more than some passes.
const PATIENCE: Duration = Duration::from_mins(2);

/// Returns how many passes an agent has made.
fn passes(address: &str) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let count = answer
        .lines()
        .find_map(|line| line.strip_prefix("drover_pass_duration_seconds_count "));
    count.unwrap().parse().unwrap()
}

/// Waits until some passes are over. Returns how many there were, and the pages that were asked for meanwhile.
fn at_rest(fake: &Fake, address: &str) -> (u64, u64) {
    fake.calls();
    let (before, began) = (passes(address), Instant::now());
    while passes(address) < before + PASSES {
        assert!(began.elapsed() < PATIENCE, "passes take too long");
        std::thread::sleep(Duration::from_millis(50));
    }
    let calls = fake.calls();
    let made = passes(address) - before;
    assert_eq!(calls.len(), 1, "{calls:?}");
    (made, calls["DescribeInstances"])
}

#[test]
fn a_thousand_instances_at_rest_cost_a_page_for_each_thousand_and_pass_and_no_other_call() {
    let fake = Fake::start(FakeSettings::default());
    let mut sandbox = Sandbox::new(&fake);
    let address = sandbox.listen();
    push(&sandbox, SIZE, "one");
    sandbox.start();
    sandbox.wait_converged(&fake, "web", SIZE, "one");
    let (made, pages) = at_rest(&fake, &address);
    println!("{SIZE} instances: {pages} pages in {made} passes, no other call");
    // A pass may have begun before, or not be over.
    assert!(pages.abs_diff(made) <= 2, "{pages} pages, {made} passes");
    {
        // More of the fleet, of another document: a second page.
        let mut world = fake.world();
        let template = world.machines.values().next().unwrap().clone();
        for copy in 0..SIZE / 2 {
            let mut machine = template.clone();
            machine.id = format!("i-{:017x}", 0x10_0000 + copy);
            let tags = &mut machine.tags;
            tags.insert("drover.provider".to_owned(), "other".to_owned());
            world.machines.insert(machine.id.clone(), machine);
        }
    }
    at_rest(&fake, &address);
    let (made, pages) = at_rest(&fake, &address);
    let all = SIZE + SIZE / 2;
    println!("{all} instances: {pages} pages in {made} passes, no other call");
    assert!(
        pages.abs_diff(2 * made) <= 4,
        "{pages} pages, {made} passes"
    );
}

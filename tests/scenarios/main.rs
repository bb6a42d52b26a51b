//! Planner scenarios: each file of this folder is a script with its transcript, and one test.
//!
//! The opening comment of a file states the guarantee. `UPDATE_SCENARIOS=1` writes the transcripts
//! anew: what a reviewer reads is the difference.

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios")
}

fn scenario(name: &str) {
    let path = folder().join(name).with_extension("txt");
    let script = std::fs::read_to_string(&path).expect("the scenario can be read");
    assert!(script.starts_with("# "), "{name} states no guarantee");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let transcript = match runtime.block_on(drover_sim::replay(&script)) {
        Ok(transcript) => transcript,
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let deeper = std::error::Error::source(&error)
                .and_then(std::error::Error::source)
                .map(ToString::to_string);
            panic!("{name}: {error}: {source:?}: {deeper:?}")
        }
    };
    if std::env::var_os("UPDATE_SCENARIOS").is_some() {
        std::fs::write(&path, &transcript).expect("the scenario can be written");
    } else if transcript != script {
        panic!(
            "{name} tells another story now:\n{}",
            difference(&script, &transcript)
        );
    }
}

/// Returns the lines that differ, with the place of the first.
fn difference(before: &str, after: &str) -> String {
    let same = before
        .lines()
        .zip(after.lines())
        .take_while(|(before, after)| before == after)
        .count();
    let tail = |text: &str, mark: &str| -> String {
        let lines = text.lines().skip(same).take(12);
        let marked: Vec<String> = lines.map(|line| format!("{mark} {line}")).collect();
        marked.join("\n")
    };
    format!(
        "line {}\n{}\n{}",
        same + 1,
        tail(before, "-"),
        tail(after, "+")
    )
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                scenario(stringify!($name));
            }
        )*

        #[test]
        fn every_file_of_the_folder_is_a_test() {
            let named = [$(stringify!($name)),*];
            let mut missing = Vec::new();
            for entry in std::fs::read_dir(folder()).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                if path.extension().is_some_and(|ext| ext == "txt") && !named.contains(&&*name) {
                    missing.push(name);
                }
            }
            assert!(missing.is_empty(), "not in the list of scenarios: {missing:?}");
        }
    };
}

scenarios! {
    all_unknown
    bad_template_never_ready
    bad_template_pauses
    bake
    bake_fails
    budget_counts_what_is_not_ready
    canary
    canary_fails
    canary_manual
    canary_resize
    capacity
    capacity_for_the_missing
    checkpoints
    create_limit
    deletion_orphans
    deletion_over_the_limit
    deletion_protected
    deletion_taken_back
    depends_on
    destroy_limit
    destroy_rate
    destroy_steps
    drain_abort
    emptied_for_good
    emptied_listing
    emptied_small
    ephemeral
    expiry_replaces_the_old
    expiry_waits_for_the_rollout
    first_create
    gate_closed
    heal_one_dead
    heal_unhealthy
    interruption_at_short_notice
    interruption_of_a_lease
    interruption_that_is_past
    interruption_replaces_first
    keep_by_operation
    keep_for_debugging
    late_listing
    listing_fails
    lost_reply
    manual
    observe
    opportunistic
    order_create_first
    order_delete_first
    partial_listing
    partition
    protect_from_update
    quorum_at_risk
    quorum_bootstrap
    quorum_heal
    quorum_lost_for_good
    quorum_resize
    quorum_roll
    quorum_sizing_changed
    replace_by_operation
    resize_mid_roll
    repeat_refused
    repeat_without_an_answer
    restart_by_operation
    restart_is_inert
    revert_mid_roll
    roll_in_a_window
    roll_with_surge
    roll_without_surge
    rollback
    rollback_fails
    rollback_midway
    rollback_refused
    rollout_fails_after_it_completed
    rollout_paused
    scale_in
    scale_in_takes_the_broken_first
    scale_out
    size_policy
    suspend_all
    suspend_scale
    suspend_update
    systemic
    systemic_stop
    template_refused
    total_limit
    vanished
    window_denies
    window_finishes_the_pair
    window_over_the_switch_of_clocks
    yield_by_operation
    zones_cooling
    zones_move
    zones_spread
}

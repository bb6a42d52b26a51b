//! A state branch that somebody deletes.

use crate::support::{IDLE, PROVIDER, Sandbox, group};

#[test]
fn what_is_kept_of_it_is_named_to_an_agent_of_another_name() {
    let web = group("web", 1, IDLE, "");
    let sandbox = Sandbox::with_files(&[PROVIDER, ("groups/web.yaml", &web)]);
    let once = ["run", "--until-converged", "--timeout", "60s"];
    sandbox.with_config(&once).exits(0);
    sandbox.git("fleet.git", &["branch", "--quiet", "-D", "drover/state"]);
    let data = sandbox.path("other").display().to_string();
    let other = |more: &[&str]| {
        let named = ["run", "--once", "--name", "other", "--data-dir", &data];
        sandbox.with_config(&[&named, more].concat())
    };
    let ran = other(&[]).exits(1);
    let kept = "refs/drover/published/drover/state";
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("the state branch is gone"), "{told}");
    let folder = sandbox.path("fleet.git").display().to_string();
    let command = format!("git -C {folder} update-ref -d {kept}");
    assert!(told.contains(&command), "{told}");
    // What it says helps.
    sandbox.git("fleet.git", &["update-ref", "-d", kept]);
    let ran = other(&[]);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!told.contains("EpochConflict"), "{told}");
}

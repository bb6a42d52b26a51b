//! Changes of groups where the source has to be signed: signed themselves, else refused before they are written.

use serde_json::json;

use super::destroy::{about, handles};
use super::{IDLING, commit, file, head, spec};
use crate::infrakit::Serving;
use crate::support::{IDLE, PROVIDER, Sandbox, converged, group};

const WEB: &str = "groups/web.yaml";

/// A sandbox whose agent acts only on what the key `ada` signed, as its first commit is.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_files(&[PROVIDER]);
    for name in ["ada", "mallory"] {
        sandbox.make_key(name);
    }
    sandbox.write_signers(&["ada"]);
    let text = format!(
        "name: test\n\
         source: {{url: '{}', interval: 1s, verify: {{signers: '{signers}'}}}}\n\
         signers: '{signers}'\n\
         dataDir: '{}'\n\
         listen: 'off'\n\
         providers: {{allow: [process]}}\n",
        sandbox.path("fleet.git").display(),
        sandbox.path("data").display(),
        signers = sandbox.path("signers").display(),
    );
    sandbox.write("agent.yaml", &text);
    sandbox.write(&format!("work/{WEB}"), &group("web", 2, IDLE, ""));
    sandbox.git("work", &["add", "--all"]);
    let key = format!("user.signingkey={}", sandbox.path("ada").display());
    let signing = ["-c", "gpg.format=ssh", "-c", &key];
    let commit = ["commit", "--quiet", "-S", "--message", "signed"];
    sandbox.git("work", &[&signing[..], &commit].concat());
    sandbox.git("work", &["push", "--quiet", "origin", "HEAD:main"]);
    sandbox
}

fn serve(sandbox: &Sandbox, key: Option<&str>) -> Serving {
    let config = sandbox.path("agent.yaml").display().to_string();
    let data = sandbox.path("data").display().to_string();
    let mut arguments = vec!["--config", config.as_str()];
    let key = key.map(|name| sandbox.path(name).display().to_string());
    arguments.extend(key.iter().flat_map(|key| ["--key", key.as_str()]));
    Serving::start_in(sandbox, "group", &data, &arguments)
}

/// Git's own word on the signature of the branch's tip.
fn is_signed(sandbox: &Sandbox) {
    let signers = sandbox.path("signers").display().to_string();
    let allowed = format!("gpg.ssh.allowedSignersFile={signers}");
    sandbox.git("fleet.git", &["-c", &allowed, "verify-commit", "main"]);
}

#[test]
fn changes_are_signed_with_the_key_so_that_the_agent_acts_on_them() {
    let sandbox = sandbox();
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let serving = serve(&sandbox, Some("ada"));
    serving.call("Group.SetSize", &json!({"ID": "web", "Size": 3}));
    assert_eq!(head(&sandbox), "Ada: web: scale to 3\n");
    is_signed(&sandbox);
    sandbox.wait_converged("web", 3);
    let known = handles(&serving, "web");
    let one = about("web", &known, &["web-2"]);
    serving.call("Group.DestroyInstances", &one);
    is_signed(&sandbox);
    sandbox.wait_for("web", "web-2 to be gone", |web| converged(web, 2));
    commit(&serving, &spec("new", 1, &IDLING), false);
    is_signed(&sandbox);
    sandbox.wait_converged("new", 1);
    serving.call("Group.FreeGroup", &json!({"ID": "new"}));
    is_signed(&sandbox);
    assert!(file(&sandbox, "groups/new.yaml").ends_with("  manage: observe\n"));
    serving.call("Group.DestroyGroup", &json!({"ID": "web"}));
    assert_eq!(head(&sandbox), "Ada: web: remove\n");
    is_signed(&sandbox);
}

#[test]
fn what_the_agent_would_not_act_on_is_refused_before_it_is_written() {
    let sandbox = sandbox();
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let first = head(&sandbox);
    let asks = "`source.verify` asks for a signature that this change would not have";
    for key in [None, Some("mallory")] {
        let serving = serve(&sandbox, key);
        let refused = |method: &str, params: &serde_json::Value| {
            let why = serving.refused(method, params);
            assert!(why.contains(asks), "{method}: {why}");
            assert_eq!(head(&sandbox), first, "{method}");
        };
        refused("Group.SetSize", &json!({"ID": "web", "Size": 3}));
        refused("Group.FreeGroup", &json!({"ID": "web"}));
        refused("Group.DestroyGroup", &json!({"ID": "web"}));
        for pretend in [true, false] {
            for id in ["web", "new"] {
                let params = json!({"Spec": spec(id, 3, &IDLING), "Pretend": pretend});
                refused("Group.CommitGroup", &params);
            }
        }
    }
    let serving = serve(&sandbox, Some("mallory"));
    let one = about("web", &handles(&serving, "web"), &["web-1"]);
    let why = serving.refused("Group.DestroyInstances", &one);
    assert!(why.contains(asks), "{why}");
    let asked = ["branch", "--list", "drover/ops"];
    assert_eq!(sandbox.git("fleet.git", &asked), "", "nothing was asked");
    drop(serving);
    // A signature on top would bring what nobody signed into force.
    sandbox.push("by nobody", &[(WEB, &group("web", 9, IDLE, ""))]);
    let unsigned = head(&sandbox);
    let serving = serve(&sandbox, Some("ada"));
    let why = serving.refused("Group.SetSize", &json!({"ID": "web", "Size": 3}));
    assert!(why.contains("nothing is put on top of that"), "{why}");
    assert_eq!(head(&sandbox), unsigned);
    sandbox.wait_for("web", "the last signed commit", |web| converged(web, 2));
}

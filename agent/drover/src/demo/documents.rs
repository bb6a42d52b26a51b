//! What the demo pushes.

use drover_git::Edit;

use super::stage::{GROUP, PROVIDER};
use crate::error::{CommandResult, Context as _};

/// The group, with what the acts change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Web {
    pub(super) size: u32,
    pub(super) version: u32,
    /// What the label `updates` says, which the demo's policy reads.
    pub(super) updates: &'static str,
}

/// Where the group's document stands.
pub(super) const GROUP_FILE: &str = "groups/web.yaml";

/// Where the policy stands.
const POLICY_FILE: &str = "policies/invited-updates.yaml";

impl Web {
    /// Returns the document. Times are short, so that nobody has to wait.
    pub(super) fn text(self) -> CommandResult<String> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let program = program.display().to_string().replace('\'', "''");
        let Self {
            size,
            version,
            updates,
        } = self;
        Ok(format!(
            "apiVersion: drover/v1alpha1
kind: Group
metadata:
  name: {GROUP}
  labels: {{env: demo, updates: {updates}}}
spec:
  provider: {PROVIDER}
  size: {size}
  template:
    properties:
      command: ['{program}', demo-server]
    flavors:
      - vanilla:
          env: {{DEMO_VERSION: \"{version}\"}}
  health:
    startupTimeout: 20s
    unhealthyAfter: 2s
    checks:
      - {{http: {{port: 8080, path: /healthz}}, interval: 500ms, timeout: 2s}}
  rollout: {{maxSurge: 3, maxUnavailable: 0, minReady: 1s}}
  drain:
    delay: 500ms
    begin: [{{http: {{method: POST, port: 8080, path: /drain}}}}]
    done: {{http: {{port: 8080, path: /idle}}}}
    timeout: 10s
"
        ))
    }

    /// Returns the edit that puts it into the repository.
    pub(super) fn edit(self) -> CommandResult<Edit> {
        Ok(Edit::put(GROUP_FILE, self.text()?))
    }
}

/// Returns the provider's document.
pub(super) fn provider() -> Edit {
    let text = format!(
        "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {{name: {PROVIDER}}}\n\
         spec: {{type: process}}\n"
    );
    Edit::put("providers/local.yaml", text)
}

/// Returns a policy that withholds updates of groups that do not invite them, bound to the demo's.
pub(super) fn policy() -> Edit {
    let text = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: invited-updates}
spec:
  on: gate
  rules:
    - expression: 'reason != \"update\" || group.labels[\"updates\"] == \"welcome\"'
      message: the group's label says that updates have to wait
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: invited-updates-demo}
spec:
  policy: invited-updates
  selector: {matchLabels: {env: demo}}
  enforcement: deny
";
    Edit::put(POLICY_FILE, text)
}

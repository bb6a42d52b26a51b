//! What a CI job says of the pull request that it runs for.

use std::path::Path;

use serde_json::Value as Json;

use crate::forge::ForgeKind;

/// What a CI job says. Everything that it does not say is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CiJob {
    pub(super) forge: Option<ForgeKind>,
    pub(super) api: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) number: Option<u64>,
    /// The proposed commit that the job is for.
    pub(super) head: Option<String>,
}

impl CiJob {
    /// Reads the variables that GitHub Actions, Gitea and Forgejo Actions (which have GitHub's, too) and GitLab
    /// CI set. `variable` returns those that are set, `read` a file.
    pub(super) fn of(
        variable: impl Fn(&str) -> Option<String>,
        read: impl Fn(&Path) -> Option<String>,
    ) -> Self {
        let is = |name: &str| variable(name).is_some_and(|value| value == "true");
        if is("GITLAB_CI") {
            let number = variable("CI_MERGE_REQUEST_IID");
            return Self {
                forge: Some(ForgeKind::GitLab),
                api: variable("CI_API_V4_URL"),
                repository: variable("CI_MERGE_REQUEST_PROJECT_PATH")
                    .or_else(|| variable("CI_PROJECT_PATH")),
                number: number.and_then(|number| number.parse().ok()),
                // In a pipeline of the merged result the commit is one that nobody proposed.
                head: variable("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA")
                    .filter(|commit| !commit.is_empty())
                    .or_else(|| variable("CI_COMMIT_SHA")),
            };
        }
        let gitea = is("GITEA_ACTIONS") || is("FORGEJO_ACTIONS");
        if !gitea && !is("GITHUB_ACTIONS") {
            return Self::default();
        }
        let event = variable("GITHUB_EVENT_PATH").and_then(|path| read(Path::new(&path)));
        let event: Json = event
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let pull = &event["pull_request"];
        Self {
            forge: Some(if gitea {
                ForgeKind::Gitea
            } else {
                ForgeKind::GitHub
            }),
            api: variable("GITHUB_API_URL"),
            repository: variable("GITHUB_REPOSITORY"),
            number: pull["number"].as_u64(),
            head: pull["head"]["sha"].as_str().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(variables: &[(&str, &str)], event: &str) -> CiJob {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        CiJob::of(
            |name| variables.get(name).map(|value| (*value).to_owned()),
            |path| (path == Path::new("/event.json")).then(|| event.to_owned()),
        )
    }

    #[test]
    fn a_job_says_which_pull_request_it_is_for() {
        let event = r#"{"number": 7, "pull_request": {"number": 7, "head": {"sha": "abc"}}}"#;
        let mut actions = vec![
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_API_URL", "https://api.github.com"),
            ("GITHUB_REPOSITORY", "acme/fleet"),
            ("GITHUB_EVENT_PATH", "/event.json"),
        ];
        let github = CiJob {
            forge: Some(ForgeKind::GitHub),
            api: Some("https://api.github.com".to_owned()),
            repository: Some("acme/fleet".to_owned()),
            number: Some(7),
            head: Some("abc".to_owned()),
        };
        assert_eq!(of(&actions, event), github);
        actions.push(("GITEA_ACTIONS", "true"));
        let gitea = CiJob {
            forge: Some(ForgeKind::Gitea),
            ..github
        };
        assert_eq!(of(&actions, event), gitea);
        // A push has no pull request.
        assert_eq!(of(&actions, r#"{"ref": "refs/heads/main"}"#).number, None);
    }

    #[test]
    fn a_pipeline_of_the_merged_result_is_for_the_proposed_commit() {
        let mut variables = vec![
            ("GITLAB_CI", "true"),
            ("CI_API_V4_URL", "https://gitlab.com/api/v4"),
            ("CI_PROJECT_PATH", "acme/infra/fleet"),
            ("CI_MERGE_REQUEST_IID", "12"),
            ("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", ""),
            ("CI_COMMIT_SHA", "merged"),
        ];
        let job = of(&variables, "");
        assert_eq!(job.number, Some(12));
        assert_eq!(job.repository.as_deref(), Some("acme/infra/fleet"));
        assert_eq!(job.head.as_deref(), Some("merged"));
        variables[4].1 = "proposed";
        assert_eq!(of(&variables, "").head.as_deref(), Some("proposed"));
    }

    #[test]
    fn elsewhere_nothing_is_known() {
        assert_eq!(
            of(&[("GITHUB_REPOSITORY", "acme/fleet")], ""),
            CiJob::default()
        );
    }
}

//! The facts that policies would be told now: the recorded state of the running agent, else of the
//! state branch, with the instances as the last recorded pass saw them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_git::{Mirror, Oid};
use drover_loop::RecordedFacts;
use drover_model::{
    Certificate, Change, ChangeEnd, ChangeId, DecisionPoint, Digests, Group, GroupName, Reason,
    RecordedGroup, Revision, Timestamp, Value,
};
use drover_policy::{GroupFacts, GroupSummary, Question, SourceFacts};

use crate::cli::{Given, SourceOptions};
use crate::commands::get::declared;
use crate::commands::replay::inputs;
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult};
use crate::settings::Settings;
use crate::snapshot::{Reader, Repository, Snapshot};
use crate::view;

/// The state of a fleet, and the repository that it is recorded in.
pub(super) struct Fleet {
    repository: Repository,
    branch: String,
    pub(super) snapshot: Snapshot,
    groups: BTreeMap<GroupName, GroupSummary>,
    now: Timestamp,
}

/// What policies would be told about one group.
pub(super) struct Live {
    recorded: RecordedFacts,
    /// The document that is asked for, where it is another than the one in force.
    proposed: Option<Arc<Group>>,
    change: Option<Change>,
    source: SourceFacts,
    groups: BTreeMap<GroupName, GroupSummary>,
    now: Timestamp,
    /// When the instances were seen.
    pub(super) seen_at: Timestamp,
}

impl Fleet {
    /// Reads the state of the running agent, else of the state branch.
    pub(super) fn read(options: &SourceOptions) -> CommandResult<Self> {
        let settings = Settings::of_source(options)?;
        let snapshot = Reader::open(&settings)?.read()?;
        Ok(Self {
            repository: Repository::open(&settings)?,
            branch: settings.branch.clone(),
            groups: summaries(snapshot.groups.values()),
            snapshot,
            now: Timestamp::now(),
        })
    }

    /// Returns the group that is named, or the only one.
    pub(super) fn name(&self, named: Option<&GroupName>) -> CommandResult<GroupName> {
        let groups = &self.snapshot.groups;
        match (named, groups.len()) {
            (Some(name), _) => Ok(self.snapshot.group(name)?.name.clone()),
            (None, 1) => Ok(groups.keys().next().expect("there is one").clone()),
            (None, _) => {
                let known: Vec<&str> = groups.keys().map(GroupName::as_str).collect();
                let error = CommandError::usage("which group? name one with --group");
                Err(error.hint(format!("the groups are {}", known.join(", "))))
            }
        }
    }

    /// Returns what policies would be told about a group, with its document out of `documents` if it
    /// is there.
    pub(super) fn group(
        &self,
        name: &GroupName,
        documents: Option<&Documents>,
    ) -> CommandResult<Live> {
        let recorded = self.snapshot.group(name)?;
        let mut facts = self.inputs(name)?;
        let seen_at = facts.now;
        facts.recorded = recorded.clone();
        let proposed = documents.and_then(|documents| documents.repository.groups.get(name));
        let proposed = proposed.map(|located| Arc::clone(&located.value));
        let change = proposed.as_ref().and_then(|group| change(group, &facts));
        Ok(Live {
            source: commit_facts(&self.repository.mirror, &facts.source, Some(&self.branch)),
            recorded: facts,
            proposed,
            change,
            groups: self.groups.clone(),
            now: self.now,
            seen_at,
        })
    }

    fn inputs(&self, name: &GroupName) -> CommandResult<RecordedFacts> {
        inputs(&self.repository, name)?.ok_or_else(|| {
            let error = CommandError::new(format!("no pass over group {name} is recorded"));
            error.hint("give values with --file instead")
        })
    }
}

/// Returns the change that a document asks for.
fn change(group: &Group, facts: &RecordedFacts) -> Option<Change> {
    let digests = drover_plan::target_digests(&group.spec, &facts.provider, &facts.recorded);
    let size = drover_plan::change_size(&group.spec, &facts.recorded, false);
    drover_plan::change(&drover_plan::ChangeInput {
        group: &group.name,
        recorded: &facts.recorded,
        to: Some((&group.spec, size, digests)),
        policies: BTreeMap::new(),
        drift: &facts.decisions.drift,
    })
}

/// Returns a change that changes nothing.
pub(super) fn unchanged(group: &GroupName, size: u32, digests: &Digests) -> Change {
    let end = ChangeEnd {
        members: BTreeSet::new(),
        digests: digests.clone(),
        size,
    };
    Change {
        id: ChangeId::of(&Value::Null),
        group: group.clone(),
        from: Some(end.clone()),
        to: Some(end),
        creates: 0,
        replaces: 0,
        restarts: 0,
        changes: 0,
        destroys: 0,
        policies: BTreeMap::new(),
        certificate: Certificate {
            unavailable_max: 0,
            destroyed_max: 0,
            total_max: size,
        },
    }
}

/// Returns the groups as policies about other groups see them.
pub(super) fn summaries<'a>(
    groups: impl Iterator<Item = &'a RecordedGroup>,
) -> BTreeMap<GroupName, GroupSummary> {
    let summary = |recorded: &RecordedGroup| {
        let view = view::group(recorded, &declared(recorded));
        let summary = GroupSummary {
            size: view.size,
            available: view.available,
            total: view.total,
            updated: view.updated,
            phase: recorded.phase,
        };
        (recorded.name.clone(), summary)
    };
    groups.map(summary).collect()
}

/// Returns a commit of the source as policies see it; without author and message where it is not
/// here and cannot be brought.
pub(in crate::commands) fn commit_facts(
    mirror: &Mirror,
    revision: &Revision,
    branch: Option<&str>,
) -> SourceFacts {
    let look = || -> Option<SourceFacts> {
        let id: Oid = revision.as_str().parse().ok()?;
        let commit = mirror.commit(id).ok()?;
        Some(SourceFacts {
            revision: revision.clone(),
            author: format!("{} <{}>", commit.author.name, commit.author.email),
            subject: commit.subject,
            trailers: commit.trailers.into_iter().collect(),
            // Whose signatures count is the agent's to know.
            signer: String::new(),
        })
    };
    if let Some(found) = look() {
        return found;
    }
    let fetched = branch.and_then(|branch| {
        let refs = mirror.list().ok()?;
        let tip = refs.get(branch)?;
        let name = refs.full_name(branch).unwrap_or_else(|| branch.to_owned());
        mirror.fetch(&[(&name, tip)]).ok()
    });
    fetched
        .and_then(|()| look())
        .unwrap_or_else(|| SourceFacts {
            revision: revision.clone(),
            author: String::new(),
            subject: String::new(),
            trailers: BTreeMap::new(),
            signer: String::new(),
        })
}

impl Live {
    /// Returns the facts: the document that is asked for, the one in force, and the time now.
    pub(super) fn facts(&self) -> GroupFacts<'_> {
        let facts = self.recorded.group_facts(&self.source, &self.groups);
        GroupFacts {
            now: self.now,
            group: self.proposed.as_deref().unwrap_or(facts.group),
            ..facts
        }
    }

    /// Returns the question about the group that the options ask, with the first instance and the
    /// first zone where none is named.
    pub(super) fn question<'a>(
        &'a self,
        given: &'a Given,
        point: Option<DecisionPoint>,
    ) -> CommandResult<Question<'a>> {
        let members = &self.recorded.classified.members;
        let instance = given.instance.as_ref().or_else(|| members.keys().next());
        let zones = &self.facts().group.spec.placement.zones;
        let question = Question {
            reason: Some(given.reason.unwrap_or(Reason::Update)),
            instance,
            zone: given
                .zone
                .as_deref()
                .or_else(|| zones.first().map(String::as_str)),
            change: self.change.as_ref(),
            field: self
                .recorded
                .early
                .differences
                .iter()
                .flat_map(|it| &it.changes)
                .next(),
        };
        let name = &self.recorded.recorded.name;
        let missing = match point {
            Some(
                DecisionPoint::Health
                | DecisionPoint::Protect
                | DecisionPoint::Heal
                | DecisionPoint::Victim,
            ) if instance.is_none() => "it has no instances",
            Some(DecisionPoint::Drift) if question.field.is_none() => {
                "its instances have one template"
            }
            Some(DecisionPoint::Place) if question.zone.is_none() => "it has no placement.zones",
            Some(DecisionPoint::Validate | DecisionPoint::Approve) if question.change.is_none() => {
                "its document asks for no change; give PATH with another one"
            }
            _ => return Ok(question),
        };
        let error = CommandError::new(format!(
            "nothing can be asked about group {name}: {missing}"
        ));
        Err(error.hint("or give values with --file"))
    }

    /// Returns the change that the proposed document asks for; where there is none, one that changes
    /// nothing.
    pub(super) fn change_or_none(&self) -> Change {
        let recorded = &self.recorded.recorded;
        let of_type = || {
            Digests::of(
                &self.recorded.provider.type_,
                &self.recorded.group.spec.template,
                &self.recorded.provider.classes,
            )
        };
        let digests = recorded.target.clone().unwrap_or_else(of_type);
        let none = || unchanged(&recorded.name, recorded.size, &digests);
        self.change.clone().unwrap_or_else(none)
    }

    /// Says what is told where the facts are not of this moment.
    pub(super) fn note(&self) -> String {
        format!(
            "note: instances as the pass at {} saw them, the last that is recorded",
            view::seconds(self.seen_at)
        )
    }
}

//! One side of a comparison: the documents of a commit, of a folder, or with an edit that nobody has written yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use drover_git::{Mirror, Oid, Signature};
use drover_loop::plugin_type;
use drover_model::{
    Digests, Epoch, FieldClass, Group, GroupName, GroupPhase, GroupUid, MemberId, ProviderName,
    ProviderType, RecordedGroup, RecordedProvider, RecordedQuorum, Revision,
};
use drover_policy::{PolicySet, SourceFacts};
use drover_provider::ObjectSchema;
use drover_spec::Located;

use crate::documents::{Documents, is_folder};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::identity;
use crate::providers;
use crate::settings::Settings;
use crate::shipped;
use crate::snapshot::{Lazy, Repository};

/// One side of the comparison.
pub(super) struct End {
    /// How it is called.
    pub(super) shown: String,
    pub(super) documents: Documents,
    pub(super) policies: PolicySet,
    pub(super) facts: SourceFacts,
    /// What is known of the properties of plugins: nothing before [`Self::knowing`].
    properties: BTreeMap<ProviderName, ObjectSchema>,
}

impl End {
    /// Reads a folder, or a commit, a branch or a tag.
    pub(super) fn named(
        repository: &mut Lazy<'_>,
        settings: &Settings,
        name: &str,
    ) -> CommandResult<Self> {
        if is_folder(name) {
            return Self::folder(settings, name);
        }
        let hint =
            |error: CommandError| error.hint("a folder is written with a slash, such as ./after");
        let repository = repository.get().map_err(hint)?;
        let commit = repository.commit_named(name).map_err(hint)?;
        Self::read(repository, settings, commit)
    }

    /// Reads a folder as it is, edits included.
    fn folder(settings: &Settings, name: &str) -> CommandResult<Self> {
        let path = Path::new(name).join(settings.path.trim_matches('/'));
        let documents = Documents::from_path(&path)?;
        let (policies, _) = documents.compile_policies();
        Ok(Self {
            shown: name.to_owned(),
            policies,
            facts: SourceFacts {
                revision: documents.revision()?,
                // As whoever commits it would write it.
                author: author(&identity::user()),
                subject: "not committed".to_owned(),
                trailers: BTreeMap::new(),
                signer: String::new(),
            },
            properties: BTreeMap::new(),
            documents,
        })
    }

    /// Reads a commit.
    pub(super) fn read(
        repository: &Repository,
        settings: &Settings,
        commit: Oid,
    ) -> CommandResult<Self> {
        let mirror = &repository.mirror;
        let attempted = || format!("cannot read commit {}", commit.short());
        let info = mirror.commit(commit).context(attempted())?;
        let documents = Documents::from_commit(mirror, commit, &settings.path)?;
        let (policies, _) = documents.compile_policies();
        Ok(Self {
            shown: format!("commit {}", commit.short()),
            policies,
            facts: SourceFacts {
                revision: Revision::parse(&commit.to_string()).context(attempted())?,
                author: author(&info.author),
                subject: info.subject,
                trailers: info.trailers.into_iter().collect(),
                signer: signer(mirror, commit, settings),
            },
            properties: BTreeMap::new(),
            documents,
        })
    }

    /// Takes up what agents recorded of plugins, and what is published of them.
    #[must_use]
    pub(super) fn knowing(mut self, states: &BTreeMap<GroupName, RecordedGroup>) -> Self {
        self.properties = shipped::properties(&self.documents.repository, states);
        self
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &GroupName> {
        self.documents.repository.groups.keys()
    }

    pub(super) fn located(&self, name: &GroupName) -> Option<&Located<Arc<Group>>> {
        self.documents.repository.groups.get(name)
    }

    pub(super) fn group(&self, name: &GroupName) -> Option<&Group> {
        self.located(name).map(|located| &*located.value)
    }

    /// Returns type and digests of a group's template.
    pub(super) fn digests(&self, group: &Group) -> Option<Made> {
        let provider = self
            .documents
            .repository
            .providers
            .get(&group.spec.provider)?;
        let type_ = provider.value.type_.clone();
        let registry = providers::registry();
        let of_type = registry.manifest(&type_).ok()?;
        let properties = self.properties.get(&group.spec.provider);
        let is_known = properties.is_some() || type_ != plugin_type();
        let classes = properties.unwrap_or(&of_type.properties).classes();
        let digests = Digests::of(&type_, &group.spec.template, &classes);
        Some(Made {
            type_,
            digests,
            classes,
            is_known,
        })
    }

    /// Returns the state that would be recorded if the group had converged at this commit.
    pub(super) fn recorded(&self, name: &GroupName) -> CommandResult<RecordedGroup> {
        // No uid is needed to compare documents.
        let uid = GroupUid::parse("0000000000000000").context("cannot compare")?;
        let mut recorded = RecordedGroup::new(name.clone(), uid, Epoch(0));
        let Some(group) = self.group(name) else {
            return Ok(recorded);
        };
        if let Some(Made {
            type_,
            digests,
            classes,
            ..
        }) = self.digests(group)
        {
            recorded.provider = Some(RecordedProvider {
                name: group.spec.provider.clone(),
                type_,
                settings: drover_model::Value::empty_map(),
                classes,
            });
            recorded.target = Some(digests.clone());
            recorded.stable = Some(digests.clone());
            recorded
                .templates
                .insert(digests, group.spec.template.clone());
        }
        recorded.size = group.spec.size;
        recorded.stable_size = group.spec.size;
        recorded.phase = GroupPhase::Converged;
        recorded.quorum = group.spec.quorum.as_ref().map(|quorum| {
            let members = quorum.members.iter().map(|member| member.id.clone());
            let members: BTreeSet<MemberId> = members.collect();
            RecordedQuorum {
                life: recorded.uid.clone(),
                voters: members.clone(),
                stable: members,
                established: true,
                calm_since: None,
                seated: None,
            }
        });
        Ok(recorded)
    }
}

fn author(signature: &Signature) -> String {
    format!("{} <{}>", signature.name, signature.email)
}

/// Returns who signed a commit, where the agent's file is at hand and says that somebody has to.
fn signer(mirror: &Mirror, commit: Oid, settings: &Settings) -> String {
    let verification = settings.verification.as_ref();
    let verified = verification.and_then(|it| mirror.verify_commit(commit, &it.trust).ok());
    verified.map_or_else(String::new, |signed| signed.principal)
}

/// What the instances of a group at a commit are made from.
pub(super) struct Made {
    type_: ProviderType,
    pub(super) digests: Digests,
    pub(super) classes: BTreeMap<String, FieldClass>,
    /// Whether anything is known of what is changed in place.
    pub(super) is_known: bool,
}

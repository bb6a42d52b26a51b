//! The type `asg`: an Auto Scaling group that is driven as one object, for those who have them and keep them.
//!
//! One instance of drover's is one scaling group. What is inside, its machines, is Amazon's business: drover makes
//! the group, changes it, follows its instance refreshes, and ends it.
//!
//! | module | what it does |
//! | --- | --- |
//! | `properties` | what documents may say |
//! | `listing` | groups as instances: owner, phase, health |
//! | `making`, `changing` | making groups, changing them, ending them, taking them over |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    CheckOutcome, Completeness, FleetName, Listing, ProviderName, ProviderRef, ProviderType,
    Survey, Value,
};
use drover_provider::{
    AdoptRequest, AttachmentUse, Clock, DestroyRequest, InitUse, Manifest, OptionalMethod,
    Provider, ProviderError, ProviderFactory, ProvisionRequest, Provisioned, UpdateRequest,
    refuse_attachments,
};

use crate::book::VISIBILITY;
use crate::factory::Regions;
use crate::region::Region;
use crate::settings::Account;
use listing::Started;

mod changing;
mod listing;
mod making;
mod properties;

/// The type's name, and the subtype that documents name: `plugin: ec2/asg`.
pub const SCALING_GROUPS: &str = "asg";

/// Makes providers of Auto Scaling groups.
#[derive(Debug)]
pub struct AsgFactory {
    manifest: Manifest,
    regions: Arc<Regions>,
    clock: Arc<dyn Clock>,
}

impl AsgFactory {
    pub(crate) fn new(regions: Arc<Regions>, clock: Arc<dyn Clock>) -> Self {
        Self {
            manifest: Manifest {
                type_: ProviderType::parse(SCALING_GROUPS).expect("a valid label"),
                properties: properties::schema(),
                settings: properties::settings(),
                // Each is a controller of its own: none is made by the dozen.
                batch_max: 1,
                visibility: VISIBILITY,
                init: InitUse::UserData,
                attachments: AttachmentUse::Refused,
            },
            regions,
            clock,
        }
    }
}

impl ProviderFactory for AsgFactory {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        let account: Account = properties::account(settings)?;
        Ok(Arc::new(AsgProvider {
            name: name.clone(),
            manifest: self.manifest.clone(),
            region: self.regions.get(&account),
            clock: Arc::clone(&self.clock),
            started: Started::default(),
        }))
    }
}

/// One Provider document.
#[derive(Debug)]
struct AsgProvider {
    name: ProviderName,
    manifest: Manifest,
    region: Arc<Region>,
    clock: Arc<dyn Clock>,
    started: Started,
}

#[async_trait]
impl Provider for AsgProvider {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn offers(&self) -> BTreeSet<OptionalMethod> {
        use OptionalMethod::{Adopt, Health, Survey, Update};
        [Update, Survey, Adopt, Health].into()
    }

    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let as_of = self.clock.now();
        let groups = self.owned(fleet).await?;
        let phases = self.started.phases(&groups, as_of).into_iter();
        let instances = phases.filter_map(|(group, phase)| group.listed(phase));
        Ok(Listing {
            completeness: Completeness::Complete,
            as_of,
            instances: instances.collect(),
            attached: std::collections::BTreeSet::new(),
            places: BTreeMap::new(),
        })
    }

    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        request.slots.iter().try_for_each(refuse_attachments)?;
        self.make(request).await
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        self.end(request).await
    }

    async fn update(&self, request: &UpdateRequest) -> Result<(), ProviderError> {
        refuse_attachments(&request.slot)?;
        self.change(request).await
    }

    async fn release(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        self.let_go(fleet, instance).await
    }

    async fn survey(&self, tags: &BTreeMap<String, String>) -> Result<Survey, ProviderError> {
        let as_of = self.clock.now();
        let (strangers, owned) = self.strangers(tags, as_of).await?;
        Ok(Survey {
            completeness: Completeness::Complete,
            as_of,
            strangers,
            owned,
        })
    }

    async fn adopt(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        self.take_over(request).await
    }

    async fn health(
        &self,
        instance: &ProviderRef,
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        match tokio::time::timeout(timeout, self.condition(instance)).await {
            Ok(answered) => answered,
            Err(_) => Ok(CheckOutcome::Unknown {
                why: format!("EC2 Auto Scaling says nothing within {timeout:?}"),
            }),
        }
    }
}

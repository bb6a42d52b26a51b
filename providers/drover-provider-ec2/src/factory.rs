//! Opens the scopes of Provider documents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use drover_model::{ProviderName, ProviderType, Value};
use drover_provider::{
    AttachmentUse, Clock, InitUse, Manifest, Provider, ProviderError, ProviderFactory,
};

use crate::asg::AsgFactory;
use crate::book::VISIBILITY;
use crate::provider::Ec2Provider;
use crate::purse::Purses;
use crate::region::{Reach, Region};
use crate::settings::{self, Account};

/// The type's name.
const TYPE: &str = "ec2";

/// Most instances of one launch: a tenth of what an account may launch at once, so that one slow or failed call
/// is not all of it.
const BATCH_MAX: u32 = 100;

/// Makes providers over EC2. Documents for the same profile and region share one client and listing, and those for the same
/// account and region its limits.
#[derive(Debug)]
pub struct Ec2Factory {
    manifest: Manifest,
    clock: Arc<dyn Clock>,
    regions: Arc<Regions>,
}

/// The accounts and regions that are in use, whatever type of provider uses them: one set of limits for each.
#[derive(Debug)]
pub(crate) struct Regions {
    reach: Reach,
    known: Mutex<BTreeMap<Account, Arc<Region>>>,
    purses: Arc<Purses>,
}

impl Regions {
    /// Returns an account and region.
    pub(crate) fn get(&self, account: &Account) -> Arc<Region> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let region = known.entry(account.clone()).or_insert_with(|| {
            let reach = self.reach.clone();
            Arc::new(Region::new(account.clone(), reach, &self.purses))
        });
        Arc::clone(region)
    }
}

impl Ec2Factory {
    /// Makes a factory. Nothing is called before a provider is.
    pub fn new(reach: Reach, clock: Arc<dyn Clock>) -> Self {
        Self {
            manifest: Manifest {
                type_: ProviderType::parse(TYPE).expect("a valid label"),
                properties: crate::schema::properties(),
                settings: crate::schema::settings(),
                batch_max: BATCH_MAX,
                visibility: VISIBILITY,
                init: InitUse::UserData,
                attachments: AttachmentUse::Refused,
            },
            clock,
            regions: Arc::new(Regions {
                reach,
                known: Mutex::default(),
                purses: Arc::default(),
            }),
        }
    }

    /// Returns the factory of the other type, Auto Scaling groups. It shares clients and limits with this one.
    pub fn scaling_groups(&self) -> AsgFactory {
        AsgFactory::new(Arc::clone(&self.regions), Arc::clone(&self.clock))
    }
}

impl ProviderFactory for Ec2Factory {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        let settings = settings::decode(settings)?;
        let region = self.regions.get(&settings.account);
        Ok(Arc::new(Ec2Provider {
            name: name.clone(),
            settings,
            manifest: self.manifest.clone(),
            region,
            clock: Arc::clone(&self.clock),
        }))
    }
}

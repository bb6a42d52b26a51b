//! Opens the scopes of Provider documents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use drover_model::{ProviderName, ProviderType, Value};
use drover_provider::{Clock, InitUse, Manifest, Provider, ProviderError, ProviderFactory};

use crate::book::VISIBILITY;
use crate::provider::Ec2Provider;
use crate::region::{Reach, Region};
use crate::settings::{self, Account};

/// The type's name.
const TYPE: &str = "ec2";

/// Most instances of one launch: a tenth of what an account may launch at once, so that one slow or failed call
/// is not all of it.
const BATCH_MAX: u32 = 100;

/// Makes providers over EC2. Documents for the same account and region share one client, budget and listing.
#[derive(Debug)]
pub struct Ec2Factory {
    manifest: Manifest,
    reach: Reach,
    clock: Arc<dyn Clock>,
    regions: Mutex<BTreeMap<Account, Arc<Region>>>,
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
            },
            reach,
            clock,
            regions: Mutex::default(),
        }
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
        let region = {
            let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
            let account = settings.account.clone();
            let region = regions.entry(account.clone()).or_insert_with(|| {
                let reach = self.reach.clone();
                Arc::new(Region::new(account, reach))
            });
            Arc::clone(region)
        };
        Ok(Arc::new(Ec2Provider {
            name: name.clone(),
            settings,
            manifest: self.manifest.clone(),
            region,
            clock: Arc::clone(&self.clock),
        }))
    }
}

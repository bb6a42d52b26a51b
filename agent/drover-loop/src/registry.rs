//! Which provider types exist and may be used, and the scopes that are open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_model::{ProviderDoc, ProviderName, ProviderType, Value};
use drover_provider::{Described, Manifest, Provider, ProviderError, ProviderFactory};

/// Which provider types a repository may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Every type but `process`, which runs what the repository says as the agent's own user.
    AllButProcess,
    /// Exactly these.
    Only(BTreeSet<ProviderType>),
}

impl Allowed {
    /// Returns whether `type_` may be used.
    pub fn allows(&self, type_: &ProviderType) -> bool {
        match self {
            Self::AllButProcess => type_.as_str() != "process",
            Self::Only(types) => types.contains(type_),
        }
    }
}

/// Returns the type of providers that are programs of their own. Where it may be used, flavors may be such programs too.
///
/// # Panics
///
/// Never: it is a valid name.
pub fn plugin_type() -> ProviderType {
    ProviderType::parse("plugin").expect("a valid label")
}

/// The provider types that the binary brought along, and which of them may be used.
#[derive(Debug, Clone)]
pub struct Registry {
    factories: BTreeMap<ProviderType, Arc<dyn ProviderFactory>>,
    allowed: Allowed,
}

/// Why a Provider document cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No such type.
    #[error("this agent has no provider type {type_}; it has {}; a program of its own, such as ec2, is `type: plugin` with its name in `plugin`", known.join(", "))]
    Unknown {
        /// The type.
        type_: ProviderType,
        /// The types that there are.
        known: Vec<String>,
    },
    /// The agent's file does not allow the type.
    #[error("provider type {type_} is not allowed; add it to providers.allow in the agent's file")]
    NotAllowed {
        /// The type.
        type_: ProviderType,
    },
    /// The settings do not fit the type.
    #[error("{message}")]
    Settings {
        /// The first mistake.
        message: String,
    },
    /// The provider could not be opened.
    #[error("the provider could not be opened ({})", .0.class.as_str())]
    Open(#[source] ProviderError),
}

impl RegistryError {
    /// Returns whether this agent has nothing to do with providers of that type: it has made no instances there, unless it was
    /// another program once, or its file said something else.
    pub(crate) fn is_barred(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::NotAllowed { .. } => true,
            Self::Settings { .. } | Self::Open(_) => false,
        }
    }
}

impl Registry {
    /// Makes a registry of `factories`.
    pub fn new(
        factories: impl IntoIterator<Item = Arc<dyn ProviderFactory>>,
        allowed: Allowed,
    ) -> Self {
        let factories = factories
            .into_iter()
            .map(|factory| (factory.manifest().type_.clone(), factory))
            .collect();
        Self { factories, allowed }
    }

    /// Returns whether flavors may be programs of their own.
    pub fn allows_flavor_plugins(&self) -> bool {
        self.allowed.allows(&plugin_type())
    }

    /// Returns the manifest of a type that exists and is allowed.
    pub fn manifest(&self, type_: &ProviderType) -> Result<&Manifest, RegistryError> {
        self.factory(type_).map(|factory| factory.manifest())
    }

    /// Returns the types that exist, allowed or not.
    pub fn types(&self) -> impl Iterator<Item = &ProviderType> {
        self.factories.keys()
    }

    /// Opens the scope of a Provider document.
    ///
    /// # Errors
    ///
    /// See [`RegistryError`]; none of them changes anything.
    pub fn open(
        &self,
        name: &ProviderName,
        type_: &ProviderType,
        settings: &Value,
    ) -> Result<Arc<dyn Provider>, RegistryError> {
        let factory = self.factory(type_)?;
        if let Some(mistake) = factory.manifest().settings.check(settings).first() {
            let message = match mistake.path.as_str() {
                "" => mistake.message.clone(),
                path => format!("{path}: {}", mistake.message),
            };
            return Err(RegistryError::Settings { message });
        }
        factory.open(name, settings).map_err(RegistryError::Open)
    }

    /// Returns the setting in which two documents of one name and type lead to different places. See
    /// [`ProviderFactory::moved`].
    pub fn moved(&self, type_: &ProviderType, before: &Value, after: &Value) -> Option<String> {
        let factory = self.factories.get(type_)?;
        factory.moved(before, after)
    }

    /// Returns what one Provider document takes, where its program is there to be asked. See
    /// [`ProviderFactory::describe`].
    pub fn describe(&self, document: &ProviderDoc) -> Result<Option<Described>, ProviderError> {
        match self.factory(&document.type_) {
            Ok(factory) => factory.describe(&document.name, &document.settings),
            // Such a document has a diagnostic of its own.
            Err(_) => Ok(None),
        }
    }

    fn factory(&self, type_: &ProviderType) -> Result<&Arc<dyn ProviderFactory>, RegistryError> {
        let Some(factory) = self.factories.get(type_) else {
            return Err(RegistryError::Unknown {
                type_: type_.clone(),
                known: self.factories.keys().map(ToString::to_string).collect(),
            });
        };
        if self.allowed.allows(type_) {
            Ok(factory)
        } else {
            Err(RegistryError::NotAllowed {
                type_: type_.clone(),
            })
        }
    }
}

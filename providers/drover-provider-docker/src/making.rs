//! One call that makes a container: looked for first, made, put into its networks, started.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use drover_model::{ErrorClass, Token};
use drover_provider::{ProviderError, ProvisionRequest, Provisioned, is_repeated};
use sha2::{Digest as _, Sha256};

use crate::api::{EngineError, ErrorKind, ImageConfig};
use crate::body;
use crate::describe::{Pull, Reading, Spec, invalid, publishes, slot_of};
use crate::finishing::missing_networks;
use crate::labels;
use crate::listing::Word;
use crate::names::{Name, Stage};
use crate::provider::{Found, Inner, failed, unknown};
use crate::registries::{Credentials, FullName, RegistryLogin};

/// The network of the addresses that ports are published at, 127.128.0.0/10: another half of loopback
/// than the process provider takes its addresses from.
const NETWORK: u32 = 0x7f80_0000;
const HOSTS: u32 = 1 << 22;

impl Inner {
    pub(crate) async fn provision(
        self: &std::sync::Arc<Self>,
        request: &ProvisionRequest,
    ) -> Result<Provisioned, ProviderError> {
        let slot = slot_of(request)?;
        let flight = self.memory.flight(&request.token);
        let _turn = flight.lock().await;
        let found = self.of_token(&request.token).await;
        match found.map_err(|error| failed(&error))? {
            Some(found) => self.resume(request, &found).await?,
            None if self.is_spent(&request.token).await? => {}
            None => self.make(request).await?,
        }
        let name = Name::new(&slot.instance, &request.token);
        Ok(Provisioned {
            made: BTreeMap::from([(slot.instance.clone(), name.handle())]),
            shortfall: None,
        })
    }

    async fn is_spent(&self, token: &Token) -> Result<bool, ProviderError> {
        let spent = self.spent.has(token).await;
        spent.map_err(|error| unknown(format!("cannot look for token {token}: {error}")))
    }

    pub(crate) async fn spend(&self, token: &Token) -> Result<(), ProviderError> {
        let noted = self.spent.note(token).await;
        noted.map_err(|error| unknown(format!("cannot take note of token {token}: {error}")))
    }

    /// Goes on with what an earlier call has made.
    async fn resume(&self, request: &ProvisionRequest, found: &Found) -> Result<(), ProviderError> {
        let kept = found.labels.get(labels::CALL);
        if !kept.is_some_and(|kept| is_repeated(request, kept)) {
            let token = &request.token;
            let message = format!("token {token} was used with other parameters");
            return Err(invalid(message));
        }
        // What has run once is not started again: it would be another instance.
        if found.name.stage == Stage::Made && !self.has_run(found).await? {
            self.bring_up(request, &found.summary.id, &missing_networks(found))
                .await?;
        }
        self.spend(&request.token).await
    }

    async fn has_run(&self, found: &Found) -> Result<bool, ProviderError> {
        if Word::read(&found.summary.state) != Word::Created {
            return Ok(true);
        }
        match self.engine.inspect(&found.summary.id).await {
            Ok(inspected) => Ok(inspected.state.has_run()),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(unknown(error.to_string())),
        }
    }

    async fn make(&self, request: &ProvisionRequest) -> Result<(), ProviderError> {
        let address = if publishes(&request.properties) {
            Some(self.free_address(&request.token).await?)
        } else {
            None
        };
        let reading = Reading {
            provider: &self.name,
            schema: &self.manifest.properties,
            grants: &self.grants,
        };
        let spec = reading.spec(request, address)?;
        let image = self.image(&spec).await?;
        let body = body::of(&spec, &image).map_err(|_| {
            let image = &spec.image;
            invalid(format!(
                "command: neither it nor image {image} says what to run"
            ))
        })?;
        let made = self.engine.create(&spec.name.to_string(), &body).await;
        let id = match made {
            Ok(id) => id,
            Err(error) => return self.not_created(request, &error).await,
        };
        let others = spec.networks.get(1..).unwrap_or_default();
        self.bring_up(request, &id, others).await?;
        self.spend(&request.token).await
    }

    /// Finds out what a call came to that did not say that it made something: an earlier one may have
    /// taken the name, and the answer of this one may have been lost.
    async fn not_created(
        &self,
        request: &ProvisionRequest,
        error: &EngineError,
    ) -> Result<(), ProviderError> {
        match self.of_token(&request.token).await {
            Ok(Some(found)) => self.resume(request, &found).await,
            Ok(None) => {
                let class = error.class_of_nothing_made();
                Err(ProviderError::new(class, error.to_string()))
            }
            Err(_) => Err(unknown(error.to_string())),
        }
    }

    /// Puts a container into networks and starts it. One that cannot be started is removed, so that the
    /// refusal has left nothing behind.
    async fn bring_up(
        &self,
        request: &ProvisionRequest,
        id: &str,
        networks: &[String],
    ) -> Result<(), ProviderError> {
        let instance = slot_of(request)?.instance.to_string();
        let aliases = [instance, request.group.to_string()];
        let mut brought = Ok(());
        for network in networks {
            brought = self.engine.connect(id, network, &aliases).await;
            if brought.is_err() {
                break;
            }
        }
        if brought.is_ok() {
            brought = self.engine.start(id).await;
        }
        let Err(error) = brought else {
            return Ok(());
        };
        match error.kind {
            ErrorKind::Refused(_) => self.undo(id, &error).await,
            ErrorKind::NotSent { .. } | ErrorKind::Lost => Err(unknown(error.to_string())),
        }
    }

    /// Removes what was made and cannot be started.
    async fn undo(&self, id: &str, error: &EngineError) -> Result<(), ProviderError> {
        match self.engine.inspect(id).await {
            // It runs, or ran, all the same.
            Ok(inspected) if inspected.state.has_run() => return Ok(()),
            Ok(_) => {}
            Err(error) if error.is_missing() => {}
            Err(_) => return Err(unknown(error.to_string())),
        }
        match self.engine.remove(id).await {
            Ok(()) => {}
            Err(removing) if removing.is_missing() => {}
            Err(removing) => return Err(unknown(format!("{error}; then {removing}"))),
        }
        let class = error.class_of_nothing_made();
        Err(ProviderError::new(class, error.to_string()))
    }

    /// Sees to it that the image is there, and returns what it says.
    async fn image(&self, spec: &Spec) -> Result<ImageConfig, ProviderError> {
        let image = &spec.image;
        let there = match spec.pull {
            Pull::Always => None,
            Pull::Missing | Pull::Never => self.find_image(image).await?,
        };
        let there = match (there, spec.pull) {
            (Some(there), _) => Some(there),
            (None, Pull::Never) => {
                let message = format!("image {image} is not there, and `pull: never` is written");
                return Err(invalid(message));
            }
            (None, Pull::Always | Pull::Missing) => {
                self.pull_once(image, spec.pull).await?;
                self.find_image(image).await?
            }
        };
        there.ok_or_else(|| {
            let message = format!("image {image} was pulled and is not there");
            ProviderError::new(ErrorClass::Partial, message)
        })
    }

    /// Pulls an image, or waits for the pull of it that is under way.
    async fn pull_once(&self, image: &str, how: Pull) -> Result<(), ProviderError> {
        let pulls = &self.memory.pulls;
        if how == Pull::Always {
            // What was begun before may have read what a tag meant before.
            pulls.earlier(image).await?;
        }
        let registry = FullName::of(image);
        let registry = registry.as_ref().map_or("", FullName::host);
        let pull = async {
            // It may have come between the question and this turn.
            if how == Pull::Missing && self.find_image(image).await?.is_some() {
                return Ok(());
            }
            self.pull(image).await
        };
        pulls.once(image, registry, pull).await
    }

    async fn find_image(&self, image: &str) -> Result<Option<ImageConfig>, ProviderError> {
        match self.engine.image(image).await {
            Ok(found) => Ok(found.map(|image| image.config.unwrap_or_default())),
            Err(error) => {
                // An unknown outcome would be asked for again for ever, and hold the group.
                let class = error.class_of_a_look();
                Err(ProviderError::new(class, error.to_string()))
            }
        }
    }

    async fn pull(&self, image: &str) -> Result<(), ProviderError> {
        let name = FullName::of(image);
        let registries = &self.grants.registries;
        let login = name
            .as_ref()
            .and_then(|name| Some((name, registries.of(name)?)));
        let credentials = match login {
            Some((name, login)) => Some(self.credentials(image, name, login).await?),
            None => None,
        };
        tracing::info!(provider = %self.name, image, "image is pulled");
        let shown = name.as_ref().zip(credentials.as_ref());
        let pulled = self.engine.pull(image, shown, self.pull_timeout).await;
        let login = login.map(|(_, login)| login);
        pulled.map_err(|error| not_pulled(&error, name.as_ref(), login))
    }

    /// Reads the credentials that an image is pulled with.
    async fn credentials(
        &self,
        image: &str,
        name: &FullName,
        login: &RegistryLogin,
    ) -> Result<Credentials, ProviderError> {
        let read = self.grants.registries.read(login, name).await;
        read.map_err(|error| {
            let registry = login.registry();
            let message = format!(
                "cannot pull image {image}: no credentials for {registry}, which `docker.registries` of the agent's file has: {error}"
            );
            // Nothing was asked for, and it concerns who wants this image: the engine's own credentials are others.
            ProviderError::new(ErrorClass::Partial, message)
        })
    }

    /// Returns an address that no container of drover's has at this engine.
    async fn free_address(&self, token: &Token) -> Result<Ipv4Addr, ProviderError> {
        let with_address = self.engine.containers(&[labels::ADDRESS.to_owned()]).await;
        let with_address = with_address.map_err(|error| failed(&error))?;
        let taken = with_address.iter().filter_map(|container| {
            let labels = container.labels.as_ref()?;
            labels.get(labels::ADDRESS)?.parse().ok()
        });
        let taken: BTreeSet<Ipv4Addr> = taken.collect();
        address_of(token, &taken).ok_or_else(|| {
            let message = "every address for published ports is taken";
            ProviderError::new(ErrorClass::Capacity, message)
        })
    }
}

/// Returns the error of a pull, with what may be wrong about credentials: an engine says in its own words
/// whether it was that.
fn not_pulled(
    error: &EngineError,
    name: Option<&FullName>,
    login: Option<&RegistryLogin>,
) -> ProviderError {
    let class = error.class_of_a_look();
    let advice = match (error.kind, login, name) {
        (ErrorKind::Lost | ErrorKind::NotSent { .. }, _, _) | (_, None, None) => String::new(),
        (ErrorKind::Refused(_), Some(login), _) => format!(
            "; asked with the credentials of {} in {}: if they are wrong or may not read this image, write others there",
            login.registry(),
            login.source.path().display()
        ),
        (ErrorKind::Refused(_), None, Some(name)) => format!(
            "; asked without credentials: if {} wants some for this image, write them under `docker.registries` of the agent's file",
            name.host()
        ),
    };
    ProviderError::new(class, format!("{error}{advice}"))
}

/// Returns the address of a token, or the next one that is free: drawn by the token, so that several
/// agents at one engine rarely draw the same.
fn address_of(token: &Token, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let hash = Sha256::digest(token.as_str().as_bytes());
    let start = hash
        .iter()
        .take(4)
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
        % HOSTS;
    let hosts = (0..HOSTS).map(|step| NETWORK + (start + step) % HOSTS);
    // People and programs expect neither of these two to be a machine.
    let usual = hosts.filter(|host| !matches!(host & 0xff, 0 | 0xff));
    usual
        .map(Ipv4Addr::from)
        .find(|address| !taken.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_drawn_by_the_token_and_is_nobody_elses() {
        let token = Token::parse(&"a".repeat(32)).unwrap();
        let first = address_of(&token, &BTreeSet::new()).unwrap();
        assert_eq!(address_of(&token, &BTreeSet::new()), Some(first));
        let mut taken = BTreeSet::new();
        for _ in 0..600 {
            let next = address_of(&token, &taken).unwrap();
            let [a, b, _, d] = next.octets();
            assert_eq!((a, b & 0xc0), (127, 128), "{next}");
            assert!(!matches!(d, 0 | 255), "{next}");
            assert!(taken.insert(next), "{next} is there twice");
        }
        let other = Token::parse(&"b".repeat(32)).unwrap();
        assert_ne!(address_of(&other, &BTreeSet::new()), Some(first));
    }
}

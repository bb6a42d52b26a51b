//! The provider: reads and writes folders, starts shims, and asks them to end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    AttachmentName, CheckOutcome, Completeness, ErrorClass, FleetName, InPlace, Listing,
    ProviderPhase, ProviderRef, Seat, SeatId, Token,
};
use drover_provider::{
    Clock, DestroyRequest, Manifest, OptionalMethod, Provider, ProviderError, ProvisionRequest,
    Provisioned, ReserveRequest, UpdateRequest, fingerprint, is_repeated, refuse_attachments,
};
use tokio::io::AsyncReadExt as _;

use crate::describe::Site;
use crate::factory::ShimProgram;
use crate::folder::{Folder, Root};
use crate::life::{clear, list_one, phase};
use crate::place::{Known, Place, known};
use crate::process::{boot_id, reap_shims};
use crate::record::{OwnershipRecord, StopRecord};
use crate::shim::{Checked, check_arguments};
use crate::{address, log};

/// How much longer than its limit a check may take to report, before it is given up.
const CHECK_SLACK: Duration = Duration::from_secs(5);

/// One scope of the type `process`: the instances of one Provider document.
#[derive(Debug, Clone)]
pub struct ProcessProvider {
    pub(crate) manifest: Manifest,
    root: Root,
    shim: ShimProgram,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log_limit: u64,
}

impl ProcessProvider {
    pub(crate) fn new(
        manifest: Manifest,
        root: Root,
        shim: ShimProgram,
        clock: Arc<dyn Clock>,
        log_limit: u64,
    ) -> Self {
        Self {
            manifest,
            root,
            shim,
            clock,
            log_limit,
        }
    }

    /// Runs blocking work to its end, even if the caller drops the future.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let this = self.clone();
        match tokio::task::spawn_blocking(move || work(&this)).await {
            Ok(result) => result,
            Err(error) => Err(ProviderError::new(
                ErrorClass::Unknown,
                format!("the call was cut short: {error}"),
            )),
        }
    }

    /// Returns the folder of a handle. None: no handle of ours, so nothing that exists; in
    /// particular no path that leads elsewhere.
    fn folder_of(&self, instance: &ProviderRef) -> Option<Folder> {
        let token = Token::parse(instance.as_str()).ok()?;
        Some(self.root.folder(token.as_str()))
    }

    fn list_now(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let as_of = self.clock.now();
        let failed = |error: io::Error| error_of("cannot list the instances", &error);
        let boot = boot_id().map_err(failed)?;
        let mut instances = Vec::new();
        let mut unreadable = Vec::new();
        for entry in fs::read_dir(self.root.instances()).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // What has another name is being made, or is not ours.
            let Some(token) = name.to_str().and_then(|name| Token::parse(name).ok()) else {
                continue;
            };
            let name = token.as_str();
            match list_one(&self.root.folder(name), name, fleet, &boot) {
                Ok(listed) => instances.extend(listed),
                Err(error) => unreadable.push(format!("{name}: {error}")),
            }
        }
        self.root.empty_trash();
        if std::process::id() == 1 {
            reap_shims();
        }
        let known = known(&self.root, fleet).unwrap_or_else(|error| {
            unreadable.push(format!("places: {error}"));
            Known::default()
        });
        let completeness = if unreadable.is_empty() {
            Completeness::Complete
        } else {
            let why = format!("cannot read {}", unreadable.join("; "));
            Completeness::Partial { why }
        };
        Ok(Listing {
            completeness,
            as_of,
            instances,
            attached: known.attached,
            places: known.addresses,
        })
    }

    fn provision_now(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        let failed = |error: io::Error| error_of("cannot make the instance", &error);
        let slot = match request.slots.as_slice() {
            [slot] => slot,
            slots => {
                let message = format!("a batch has one slot, not {}", slots.len());
                return Err(invalid(message));
            }
        };
        let token = request.token.as_str();
        let folder = self.root.folder(token);
        let lock = self.root.lock().map_err(failed)?;
        let made = Provisioned {
            made: BTreeMap::from([(slot.instance.clone(), provider_ref(token)?)]),
            shortfall: None,
        };
        if let Some(record) = folder.record().map_err(failed)? {
            if !is_repeated(request, &record.fingerprint) {
                let message = format!("token {token} was used with other parameters");
                return Err(invalid(message));
            }
        } else if self.root.is_spent(token) {
            return Ok(made);
        } else {
            self.make_folder(request, &folder, fingerprint(request))?;
        }
        drop(lock);
        // From here on something exists, so a failure means that nobody knows: the call is repeated,
        // and starts what was not started.
        let started = folder.run().and_then(|run| match run {
            Some(_) => Ok(()),
            None => self.shim.start(&folder),
        });
        started.map_err(|error| ProviderError::new(ErrorClass::Unknown, error.to_string()))?;
        Ok(made)
    }

    fn make_folder(
        &self,
        request: &ProvisionRequest,
        folder: &Folder,
        fingerprint: String,
    ) -> Result<(), ProviderError> {
        let failed = |error: io::Error| error_of("cannot make the instance", &error);
        // Before the address is taken: most mistakes show without it.
        self.describe(request, folder, &Site::of("127.64.0.1"), String::new())?;
        let token = request.token.as_str();
        let seat = request.slots.first().and_then(|slot| slot.seat.as_deref());
        let site = if let Some(seat) = seat {
            self.place(request, seat)?
        } else {
            let claimed = address::claim(self.root.base(), folder.path(), token);
            Site::of(&claimed.map_err(failed)?)
        };
        let (record, script) = self.describe(request, folder, &site, fingerprint)?;
        let unfinished = self.root.unfinished(token);
        Folder::make(&unfinished, folder, &record, script.as_deref()).map_err(|error| {
            // The address of a place is the place's own, so it stays.
            address::release(self.root.base(), &site.address, folder.path());
            failed(error)
        })
    }

    /// Prepares the place of a member: its attachments, its address, and the addresses of its peers. The
    /// caller holds the lock of the base.
    fn place(&self, request: &ProvisionRequest, seat: &Seat) -> Result<Site, ProviderError> {
        let failed = |error: io::Error| error_of("cannot prepare the member's place", &error);
        let place = Place::of(&self.root, &seat.id);
        let mut members = Vec::new();
        for member in &seat.members {
            let id = SeatId {
                life: seat.id.life.clone(),
                member: member.clone(),
            };
            let peer = Place::of(&self.root, &id);
            let address = peer.claim(&self.root, &request.fleet, &request.group, &id);
            members.push((member.clone(), address.map_err(failed)?));
        }
        let address = place.claim(&self.root, &request.fleet, &request.group, &seat.id);
        let address = address.map_err(failed)?;
        // The shim takes the place for good; this only says early that somebody has it.
        if place.try_take().map_err(failed)?.is_none() || self.has_holder(&place)? {
            let message = format!("the place of member {} is taken", seat.id.member);
            return Err(ProviderError::new(ErrorClass::Capacity, message));
        }
        let names = seat.attachments.iter().map(AttachmentName::as_str);
        place.attach(names).map_err(failed)?;
        Ok(Site {
            address,
            members,
            place: Some((place, seat.attachments.clone())),
        })
    }

    fn reserve_now(&self, request: &ReserveRequest) -> Result<String, ProviderError> {
        let failed = |error: io::Error| error_of("cannot prepare the member's place", &error);
        let _lock = self.root.lock().map_err(failed)?;
        let place = Place::of(&self.root, &request.seat);
        let address = place.claim(&self.root, &request.fleet, &request.group, &request.seat);
        address.map_err(failed)
    }

    /// Returns whether an instance that is not gone has the place, though it may not run.
    fn has_holder(&self, place: &Place) -> Result<bool, ProviderError> {
        let failed = |error: io::Error| error_of("cannot look for the place's holder", &error);
        for entry in fs::read_dir(self.root.instances()).map_err(failed)? {
            let folder = Folder::at(entry.map_err(failed)?.path());
            let record = folder.record().map_err(failed)?;
            let of = record.and_then(|record| record.place);
            if of.is_some_and(|of| Path::new(&of) == place.path()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn destroy_now(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        let failed = |error: io::Error| error_of("cannot end the instance", &error);
        let Some(folder) = self.folder_of(&request.provider_ref) else {
            return Ok(());
        };
        let Some(record) = folder.record().map_err(failed)? else {
            return Ok(());
        };
        let owned = record.ownership.as_ref().map(OwnershipRecord::parse);
        let owned = owned.and_then(Result::ok).is_some_and(|owned| {
            owned.fleet == request.fleet
                && owned.group == request.group
                && owned.instance == request.instance
                && owned.token == request.token
        });
        if !owned {
            let message = format!(
                "instance {} is not {} with token {}",
                request.provider_ref, request.instance, request.token
            );
            return Err(ProviderError::new(ErrorClass::NotFound, message));
        }
        let stop = StopRecord {
            grace_ms: request.grace.as_millis() as u64,
        };
        let noted = match folder.stop().map_err(failed)? {
            Some(earlier) if earlier.grace_ms <= stop.grace_ms => Ok(()),
            // The folder may go while the note is written.
            Some(_) | None => match folder.write_stop(stop) {
                Err(_) if !folder.exists() => return Ok(()),
                result => result,
            },
        };
        // On a full disk the note cannot be written, but the shim can still be told.
        if folder.ask_to_stop(stop).map_err(failed)? {
            return Ok(());
        }
        noted.map_err(failed)?;
        // A shim that is only just ending holds its lock; the next listing clears up behind it.
        clear(&folder).map_err(failed)?;
        Ok(())
    }

    /// Writes down what the instance becomes and, for a restart, tells the shim. An agent that is killed
    /// in between leaves the instance as it was, and the repeated call finds it so.
    fn update_now(&self, request: &UpdateRequest) -> Result<(), ProviderError> {
        let failed = |error: io::Error| error_of("cannot change the instance", &error);
        let gone = || not_found(&request.provider_ref);
        let folder = self.folder_of(&request.provider_ref).ok_or_else(gone)?;
        let _lock = self.root.lock().map_err(failed)?;
        let record = folder.record().map_err(failed)?.ok_or_else(gone)?;
        let owner = record.ownership.as_ref().map(OwnershipRecord::parse);
        let owned = owner.and_then(Result::ok).is_some_and(|owned| {
            owned.fleet == request.fleet
                && owned.group == request.group
                && owned.instance == request.slot.instance
                && owned.token == request.token
        });
        let ending = folder.stop().map_err(failed)?.is_some();
        if !owned || ending || folder.exit().map_err(failed)?.is_some() {
            return Err(gone());
        }
        if record.place.is_some() {
            return Err(invalid("a member of a quorum is not changed in place"));
        }
        let update = request.update.as_str();
        if record.update.as_deref() == Some(update) {
            return Ok(());
        }
        let (mut next, script) = self.describe_update(request, &folder, &record)?;
        next.update = Some(update.to_owned());
        match request.how {
            InPlace::Live => folder.write_record(&next).map_err(failed),
            InPlace::Restart => {
                folder
                    .write_next(&next, script.as_deref())
                    .map_err(failed)?;
                let asked = folder.ask_to_restart(update, request.grace);
                if !matches!(asked, Ok(true)) {
                    folder.forget_next().map_err(failed)?;
                }
                if asked.map_err(failed)? {
                    Ok(())
                } else {
                    Err(gone())
                }
            }
        }
    }

    fn release_now(&self, fleet: &FleetName, name: &ProviderRef) -> Result<(), ProviderError> {
        let failed = |error: io::Error| error_of("cannot release the instance", &error);
        let Some(folder) = self.folder_of(name) else {
            return Ok(());
        };
        let _lock = self.root.lock().map_err(failed)?;
        let Some(mut record) = folder.record().map_err(failed)? else {
            return Ok(());
        };
        match &record.ownership {
            None => Ok(()),
            Some(owner) if owner.fleet() == fleet.as_str() => {
                record.ownership = None;
                record.tags.clear();
                folder.write_record(&record).map_err(failed)
            }
            Some(_) => {
                let message = format!("instance {name} has another owner");
                Err(ProviderError::new(ErrorClass::NotFound, message))
            }
        }
    }
}

#[async_trait]
impl Provider for ProcessProvider {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn offers(&self) -> BTreeSet<OptionalMethod> {
        use OptionalMethod::{Check, Logs, Reserve, Update};
        [Update, Reserve, Check, Logs].into()
    }

    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let fleet = fleet.clone();
        self.blocking(move |this| this.list_now(&fleet)).await
    }

    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        request.slots.iter().try_for_each(refuse_attachments)?;
        let request = request.clone();
        self.blocking(move |this| this.provision_now(&request))
            .await
    }

    async fn reserve(&self, request: &ReserveRequest) -> Result<String, ProviderError> {
        let request = request.clone();
        self.blocking(move |this| this.reserve_now(&request)).await
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        let request = request.clone();
        self.blocking(move |this| this.destroy_now(&request)).await
    }

    async fn update(&self, request: &UpdateRequest) -> Result<(), ProviderError> {
        refuse_attachments(&request.slot)?;
        let request = request.clone();
        self.blocking(move |this| this.update_now(&request)).await
    }

    async fn release(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        let (fleet, instance) = (fleet.clone(), instance.clone());
        let work = move |this: &Self| this.release_now(&fleet, &instance);
        self.blocking(work).await
    }

    /// # Cancellation
    ///
    /// A dropped future ends the check and everything that it started.
    async fn check(
        &self,
        instance: &ProviderRef,
        command: &[String],
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        let folder = self.folder_of(instance);
        let folder = folder.ok_or_else(|| not_found(instance))?;
        let phase = {
            let (folder, name) = (folder.clone(), instance.clone());
            self.blocking(move |_| {
                let boot = boot_id();
                let phase = boot.and_then(|boot| phase(&folder, &boot));
                let phase = phase.map_err(|error| error_of("cannot check the instance", &error))?;
                phase.ok_or_else(|| not_found(&name))
            })
            .await?
        };
        if phase != ProviderPhase::Running {
            return Ok(CheckOutcome::Failing {
                why: "the instance is not running".to_owned(),
            });
        }
        match self.run_check(&folder, command, timeout).await {
            Ok(outcome) => Ok(outcome),
            Err(error) => Ok(CheckOutcome::Unknown {
                why: format!("the check could not be run: {error}"),
            }),
        }
    }

    async fn logs(&self, instance: &ProviderRef, lines: usize) -> Result<String, ProviderError> {
        let name = instance.clone();
        self.blocking(move |this| {
            let folder = this.folder_of(&name).filter(Folder::exists);
            let folder = folder.ok_or_else(|| not_found(&name))?;
            log::tail(&folder.log(), lines).map_err(|error| error_of("cannot read the log", &error))
        })
        .await
    }
}

impl ProcessProvider {
    async fn run_check(
        &self,
        folder: &Folder,
        command: &[String],
        timeout: Duration,
    ) -> io::Result<CheckOutcome> {
        let command = self.shim.command(check_arguments(folder, timeout, command));
        let mut command = tokio::process::Command::from(command);
        // The shim ends the check when its standard input ends, so also when this future is dropped.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut answer = Vec::new();
        let stdout = child.stdout.take();
        let reading = async {
            if let Some(mut stdout) = stdout {
                stdout.read_to_end(&mut answer).await?;
            }
            child.wait().await
        };
        let ended = tokio::time::timeout(timeout + CHECK_SLACK, reading).await;
        ended.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
        let checked: Checked = serde_json::from_slice(&answer)?;
        let said = match checked.output.as_str() {
            "" => String::new(),
            output => format!(": {output}"),
        };
        let why = match (checked.code, checked.signal) {
            (Some(0), _) => return Ok(CheckOutcome::Passing),
            (Some(code), _) => format!("exit status {code}{said}"),
            (None, _) if checked.timed_out => format!("no answer within {timeout:?}{said}"),
            (None, Some(signal)) => format!("ended by signal {signal}{said}"),
            (None, None) => format!("ended{said}"),
        };
        Ok(CheckOutcome::Failing { why })
    }
}

fn provider_ref(token: &str) -> Result<ProviderRef, ProviderError> {
    ProviderRef::parse(token).map_err(|error| invalid(error.to_string()))
}

pub(crate) fn invalid(message: impl Into<String>) -> ProviderError {
    ProviderError::new(ErrorClass::InvalidSpec, message)
}

fn not_found(instance: &ProviderRef) -> ProviderError {
    let message = format!("instance {instance} does not exist");
    ProviderError::new(ErrorClass::NotFound, message)
}

fn error_of(what: &str, error: &io::Error) -> ProviderError {
    ProviderError::new(class_of(error), format!("{what}: {error}"))
}

/// Returns the class of a failure that has changed nothing, or of which nobody knows.
pub(crate) fn class_of(error: &io::Error) -> ErrorClass {
    match error.kind() {
        ErrorKind::StorageFull => ErrorClass::Capacity,
        ErrorKind::QuotaExceeded => ErrorClass::Quota,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => ErrorClass::Auth,
        _ => ErrorClass::Unknown,
    }
}

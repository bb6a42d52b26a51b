//! What calls do to a simulated world when they take effect.

use std::sync::Arc;

use drover_model::{
    CheckOutcome, ErrorClass, ExitReport, FleetName, GroupName, InPlace, MemberId, Ownership,
    ProviderRef, SeatId, Timestamp, Value, counted, plural,
};
use drover_provider::{
    DestroyRequest, Prepared, ProviderError, ProvisionRequest, Provisioned, UpdateRequest, Urgency,
    finish, parse_duration,
};

use crate::instance::{Stop, failing, later};
use crate::rng::of_text;
use crate::{Behavior, Blueprint, SimInstance, SimWorld};

impl SimWorld {
    pub(crate) fn make(
        &mut self,
        now: Timestamp,
        request: &ProvisionRequest,
        fewest: Option<usize>,
    ) -> Result<Provisioned, ProviderError> {
        let print = if let Some(asked) = &request.asked {
            of_text(0, asked)
        } else {
            let parameters = ProvisionRequest {
                urgency: Urgency::default(),
                ..request.clone()
            };
            of_text(0, &format!("{parameters:?}"))
        };
        if let Some((first, provisioned)) = self.tokens.get(&request.token) {
            if *first == print {
                return Ok(provisioned.clone());
            }
            return Err(invalid(format!(
                "token {} was used with other parameters",
                request.token
            )));
        }
        self.check_request(request)?;
        let (room, shortage) = self.room(now, request, fewest);
        if room == 0 {
            return Err(shortage.unwrap_or_else(|| invalid("a batch without slots".to_owned())));
        }
        let mut provisioned = Provisioned {
            made: std::collections::BTreeMap::new(),
            shortfall: shortage,
        };
        let mut alike = None;
        for position in 0..room {
            let (id, provider_ref) = self.make_one(now, request, position, &mut alike)?;
            provisioned.made.insert(id, provider_ref);
        }
        self.stats.created += room as u64;
        let by_token = &mut self.stats.created_by_token;
        *by_token.entry(request.token.clone()).or_default() += room as u64;
        let record = (print, provisioned.clone());
        self.tokens.insert(request.token.clone(), record);
        self.note_peaks(now);
        Ok(provisioned)
    }

    fn check_request(&self, request: &ProvisionRequest) -> Result<(), ProviderError> {
        let Some((first, others)) = request.slots.split_first() else {
            return Err(invalid("a batch without slots".to_owned()));
        };
        if request.slots.len() > self.settings.batch_max as usize {
            let most = self.settings.batch_max;
            return Err(invalid(format!(
                "a batch has at most {}",
                counted(most, "slot")
            )));
        }
        if others
            .iter()
            .any(|slot| slot.init != first.init || slot.env != first.env)
        {
            let message = "the slots of a batch must have the same init and environment";
            return Err(invalid(message.to_owned()));
        }
        self.check_properties(&request.properties)
    }

    fn check_properties(&self, properties: &Value) -> Result<(), ProviderError> {
        if let Some(schema) = &self.settings.properties
            && let Some(mistake) = schema.check(properties).first()
        {
            return Err(invalid(format!("{}: {}", mistake.path, mistake.message)));
        }
        for (name, value) in &self.settings.refused {
            if properties.get(name) == Some(value) {
                let message = match value {
                    Value::String(text) => format!("{name} {text} does not exist"),
                    _ => format!("the value of {name} is not valid"),
                };
                return Err(invalid(message));
            }
        }
        if properties.get("refused") == Some(&Value::Bool(true)) {
            return Err(invalid("the properties ask to be refused".to_owned()));
        }
        Ok(())
    }

    /// Returns whether an instance belongs to the share that never comes up.
    fn is_failing(&self, group: &drover_model::GroupName, id: &str) -> bool {
        let shares = &self.settings.failing;
        let own = shares
            .iter()
            .find(|share| share.group.as_ref() == Some(group));
        let share = own.or_else(|| shares.iter().find(|share| share.group.is_none()));
        let drawn = of_text(self.settings.seed, &format!("{id} fails")) % 1_000;
        share.is_some_and(|share| drawn < u64::from(share.thousandths))
    }

    /// Returns how many of `wanted` fit, and why not all.
    fn room(
        &self,
        now: Timestamp,
        request: &ProvisionRequest,
        fewest: Option<usize>,
    ) -> (usize, Option<ProviderError>) {
        let wanted = request.slots.len();
        let existing = self.instances.values().filter(|one| one.exists(now));
        let existing = existing.count();
        let mut room = wanted;
        let mut shortage = None;
        let limits = [
            (self.settings.capacity, ErrorClass::Capacity, "room"),
            (self.settings.quota, ErrorClass::Quota, "quota"),
        ];
        for (limit, class, what) in limits {
            let Some(limit) = limit else { continue };
            let left = limit.saturating_sub(existing);
            if left < room {
                room = left;
                let message = format!(
                    "{what} for {}, {}",
                    counted(limit, "instance"),
                    plural(existing, "exists", "exist")
                );
                shortage = Some(ProviderError::new(class, message));
            }
        }
        let zone = request.zone.as_ref();
        if let Some((zone, limit)) = zone.and_then(|zone| self.settings.zones.get_key_value(zone)) {
            let there = self.instances.values().filter(|one| one.exists(now));
            let there = there.filter(|one| one.zone.as_ref() == Some(zone)).count();
            let left = limit.map_or(usize::MAX, |limit| limit.saturating_sub(there));
            if left < room {
                room = left;
                let exist = plural(there, "exists", "exist");
                let message = format!("zone {zone} has no room, {exist} there");
                shortage = Some(ProviderError::new(ErrorClass::Capacity, message));
            }
        }
        if let Some(fewest) = fewest.filter(|fewest| *fewest < room) {
            room = fewest;
            let message = format!("made {fewest} of {}", counted(wanted, "instance"));
            let class = if fewest == 0 {
                ErrorClass::Capacity
            } else {
                ErrorClass::Partial
            };
            shortage = Some(ProviderError::new(class, message));
        }
        (room, shortage)
    }

    fn make_one(
        &mut self,
        now: Timestamp,
        request: &ProvisionRequest,
        position: usize,
        alike: &mut Option<Arc<Blueprint>>,
    ) -> Result<(drover_model::InstanceId, ProviderRef), ProviderError> {
        let slot = &request.slots[position];
        let mut instance = self.blank(now);
        let members = self.take_seat(now, request, slot, &mut instance)?;
        let Prepared { slot, properties } = finish(
            slot,
            &request.properties,
            &instance.address,
            &members,
            &request.secrets,
        )
        .map_err(|error| invalid(error.to_string()))?;
        let id = slot.instance.clone();
        if let Some(lease) = self.settings.lease {
            instance.interrupt(later(now, lease), self.settings.remember);
        }
        instance.fleet = Some(request.fleet.clone());
        instance.ownership = Some(Ownership {
            fleet: request.fleet.clone(),
            group: request.group.clone(),
            instance: id.clone(),
            digests: request.digests.clone(),
            token: request.token.clone(),
            epoch: request.epoch,
            seat: slot.seat.as_ref().map(|seat| seat.id.clone()),
        });
        let blueprint = Blueprint {
            init: slot.init,
            env: slot.env,
            tags: slot.tags,
            properties,
        };
        if alike.as_deref() != Some(&blueprint) {
            *alike = Some(Arc::new(blueprint));
        }
        instance.blueprint.clone_from(alike);
        instance.zone.clone_from(&request.zone);
        self.start(&mut instance, now, now);
        let same = |other: &SimInstance| {
            let ownership = other.ownership.as_ref();
            ownership.is_some_and(|owned| owned.instance == id && owned.fleet == request.fleet)
        };
        let mut existing = self.instances.values().map(Box::as_ref);
        if existing.any(|one| one.exists(now) && same(one)) {
            self.stats.duplicates += 1;
        }
        let provider_ref = instance.provider_ref.clone();
        self.instances
            .insert(provider_ref.clone(), Box::new(instance));
        Ok((id, provider_ref))
    }

    /// Decides the life of an instance that was started at `started` with the fields that it has as of
    /// `now`.
    fn start(&self, instance: &mut SimInstance, started: Timestamp, now: Timestamp) {
        let Some((group, id)) = instance
            .ownership
            .as_ref()
            .map(|owned| (owned.group.clone(), owned.instance.to_string()))
        else {
            return;
        };
        let jitter_ms = self.settings.boot_jitter.as_millis() as u64;
        let jitter_ms = of_text(self.settings.seed, &id) % (jitter_ms + 1);
        let running_at = later(started, self.settings.boot);
        let running_at = later(running_at, std::time::Duration::from_millis(jitter_ms));
        instance.running_at = Some(running_at);
        let ready_jitter_ms = self.settings.ready_jitter.as_millis() as u64;
        let ready_jitter_ms =
            of_text(self.settings.seed, &format!("{id} ready")) % (ready_jitter_ms + 1);
        let healthy_at = later(running_at, self.settings.ready);
        let healthy_at = later(
            healthy_at,
            std::time::Duration::from_millis(ready_jitter_ms),
        );
        instance.health = vec![(healthy_at, CheckOutcome::Passing)];
        instance.exit = None;
        if self.is_failing(&group, &id) {
            instance.running_at = None;
            instance.health.clear();
        }
        let blueprint = instance.blueprint.clone();
        let asked = blueprint.map(|blueprint| asked_for(&blueprint.properties));
        for behavior in asked.into_iter().flatten() {
            instance.behave(&behavior, now);
        }
        for (which, behavior) in self.behaviors() {
            if instance.matches(&which) {
                instance.behave(&behavior, now);
            }
        }
    }

    /// Changes an instance in place.
    pub(crate) fn change(
        &mut self,
        now: Timestamp,
        request: &UpdateRequest,
    ) -> Result<(), ProviderError> {
        let id = &request.slot.instance;
        let gone = |what: &str| {
            let message = format!("instance {} {what}", request.provider_ref);
            Err(ProviderError::new(ErrorClass::NotFound, message))
        };
        let Some(mut instance) = self.instances.get(&request.provider_ref).cloned() else {
            return gone("does not exist");
        };
        let Some(mut owned) = instance.ownership.clone() else {
            return gone("has no owner");
        };
        let same = owned.fleet == request.fleet
            && owned.group == request.group
            && owned.instance == *id
            && owned.token == request.token;
        if !same {
            self.stats.foreign_touches += 1;
            return gone("has another owner");
        }
        if instance.update.as_ref() == Some(&request.update) {
            return Ok(());
        }
        let ended = instance.exit.as_ref().is_some_and(|(at, _)| now >= *at);
        if instance.stop.is_some() || ended {
            return gone("has ended");
        }
        self.check_properties(&request.properties)?;
        if let Some(message) = &self.settings.refuses_updates {
            return Err(invalid(message.clone()));
        }
        let Prepared { slot, properties } = finish(
            &request.slot,
            &request.properties,
            &instance.address,
            &[],
            &request.secrets,
        )
        .map_err(|error| invalid(error.to_string()))?;
        let until = later(now, self.settings.list_lag);
        instance.before = Some((until, owned.clone()));
        owned.digests.clone_from(&request.digests);
        instance.ownership = Some(owned);
        instance.update = Some(request.update.clone());
        instance.blueprint = Some(Arc::new(Blueprint {
            init: slot.init,
            env: slot.env,
            tags: slot.tags,
            properties,
        }));
        match request.how {
            InPlace::Restart => {
                self.stats.restarted += 1;
                instance.started_at = now;
            }
            InPlace::Live => self.stats.changed += 1,
        }
        let started = instance.started_at;
        self.start(&mut instance, started, now);
        self.instances
            .insert(request.provider_ref.clone(), instance);
        Ok(())
    }

    /// Returns a running instance of nobody.
    pub(crate) fn blank(&mut self, now: Timestamp) -> SimInstance {
        let number = self.next;
        self.next += 1;
        let provider_ref = ProviderRef::parse(&format!("sim-{number:07}"));
        // 198.18.0.0/15 is set aside for benchmarks: nothing real answers there.
        let offset = number % (1 << 17);
        let address = std::net::Ipv4Addr::from_bits(0xc612_0000 + offset);
        let listed_from = later(now, self.settings.list_lag);
        SimInstance {
            provider_ref: provider_ref.expect("the text is not empty"),
            fleet: None,
            ownership: None,
            blueprint: None,
            zone: None,
            address: address.to_string(),
            created_at: now,
            started_at: now,
            listed_from,
            address_from: later(now, self.settings.address_lag),
            tags_from: later(now, self.settings.tags_lag),
            running_at: Some(now),
            exit: None,
            stop: None,
            interruption: None,
            announced: None,
            health: vec![(now, CheckOutcome::Passing)],
            busy: false,
            before: None,
            update: None,
            stranger: None,
        }
    }

    /// Gives an instance the address of its place, and refuses a place that somebody holds. Returns the
    /// addresses of every member.
    fn take_seat(
        &mut self,
        now: Timestamp,
        request: &ProvisionRequest,
        slot: &drover_provider::Slot,
        instance: &mut SimInstance,
    ) -> Result<Vec<(MemberId, String)>, ProviderError> {
        let Some(seat) = slot.seat.as_deref() else {
            return Ok(Vec::new());
        };
        let holds = |one: &SimInstance| {
            let owner = one.ownership.as_ref();
            one.exists(now)
                && owner.is_some_and(|owner| {
                    owner.group == request.group && owner.seat.as_ref() == Some(&seat.id)
                })
        };
        if self.instances.values().any(|one| holds(one)) {
            self.stats.double_attach += 1;
            let message = format!("the place of member {} is taken", seat.id.member);
            return Err(ProviderError::new(ErrorClass::Capacity, message));
        }
        if !seat.attachments.is_empty() {
            let place = (request.group.clone(), seat.id.clone());
            self.attached.insert(place);
        }
        instance.address = self.reserve(&request.group, &seat.id);
        let mut addresses = Vec::new();
        for member in &seat.members {
            let peer = SeatId {
                life: seat.id.life.clone(),
                member: member.clone(),
            };
            addresses.push((member.clone(), self.reserve(&request.group, &peer)));
        }
        Ok(addresses)
    }

    pub(crate) fn end(
        &mut self,
        now: Timestamp,
        request: &DestroyRequest,
    ) -> Result<(), ProviderError> {
        let (stop, remember) = (self.settings.stop, self.settings.remember);
        let Some(instance) = self.instances.get_mut(&request.provider_ref) else {
            return Ok(());
        };
        let owned = instance.ownership.as_ref().is_some_and(|owned| {
            owned.fleet == request.fleet
                && owned.group == request.group
                && owned.instance == request.instance
                && owned.token == request.token
        });
        if !owned {
            self.stats.foreign_touches += 1;
            let message = format!(
                "instance {} is not {} with token {}",
                request.provider_ref, request.instance, request.token
            );
            return Err(ProviderError::new(ErrorClass::NotFound, message));
        }
        if instance.stop.is_none() {
            let gone_at = later(now, stop);
            instance.stop = Some(Stop {
                accepted_at: now,
                gone_at,
                forgotten_at: later(gone_at, remember),
            });
            self.stats.destroyed += 1;
        }
        Ok(())
    }

    pub(crate) fn untag(
        &mut self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        let Some(instance) = self.instances.get_mut(instance) else {
            return Ok(());
        };
        match &instance.fleet {
            Some(owner) if owner == fleet => {
                instance.fleet = None;
                instance.ownership = None;
                Ok(())
            }
            Some(_) => {
                self.stats.foreign_touches += 1;
                let message = format!("instance {} has another owner", instance.provider_ref);
                Err(ProviderError::new(ErrorClass::NotFound, message))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn existing(&self, instance: &ProviderRef) -> Result<&SimInstance, ProviderError> {
        let found = self.instances.get(instance).map(Box::as_ref);
        found
            .filter(|instance| instance.phase(self.now).is_some())
            .ok_or_else(|| {
                let message = format!("instance {instance} does not exist");
                ProviderError::new(ErrorClass::NotFound, message)
            })
    }
}

/// Returns what the properties of the type `simulated` ask an instance to do. Properties of other
/// types that happen to have these names and forms behave the same, which is what a person who
/// simulates them would write them for.
fn asked_for(properties: &Value) -> Vec<Behavior> {
    let duration = |name: &str| parse_duration(properties.get(name)?.as_str()?);
    let mut asked = Vec::new();
    if let Some(after) = duration("readyAfter") {
        asked.push(Behavior::Health {
            after: std::time::Duration::ZERO,
            outcome: failing("not ready yet"),
        });
        asked.push(Behavior::Health {
            after,
            outcome: CheckOutcome::Passing,
        });
    }
    if properties.get("unhealthy") == Some(&Value::Bool(true)) {
        asked.push(Behavior::Health {
            after: std::time::Duration::ZERO,
            outcome: failing("the properties ask to be unhealthy"),
        });
    }
    if let Some(after) = duration("exitAfter") {
        let code = match properties.get("exitCode") {
            Some(Value::Int(code)) => i32::try_from(*code).ok(),
            _ => None,
        };
        let report = ExitReport {
            code: Some(code.unwrap_or(1)),
            signal: None,
            message: "the properties ask to exit".to_owned(),
        };
        asked.push(Behavior::Exits { after, report });
    }
    asked
}

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorClass::InvalidSpec, message)
}

/// Returns the address of a place: a function of whose it is, as a network's would be that knows its
/// machines.
pub(crate) fn address_of(group: &GroupName, seat: &SeatId) -> String {
    let name = format!("{group} {} {}", seat.life, seat.member);
    let offset = of_text(0, &name) % (1 << 16);
    std::net::Ipv4Addr::from_bits(0xc613_0000 + offset as u32).to_string()
}

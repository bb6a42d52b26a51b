//! Knowing that a group's plan would say the same again, without making it.
//!
//! Planning is a pure function, and says when time alone changes its answer. So a group whose inputs
//! are equal to those of a pass in which nothing was to be done needs no new plan before that time.
//! This compares the inputs themselves; it takes no hint about what may have changed.

use std::time::Duration;

use drover_model::{
    Completeness, ExitReport, Held, Listed, Listing, Ownership, ProviderPhase, SeatId, Timestamp,
};
use sha2::{Digest as _, Sha256};

/// How long an answer is believed at most: a plan that misjudges its own timers costs this much.
const BELIEVED_FOR: Duration = Duration::from_mins(5);

/// What a plan without steps was made from, beside the group's own entry, which did not change.
#[derive(Debug)]
pub(crate) struct Quiet {
    /// Stands for everything that groups share: policies, commit, other groups, epoch.
    pub(crate) shared: u64,
    /// None: the listing was not complete.
    pub(crate) instances: Option<Fingerprint>,
    pub(crate) fences: Vec<Held>,
    pub(crate) planned_at: Timestamp,
    pub(crate) wake_at: Option<Timestamp>,
}

impl Quiet {
    /// Returns whether a plan at `now` from these inputs would say the same.
    pub(crate) fn holds(
        &self,
        now: Timestamp,
        shared: u64,
        instances: Option<Fingerprint>,
        fences: &[Held],
    ) -> bool {
        let age = now.duration_since(self.planned_at);
        let fresh = !age.is_negative() && age.unsigned_abs() < BELIEVED_FOR;
        fresh
            && self.wake_at.is_none_or(|at| now < at)
            && self.shared == shared
            && self.fences == fences
            && instances.is_some()
            && self.instances == instances
    }
}

/// Stands for what a listing says, its time aside: equal ones, and no others, have the same. The listing of a
/// large fleet itself would be a good part of the agent's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Returns the fingerprint of a complete listing: what is attached, and the instances in their order.
    /// When the listing was made has no part in it.
    pub(crate) fn of(listing: &Listing) -> Option<Self> {
        if listing.completeness != Completeness::Complete {
            return None;
        }
        let mut fields = Fields::default();
        fields.number(Some(listing.attached.len() as i128));
        for (group, seat) in &listing.attached {
            fields.text(group.as_str());
            fields.seat(Some(seat));
        }
        for listed in &listing.instances {
            // Taken apart without `..`, so that a field that is added and forgotten here does not compile.
            let Listed {
                provider_ref,
                ownership,
                phase,
                address,
                zone,
                created_at,
            } = listed;
            fields.text(provider_ref.as_str());
            fields.ownership(ownership.as_ref());
            fields.phase(phase);
            fields.optional(address.as_deref());
            fields.optional(zone.as_deref());
            fields.number(created_at.map(Timestamp::as_nanosecond));
        }
        Some(Self(Sha256::digest(&fields.0).into()))
    }
}

/// An encoding in which different values never look alike.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn number(&mut self, number: Option<i128>) {
        self.0.push(u8::from(number.is_some()));
        let bytes = number.unwrap_or_default().to_be_bytes();
        self.0.extend_from_slice(&bytes);
    }

    fn seat(&mut self, seat: Option<&SeatId>) {
        self.0.push(u8::from(seat.is_some()));
        if let Some(SeatId { life, member }) = seat {
            self.text(life.as_str());
            self.text(member.as_str());
        }
    }

    fn ownership(&mut self, ownership: Option<&Ownership>) {
        self.0.push(u8::from(ownership.is_some()));
        let Some(ownership) = ownership else {
            return;
        };
        let Ownership {
            fleet,
            group,
            instance,
            seat,
            digests,
            token,
            epoch,
        } = ownership;
        self.text(fleet.as_str());
        self.text(group.as_str());
        self.text(instance.group().as_str());
        self.number(Some(instance.number().into()));
        self.seat(seat.as_ref());
        self.number(Some(digests.version().into()));
        for digest in [&digests.replace, &digests.restart, &digests.live] {
            self.text(digest.hash());
        }
        self.text(token.as_str());
        self.number(Some(epoch.0.into()));
    }

    fn phase(&mut self, phase: &ProviderPhase) {
        let (code, report) = match phase {
            ProviderPhase::Pending => (0, None),
            ProviderPhase::Running => (1, None),
            ProviderPhase::Stopping => (2, None),
            ProviderPhase::Exited(report) => (3, Some(report)),
            ProviderPhase::Terminated => (4, None),
            ProviderPhase::Unknown => (5, None),
        };
        self.0.push(code);
        if let Some(report) = report {
            let ExitReport {
                code,
                signal,
                message,
            } = report;
            self.number(code.map(i128::from));
            self.number(signal.map(i128::from));
            self.text(message);
        }
    }
}

#[cfg(test)]
mod tests;

//! What was seen, as a report says it: in the words of the protocol, and with figures that people read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_model::{
    CheckOutcome, InstanceId, Listed, Ownership, ProviderPhase, ProviderRef, Timestamp,
};

use crate::ProviderError;

/// What a report has words for.
pub(super) trait Words {
    fn words(&self) -> String;
}

impl<T: Words> Words for &T {
    fn words(&self) -> String {
        T::words(self)
    }
}

impl<T: Words> Words for Option<T> {
    fn words(&self) -> String {
        self.as_ref().map_or_else(|| "nothing".to_owned(), T::words)
    }
}

impl<T: Words> Words for [T] {
    fn words(&self) -> String {
        match self {
            [] => "nothing".to_owned(),
            some => some.iter().map(T::words).collect::<Vec<_>>().join(", "),
        }
    }
}

impl<T: Words> Words for Vec<T> {
    fn words(&self) -> String {
        self.as_slice().words()
    }
}

impl<T: Words> Words for BTreeSet<T> {
    fn words(&self) -> String {
        self.iter().collect::<Vec<_>>().words()
    }
}

impl<K: Words, V: Words> Words for BTreeMap<K, V> {
    fn words(&self) -> String {
        let pairs = self.iter();
        let pairs = pairs.map(|(key, value)| format!("{} = {}", key.words(), value.words()));
        match pairs.collect::<Vec<_>>().join(", ").as_str() {
            "" => "nothing".to_owned(),
            pairs => pairs.to_owned(),
        }
    }
}

/// What has a text of its own.
macro_rules! as_shown {
    ($($type:ty),*) => {
        $(impl Words for $type {
            fn words(&self) -> String {
                self.to_string()
            }
        })*
    };
}

as_shown!(InstanceId, ProviderRef, String, Timestamp);

impl Words for ProviderPhase {
    fn words(&self) -> String {
        let plain = match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Exited(report) => return format!("exited ({report})"),
            Self::Terminated => "terminated",
            Self::Unknown => "unknown",
        };
        plain.to_owned()
    }
}

impl Words for Ownership {
    fn words(&self) -> String {
        let Self {
            fleet,
            group,
            instance,
            digests,
            token,
            epoch,
            seat,
        } = self;
        let seat = seat.as_ref().map(|seat| {
            let (member, life) = (&seat.member, &seat.life);
            format!(", member {member}, life {life}")
        });
        format!(
            "fleet {fleet}, group {group}, instance {instance}, digest {digests}, token {token}, epoch {}{}",
            epoch.0,
            seat.unwrap_or_default()
        )
    }
}

impl Words for Listed {
    fn words(&self) -> String {
        let Self {
            provider_ref,
            phase,
            zone,
            address,
            ..
        } = self;
        let at = |what: &str, value: Option<String>| {
            value
                .map(|value| format!(", {what} {value}"))
                .unwrap_or_default()
        };
        format!(
            "{provider_ref}, {}{}{}, with the tags {}",
            phase.words(),
            at("zone", zone.clone()),
            at("address", address.clone()),
            self.ownership.words()
        )
    }
}

impl Words for CheckOutcome {
    fn words(&self) -> String {
        match self {
            Self::Passing => "passing".to_owned(),
            Self::Failing { why } => format!("failing ({why})"),
            Self::Unknown { why } => format!("unknown ({why})"),
        }
    }
}

impl Words for Result<CheckOutcome, ProviderError> {
    fn words(&self) -> String {
        match self {
            Ok(outcome) => outcome.words(),
            Err(error) => format!("{}: {error}", error.class.as_str()),
        }
    }
}

impl Words for Duration {
    fn words(&self) -> String {
        let millis = self.as_millis();
        match millis {
            ..1_000 => format!("{millis} ms"),
            ..10_000 if !millis.is_multiple_of(1_000) => format!("{:.1} s", self.as_secs_f64()),
            _ => format!("{:.0} s", self.as_secs_f64()),
        }
    }
}

/// Returns a command as people write it.
pub(super) fn shown_command(words: &[String]) -> String {
    format!("`{}`", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_no_names_of_types_and_no_fractions_that_nobody_reads() {
        let handle = |text: &str| ProviderRef::parse(text).unwrap();
        let id = InstanceId::new(drover_model::GroupName::parse("web").unwrap(), 3);
        assert_eq!(handle("i-1").words(), "i-1");
        assert_eq!(BTreeMap::from([(id, handle("i-1"))]).words(), "web-3 = i-1");
        assert_eq!(vec![handle("i-1"), handle("i-2")].words(), "i-1, i-2");
        assert_eq!(None::<ProviderPhase>.words(), "nothing");
        assert_eq!(ProviderPhase::Stopping.words(), "stopping");
        let failing = CheckOutcome::Failing {
            why: "no route".to_owned(),
        };
        assert_eq!(failing.words(), "failing (no route)");
        for (nanos, words) in [
            (20_000_001, "20 ms"),
            (1_000_000_001, "1 s"),
            (9_956_084_774, "10.0 s"),
            (30_004_000_000, "30 s"),
        ] {
            assert_eq!(Duration::from_nanos(nanos).words(), words);
        }
    }
}

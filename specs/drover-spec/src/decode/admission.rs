//! Windows, budgets, protected instances, expiry and dependencies of a group.

use std::collections::BTreeSet;

use drover_model::{
    Amount, Budget, BudgetName, Cron, Expiry, FleetBudget, GroupName, InstanceId, Protect, Reason,
    SourceSpan, Window, WindowKind, Zone,
};

use super::binding::selector;
use super::{Fields, check, closest};
use crate::diagnostic::Diagnostic;

/// Reads reasons; the preset where none are written.
pub(crate) fn reasons(
    fields: &Fields<'_>,
    name: &'static str,
    preset: impl FnOnce() -> BTreeSet<Reason>,
) -> BTreeSet<Reason> {
    let words = fields.words(name);
    if !fields.has(name) {
        return preset();
    }
    Reason::ALL
        .into_iter()
        .filter(|reason| words.contains(reason.as_str()))
        .collect()
}

pub(crate) fn windows(spec: &Fields<'_>) -> Vec<Window> {
    spec.objects("windows").iter().filter_map(window).collect()
}

/// Decodes a window. None: a mistake that leaves nothing to build; it was reported.
fn window(fields: &Fields<'_>) -> Option<Window> {
    let kind = match fields.word("kind") {
        "deny" => WindowKind::Deny,
        _ => WindowKind::Allow,
    };
    let (duration, zone) = (fields.duration("duration"), zone(fields));
    let reasons = reasons(fields, "reasons", Reason::voluntary);
    let cron = fields
        .text("cron")
        .and_then(|text| match Cron::parse(&text) {
            Ok(cron) => Some(cron),
            Err(error) => {
                let span = fields.span_of("cron");
                let diagnostic = Diagnostic::error("bad-cron", format!("`cron` {error}"), span);
                fields
                    .report
                    .push(diagnostic.hint("such as \"0 2 * * TUE\": Tuesdays at 02:00"));
                None
            }
        });
    Some(Window {
        kind,
        cron: cron?,
        duration,
        zone: zone?,
        reasons,
    })
}

/// Reads `timezone`.
pub(super) fn zone(fields: &Fields<'_>) -> Option<Zone> {
    let name = fields.text("timezone")?;
    let zone = Zone::parse(&name);
    if zone.is_none() {
        let message = format!("there is no time zone `{name}`");
        let span = fields.span_of("timezone");
        let diagnostic = Diagnostic::error("unknown-timezone", message, span);
        let names = Zone::names();
        let lower = name.to_ascii_lowercase();
        let same = names
            .iter()
            .find(|known| known.to_ascii_lowercase() == lower);
        let near = same
            .map(String::as_str)
            .or_else(|| closest(&name, names.iter().map(String::as_str)));
        fields.report.push(match near {
            Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
            None => diagnostic.hint("an IANA name, such as Europe/Berlin or UTC"),
        });
    }
    zone
}

pub(crate) fn budgets(spec: &Fields<'_>) -> Vec<Budget> {
    let budget = |fields: &Fields<'_>| Budget {
        reasons: reasons(fields, "reasons", Reason::voluntary),
        max: fields.amount("max"),
    };
    spec.objects("budgets").iter().map(budget).collect()
}

/// Decodes the budgets that groups share. Each has a name of its own.
pub(crate) fn fleet_budgets(spec: &Fields<'_>) -> Vec<FleetBudget> {
    let mut budgets: Vec<FleetBudget> = Vec::new();
    for fields in spec.objects("budgets") {
        let selector = selector(&fields);
        let reasons = reasons(&fields, "reasons", Reason::voluntary);
        let max = fields.amount("max");
        let Some(name) = fields.id::<BudgetName>("name") else {
            continue;
        };
        if budgets.iter().any(|other| other.name == name) {
            let message = format!("budget `{name}` is there twice");
            let span = fields.span_of("name");
            fields
                .report
                .push(Diagnostic::error("duplicate-name", message, span));
        }
        budgets.push(FleetBudget {
            name,
            selector,
            reasons,
            max,
        });
    }
    budgets
}

/// Decodes what is protected in the group `name`, where its name is known.
pub(crate) fn protect(spec: &Fields<'_>, name: Option<&str>) -> Vec<Protect> {
    let one = |fields: &Fields<'_>| Protect {
        instances: instances(fields, name),
        from: reasons(fields, "from", || {
            BTreeSet::from([
                Reason::ScaleIn,
                Reason::Update,
                Reason::Expiry,
                Reason::Rebalance,
            ])
        }),
        until: fields.time("until"),
        because: fields.text("because"),
    };
    spec.objects("protect").iter().map(one).collect()
}

fn instances(fields: &Fields<'_>, group: Option<&str>) -> BTreeSet<InstanceId> {
    let mut found = BTreeSet::new();
    let Some((_, entry, items)) = fields.items("instances") else {
        return found;
    };
    for item in items {
        let Some(text) = item.text() else {
            check::not_text(fields.report, &entry.key, item);
            continue;
        };
        let wrong = match InstanceId::parse(text) {
            Ok(id) if group.is_none_or(|group| id.group().as_str() == group) => {
                found.insert(id);
                continue;
            }
            Ok(id) => format!("names {id}, an instance of the group {}", id.group()),
            Err(error) => error.to_string(),
        };
        let message = format!("an entry of `{}` {wrong}", entry.key);
        fields.report.error("bad-value", item.place, message);
    }
    found
}

pub(crate) fn expiry(spec: &Fields<'_>) -> Option<Expiry> {
    let fields = spec.optional_object("expiry")?;
    let age_max = fields.duration("maxAge");
    let jitter_percent = match fields.amount("jitter") {
        Amount::Percent(percent) => percent,
        Amount::Count(0) => 0,
        // The declared bounds let no other number through.
        Amount::Count(_) => return None,
    };
    Some(Expiry {
        age_max,
        jitter_percent,
    })
}

/// Decodes the groups that a group depends on, with where each is written.
pub(crate) fn depends_on(spec: &Fields<'_>) -> (Vec<GroupName>, Vec<SourceSpan>) {
    let fields = spec.objects("dependsOn");
    let named = fields
        .iter()
        .filter_map(|fields| Some((fields.id("group")?, fields.span_of("group"))));
    named.unzip()
}

//! Metrics: what the running agent was told in its latest pass. Nothing of it is recorded but what
//! decisions rested on.

use super::Listing;
use crate::cli::GetArgs;
use crate::error::{CommandError, CommandResult};
use crate::snapshot::{Origin, Snapshot};
use crate::table::Table;

/// Lists metrics, all of them or those that are named.
pub(super) fn metrics(args: &GetArgs, snapshot: &Snapshot) -> CommandResult<String> {
    let Origin::Agent { status, .. } = &snapshot.origin else {
        return Err(CommandError::new(
            "only a running agent knows of metrics: they are not recorded",
        )
        .hint("start it with `drover run`, or name its --config or --data-dir"));
    };
    let mut table = Table::new(&["NAME", "SOURCE", "OK", "VALUE", "AGE", "WHY"]);
    let mut items = Vec::new();
    let chosen = |name: &String| args.names.is_empty() || args.names.contains(name);
    for metric in status.metrics.iter().filter(|one| chosen(&one.name)) {
        let age = metric.age_s.map(|age| format!("{age:.0}s"));
        table.row(vec![
            metric.name.clone(),
            metric.source.clone(),
            metric.ok.to_string(),
            metric
                .value
                .map(|value| value.to_string())
                .unwrap_or_default(),
            age.unwrap_or_default(),
            metric.why.clone().unwrap_or_default(),
        ]);
        items.push(metric.clone());
    }
    let listing = Listing {
        kind: "MetricList",
        names: items.iter().map(|metric| metric.name.clone()).collect(),
        items,
        table,
    };
    listing.render(&args.list)
}

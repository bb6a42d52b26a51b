//! Orphans: what the running agent saw at its providers and nobody knows. Nothing of it is recorded.

use super::Listing;
use crate::cli::{GetArgs, Output};
use crate::error::{CommandError, CommandResult};
use crate::snapshot::{Origin, Snapshot};
use crate::table::Table;

/// Lists orphans, all of them or those of the groups that are named.
pub(super) fn orphans(args: &GetArgs, snapshot: &Snapshot) -> CommandResult<String> {
    let Origin::Agent { status, .. } = &snapshot.origin else {
        return Err(CommandError::new(
            "only a running agent knows of orphans: they are not recorded",
        )
        .hint("start it with `drover run`, or name its --config or --data-dir"));
    };
    let wide = args.list.output == Output::Wide;
    let mut head = vec!["NAME", "GROUP", "PROVIDER", "CREATED", "FIRST SEEN"];
    if wide {
        head.push("HANDLE");
    }
    let mut table = Table::new(&head);
    let mut items = Vec::new();
    let chosen = |group: &String| args.names.is_empty() || args.names.contains(group);
    for orphan in status.orphans.iter().filter(|one| chosen(&one.group)) {
        let mut cells = vec![
            orphan.instance.clone(),
            orphan.group.clone(),
            orphan.provider.clone(),
            orphan.created_at.clone().unwrap_or_default(),
            orphan.first_seen.clone(),
        ];
        if wide {
            cells.push(orphan.provider_ref.clone());
        }
        table.row(cells);
        items.push(orphan.clone());
    }
    let names = items.iter().map(|orphan| orphan.instance.clone()).collect();
    let listing = Listing {
        kind: "OrphanList",
        items,
        table,
        names,
    };
    listing.render(&args.list)
}

//! Plans as a comment for a pull request: the verdict, what is withheld, a table, and details to unfold.

use std::fmt::Write as _;

use drover_model::counted;

use super::{ChangeView, FieldView, PlanHold, PlanView, Plans, documents, headline};
use crate::printable::{printable, shown};
use crate::table::{Table, escape_markdown};

/// The longest plan of a comment. Hosts take 65,536 characters and more; half is left for the rollout.
const MARKDOWN_MAX: usize = 30_000;

/// What details may take of that before the rows of the table are complete.
const DETAILS_MIN: usize = 10_000;

/// Most differing fields that are shown of one group.
pub(super) const FIELDS_MAX: usize = 40;

/// Most characters of one value.
const VALUE_MAX: usize = 160;

/// The characters of a long value that are shown before the first one that differs.
const BEFORE_DIFFERENCE: usize = 40;

/// Returns plans as a comment. The marker lets a bot find its earlier comment.
pub(crate) fn markdown(plans: &Plans, marker: &str) -> String {
    let mut out = format!("{}\n**{}**\n\n", marked(marker), headline(plans));
    // What goes with a commit that nothing denies is easily overlooked.
    documents::guards(&plans.documents, &mut out);
    unguarded(&plans.groups, &mut out);
    withheld(&plans.groups, &mut out);
    let groups = plans.groups.iter();
    let mut changed: Vec<&PlanView> = groups.filter(|plan| plan.is_pending()).collect();
    // What is denied is the last to be left out.
    changed.sort_by_key(|plan| match (plan.denied, plan.approvals_needed) {
        (true, _) => 0,
        (false, 1..) => 1,
        (false, 0) => 2,
    });
    if !changed.is_empty() {
        let left_out = overview(&changed, &mut out);
        if left_out > 0 {
            let _ = writeln!(out, "\nTruncated: {}.", counted(left_out, "more group"));
        }
        out.push('\n');
    }
    documents::overview(&plans.documents, &mut out);
    let told = changed.iter().map(|plan| details(plan));
    let untold = while_room(told, MARKDOWN_MAX, &mut out);
    if untold > 0 {
        let _ = writeln!(
            out,
            "Truncated: the details of {}.\n",
            counted(untold, "more group")
        );
    }
    documents::details(&plans.documents, &mut out);
    out
}

/// Writes each part for which there is room, up to so many bytes in all. Returns how many have none.
pub(super) fn while_room(
    parts: impl Iterator<Item = String>,
    bytes_max: usize,
    out: &mut String,
) -> usize {
    let mut left_out = 0;
    for part in parts {
        if out.len() + part.len() > bytes_max {
            left_out += 1;
        } else {
            out.push_str(&part);
        }
    }
    left_out
}

/// Returns an invisible line by which a comment is found again. It ends at `-->`: what people named must not
/// end it earlier.
pub(crate) fn marked(marker: &str) -> String {
    format!(
        "<!-- drover:plan {} -->",
        marker.replace("--", "-").replace('>', "")
    )
}

/// Returns what a hold comes after: denials are first, then what must be approved.
fn weight(hold: &PlanHold) -> u8 {
    match hold.code.as_str() {
        "PolicyDenied" | "ApprovalRejected" => 0,
        "ApprovalNeeded" => 1,
        _ => 2,
    }
}

/// Returns the holds of a plan by their weight.
fn ordered(plan: &PlanView) -> impl Iterator<Item = &PlanHold> {
    let mut holds: Vec<&PlanHold> = plan.holds.iter().collect();
    holds.sort_by_key(|hold| weight(hold));
    holds.into_iter()
}

/// Writes which groups other labels take away from bindings.
fn unguarded(plans: &[PlanView], out: &mut String) {
    let concerned = plans.iter().filter(|plan| !plan.unguarded.is_empty());
    let lines = concerned.map(|plan| {
        let bindings = escape_markdown(&plan.unguarded.join(", "));
        let group = escape_markdown(&plan.group);
        format!("- **guard**: {group} has other labels, and is no longer judged by {bindings}\n")
    });
    let left_out = while_room(lines, DETAILS_MIN, out);
    if left_out > 0 {
        let _ = writeln!(
            out,
            "- and {} with other labels",
            counted(left_out, "more group")
        );
    }
}

/// What is denied first, then what must be approved.
fn withheld(plans: &[PlanView], out: &mut String) {
    let lines = [0, 1].into_iter().flat_map(|weight| {
        let plans = plans.iter();
        let plans = plans.filter(|plan| plan.denied || plan.approvals_needed > 0);
        plans.flat_map(move |plan| {
            let holds = ordered(plan).filter(move |hold| self::weight(hold) == weight);
            holds.map(|hold| {
                let group = escape_markdown(&plan.group);
                format!("- {group}: {}\n", escape_markdown(&hold.message))
            })
        })
    });
    let left_out = while_room(lines, DETAILS_MIN, out);
    if left_out > 0 {
        let _ = writeln!(out, "- and {left_out} more");
    }
    if out.ends_with('\n') && !out.ends_with("\n\n") {
        out.push('\n');
    }
}

/// Writes a row for each group while there is room. Returns how many have none.
fn overview(changed: &[&PlanView], out: &mut String) -> usize {
    let mut table = Table::new(&[
        "group",
        "change",
        "create",
        "replace",
        "destroy",
        "max unavailable",
        "holds",
    ]);
    let mut length = out.len();
    let mut left_out = 0;
    for plan in changed {
        let count = |pick: fn(&ChangeView) -> u32| {
            let change = plan.change.as_ref();
            change
                .map(|change| pick(change).to_string())
                .unwrap_or_default()
        };
        let mut holds: Vec<&str> = ordered(plan).map(|hold| hold.code.as_str()).collect();
        holds.dedup();
        let cells = vec![
            plan.group.clone(),
            plan.verdict(),
            count(|change| change.creates),
            count(|change| change.replaces),
            count(|change| change.destroys),
            count(|change| change.unavailable_max),
            holds.join(", "),
        ];
        length += cells
            .iter()
            .map(|cell| escape_markdown(cell).len() + 3)
            .sum::<usize>();
        if length > MARKDOWN_MAX {
            left_out += 1;
        } else {
            table.row(cells);
        }
    }
    out.push_str(&table.to_markdown());
    left_out
}

fn details(plan: &PlanView) -> String {
    let mut out = format!(
        "<details><summary>{}: {}</summary>\n\n",
        escape_markdown(&plan.group),
        escape_markdown(&plan.verdict())
    );
    if !plan.fields.is_empty() {
        out.push_str(&fenced("diff", &difference(&plan.fields)));
        out.push('\n');
    }
    if let Some(change) = &plan.change {
        let _ = writeln!(
            out,
            "- at once at most {} unavailable, {} destroyed without replacement, {} in total",
            change.unavailable_max, change.destroyed_max, change.total_max
        );
        let judges = judges(change);
        if !judges.is_empty() {
            let _ = writeln!(out, "- judged by {}", escape_markdown(&judges.join(", ")));
        }
    }
    for step in &plan.steps {
        let instances = escape_markdown(&step.instances.join(", "));
        let _ = writeln!(out, "- now: {} {instances} ({})", step.action, step.cause);
    }
    for hold in ordered(plan) {
        out.push_str(&held(hold));
    }
    if let Some(change) = &plan.change {
        out.push_str(&identity(plan, change));
    }
    out.push_str("\n</details>\n\n");
    out
}

/// Returns the bindings that a change is judged by. Its policies have digests as `binding/<name>`, `policy/<name>`, and
/// `binding/<name>/...` for what a policy is told by other documents.
fn judges(change: &ChangeView) -> Vec<&str> {
    let names = change.policies.keys();
    let names = names.filter_map(|name| name.strip_prefix("binding/"));
    names.filter(|name| !name.contains('/')).collect()
}

/// Returns what approvals cover, and how to give them.
fn identity(plan: &PlanView, change: &ChangeView) -> String {
    let asks = plan.approvals_needed > 0 && !plan.denied;
    let Some(id) = &change.id else {
        return if asks {
            format!(
                "\n{} to approve, once the agent waits for it: `drover approve {}`\n",
                people(plan.approvals_needed),
                plan.group
            )
        } else {
            String::new()
        };
    };
    let mut out = format!("- change `{id}`\n");
    if asks {
        let because = "--because \"...\"";
        let command = format!("drover approve {} --change {id} {because}\n", plan.group);
        let people = people(plan.approvals_needed);
        let _ = write!(out, "\n{people} to approve:\n\n{}", fenced("sh", &command));
    }
    out
}

fn people(count: u32) -> String {
    match count {
        1 => "One person has".to_owned(),
        count => format!("{count} people have"),
    }
}

fn held(hold: &PlanHold) -> String {
    let reason = hold.reason.as_ref();
    let reason = reason.map(|reason| format!(" ({reason})"));
    let message = escape_markdown(&hold.message);
    format!(
        "- held: {}{}: {message}\n",
        hold.code,
        reason.unwrap_or_default()
    )
}

/// Returns what differs, as lines of a diff. Values are JSON, in which an escape is what it stands for.
pub(super) fn difference(fields: &[FieldView]) -> String {
    let mut out = String::new();
    for field in fields.iter().take(FIELDS_MAX) {
        let name = printable(&field.field);
        let from = first_shown(field);
        let needs = field.needs().map(|needs| format!("   # {needs}"));
        let needs = needs.unwrap_or_default();
        if let Some(old) = &field.old {
            // What is only gone has no second line.
            let needs = if field.new.is_none() { &needs } else { "" };
            let _ = writeln!(out, "- {name}: {}{needs}", short(old, from));
        }
        if let Some(new) = &field.new {
            let _ = writeln!(out, "+ {name}: {}{needs}", short(new, from));
        }
    }
    if fields.len() > FIELDS_MAX {
        let _ = writeln!(out, "  and {} more", fields.len() - FIELDS_MAX);
    }
    out
}

/// Returns the first character of both values that is shown: of long ones what comes shortly before the first difference.
pub(super) fn first_shown(field: &FieldView) -> usize {
    let (Some(old), Some(new)) = (&field.old, &field.new) else {
        return 0;
    };
    let (old, new) = (printable(old), printable(new));
    let same = old.chars().zip(new.chars()).take_while(|(a, b)| a == b);
    let same = same.count();
    if same + BEFORE_DIFFERENCE <= VALUE_MAX {
        0
    } else {
        same - BEFORE_DIFFERENCE
    }
}

/// Returns a part of a value, and how much was cut on either side.
pub(super) fn short(value: &str, from: usize) -> String {
    let value = printable(value);
    let length = value.chars().count();
    if length <= VALUE_MAX {
        return value.into_owned();
    }
    let shown: String = value.chars().skip(from).take(VALUE_MAX).collect();
    let behind = length.saturating_sub(from + VALUE_MAX);
    let mut text = String::new();
    if from > 0 {
        let _ = write!(text, "({from} characters)...");
    }
    text.push_str(&shown);
    if behind > 0 {
        let _ = write!(text, "...({behind} characters)");
    }
    text
}

/// Returns a block of code that its content cannot end, and in which nothing is hidden.
pub(crate) fn fenced(language: &str, content: &str) -> String {
    let content = shown(content, false);
    let mut longest = 0;
    let mut run = 0;
    for character in content.chars() {
        run = if character == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat((longest + 1).max(3));
    let end = if content.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{language}\n{content}{end}{fence}\n")
}

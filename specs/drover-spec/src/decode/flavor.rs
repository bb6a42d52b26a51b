//! Flavors of a group's template.

use drover_model::{CloudInit, Flavor, PartType, UserDataPart, Vanilla};

use super::{Fields, Others, check};
use crate::declare::FLAVOR;
use crate::diagnostic::{Diagnostic, Report};
use crate::tree::{Content, Node};

/// What cloud-init can merge, and the options that it knows for each.
const MERGERS: [(&str, &[&str]); 3] = [
    (
        "list",
        &[
            "replace",
            "no_replace",
            "append",
            "prepend",
            "recurse_str",
            "recurse_dict",
            "recurse_array",
            "recurse_list",
        ],
    ),
    (
        "dict",
        &[
            "replace",
            "no_replace",
            "recurse_str",
            "recurse_array",
            "recurse_list",
            "allow_delete",
        ],
    ),
    ("str", &["append"]),
];

/// Names that are known only once there is an instance, when its user data cannot be changed.
const LATE_NAMES: [&str; 2] = ["${instance.address}", "${members}"];

/// Decodes one flavor.
pub(super) fn flavor(fields: &Fields<'_>) -> Option<Flavor> {
    if let Some(cloud_init) = fields.optional_object("cloudInit") {
        let parts = cloud_init.objects("parts");
        let parts = parts.iter().filter_map(part).collect();
        return Some(Flavor::CloudInit(CloudInit { parts }));
    }
    let vanilla = fields.optional_object("vanilla")?;
    let (env, secrets) = vanilla.secret_text_map("env", check::env);
    Some(Flavor::Vanilla(Vanilla {
        init: vanilla.texts("init"),
        env,
        secrets,
        tags: vanilla.text_map("tags", check::tag),
    }))
}

fn part(fields: &Fields<'_>) -> Option<UserDataPart> {
    let word = fields.word("contentType");
    let content_type = PartType::ALL.into_iter().find(|one| one.as_str() == word)?;
    let merge_how = fields.text("mergeHow");
    let refuse = |name, message: String| {
        let diagnostic = Diagnostic::error("inconsistent", message, fields.span_of(name));
        fields.report.push(diagnostic);
    };
    if let Some(merge_how) = &merge_how {
        if content_type != PartType::CloudConfig {
            let message =
                format!("`mergeHow` is of text/cloud-config: a part of {word} is not merged");
            refuse("mergeHow", message);
        } else if let Err(why) = mergers(merge_how) {
            refuse("mergeHow", format!("`mergeHow` {why}"));
        }
    }
    let content = fields.text("content")?;
    if fields.has("contentType") && !content_type.begins(&content) {
        let beginning = content_type.beginning();
        let message = format!("the content of a part of {word} must begin with `{beginning}`");
        refuse("content", message);
    }
    Some(UserDataPart {
        content_type,
        content,
        merge_how,
    })
}

/// Checks a text such as `list(append)+dict(recurse_array)+str()`.
fn mergers(text: &str) -> Result<(), String> {
    for one in text.split('+') {
        let parts = one.strip_suffix(')').and_then(|one| one.split_once('('));
        let Some((name, options)) = parts else {
            let example = "list(append)+dict(recurse_array)+str()";
            return Err(format!("must be written like {example}, found {one:?}"));
        };
        let Some((_, known)) = MERGERS.iter().find(|(merger, _)| *merger == name) else {
            return Err(format!("merges list, dict and str, not {name:?}"));
        };
        let options = options.split(',').filter(|option| !option.is_empty());
        for option in options {
            if !known.contains(&option) {
                let known = known.join(", ");
                return Err(format!("has no option {option:?} of {name}: {known}"));
            }
        }
    }
    Ok(())
}

/// Reports what cannot go together with `cloudInit`: environment that nothing would read, and names
/// that are known after the user data is handed over.
pub(super) fn together(report: &Report, written: &[Fields<'_>]) {
    if !written.iter().any(|one| one.has("cloudInit")) {
        return;
    }
    let vanillas = || written.iter().filter_map(|one| one.get("vanilla").1);
    let part = |node: &'_ Node, name: &str| -> Option<Node> {
        let mut entries = node.entries()?.iter();
        entries
            .find(|entry| entry.key == name)
            .map(|entry| entry.value.clone())
    };
    let has_init = vanillas().any(|one| {
        let init = part(&one.value, "init");
        matches!(init.map(|init| init.content), Some(Content::List(items, _)) if !items.is_empty())
    });
    for vanilla in vanillas() {
        let env = part(&vanilla.value, "env");
        if let Some(env) = &env
            && !has_init
        {
            let message =
                "`env` beside `cloudInit` is the environment of init lines, and there are none";
            let span = report.span(env.place);
            report.push(
                Diagnostic::error("inconsistent", message, span)
                    .hint("write a part that sets it, such as a file in /etc/environment.d"),
            );
        }
        let entries = env.as_ref().and_then(Node::entries).into_iter().flatten();
        for entry in entries.filter(|entry| entry.value.entries().is_some()) {
            let message = "a secret beside `cloudInit` would stand in user data, which everybody on the instance can read";
            let span = report.span(entry.value.place);
            report.push(
                Diagnostic::error("inconsistent", message, span)
                    .hint("let the instance fetch it with an identity of its own"),
            );
        }
        for node in [part(&vanilla.value, "init"), env].into_iter().flatten() {
            late_names(report, &node);
        }
    }
    for one in written {
        if let Some(entry) = one.get("cloudInit").1 {
            late_names(report, &entry.value);
        }
    }
}

fn late_names(report: &Report, node: &Node) {
    match &node.content {
        Content::Scalar(scalar) => {
            for name in LATE_NAMES {
                let mut places = scalar.text.match_indices(name);
                if places.any(|(at, _)| !scalar.text[..at].ends_with('$')) {
                    let message =
                        format!("`{name}` is not known yet when user data is handed over");
                    let span = report.span(node.place);
                    report.push(
                        Diagnostic::error("inconsistent", message, span)
                            .hint("ask cloud-init or the system for it on the instance"),
                    );
                }
            }
        }
        Content::List(items, _) => {
            for item in items {
                late_names(report, item);
            }
        }
        Content::Map(entries, _) => {
            for entry in entries {
                late_names(report, &entry.value);
            }
        }
    }
}

/// Decodes flavors on their own, as recorded states hold them.
pub(crate) fn flavors_of(report: &Report, node: &Node) -> Vec<Flavor> {
    let Content::List(items, _) = &node.content else {
        report.error("wrong-type", node.place, "flavors must be a list");
        return Vec::new();
    };
    let fields = items
        .iter()
        .map(|item| Fields::open(report, item, item.place, &FLAVOR, Others::Refuse));
    fields.filter_map(|fields| flavor(&fields)).collect()
}

//! Flavors of a group's template.

use drover_model::{
    Attachment, CloudInit, Flavor, PartType, PluginFlavor, SecretRef, UserDataPart, Vanilla,
};

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

/// Names that are known only once there is an instance, when neither its user data nor what plugins made of it can be
/// changed.
const LATE_NAMES: [&str; 2] = ["${instance.address}", "${members}"];

/// Decodes one flavor.
pub(super) fn flavor(fields: &Fields<'_>) -> Option<Flavor> {
    let cloud_init = fields.optional_object("cloudInit");
    let plugin = fields.optional_object("plugin");
    let vanilla = fields.optional_object("vanilla");
    if let Some(cloud_init) = cloud_init {
        let parts = cloud_init.objects("parts");
        let parts = parts.iter().filter_map(part).collect();
        return Some(Flavor::CloudInit(CloudInit { parts }));
    }
    if let Some(plugin) = plugin {
        return plugin_flavor(&plugin).map(Flavor::Plugin);
    }
    let vanilla = vanilla?;
    let (env, secrets) = vanilla.secret_text_map("env", check::env);
    if let Some(entry) = vanilla.get("attachments").1 {
        late_names(vanilla.report, &entry.value, &LATE_FOR_ATTACHMENTS);
    }
    Some(Flavor::Vanilla(Vanilla {
        init: vanilla.texts("init"),
        env,
        secrets,
        tags: vanilla.text_map("tags", check::tag),
        attachments: vanilla
            .objects("attachments")
            .iter()
            .filter_map(attachment)
            .collect(),
    }))
}

fn attachment(fields: &Fields<'_>) -> Option<Attachment> {
    Some(Attachment {
        id: fields.text("id")?,
        type_: fields.text("type").unwrap_or_default(),
    })
}

fn plugin_flavor(fields: &Fields<'_>) -> Option<PluginFlavor> {
    let name = fields.id("name");
    let (properties, node) = fields.any_map("properties");
    if let Some(node) = node {
        secrets(fields.report, node);
        late_names(fields.report, node, &LATE_FOR_PLUGINS);
    }
    Some(PluginFlavor {
        name: name?,
        properties,
        answer: None,
    })
}

/// Reports references to secrets: a plugin keeps what it is told, and may say it to anybody.
fn secrets(report: &Report, node: &Node) {
    if SecretRef::of_value(&node.to_value()).is_some() {
        let message = "the properties of a flavor plugin hold no secrets";
        let span = report.span(node.place);
        report.push(
            Diagnostic::error("inconsistent", message, span)
                .hint("let the plugin read it itself, with an identity of its own"),
        );
        return;
    }
    match &node.content {
        Content::Scalar(_) => {}
        Content::List(items, _) => items.iter().for_each(|item| secrets(report, item)),
        Content::Map(entries, _) => {
            for entry in entries {
                secrets(report, &entry.value);
            }
        }
    }
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
    // What a plugin answers may be a script.
    let asks = written.iter().any(|one| one.has("plugin"));
    let has_init = asks || vanillas().any(|one| {
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
            late_names(report, &node, &LATE_FOR_USER_DATA);
        }
    }
    for one in written {
        if let Some(entry) = one.get("cloudInit").1 {
            late_names(report, &entry.value, &LATE_FOR_USER_DATA);
        }
    }
}

/// What cannot use names that are known late.
struct Late {
    /// When it has to be whole.
    when: &'static str,
    hint: &'static str,
}

const LATE_FOR_USER_DATA: Late = Late {
    when: "when user data is handed over",
    hint: "ask cloud-init or the system for it on the instance",
};

const LATE_FOR_PLUGINS: Late = Late {
    when: "when a flavor plugin is asked",
    hint: "use it in `template.properties` or in init lines of `vanilla`",
};

const LATE_FOR_ATTACHMENTS: Late = Late {
    when: "when an instance is made with what is attached",
    hint: "name what is there already: `${instance.id}` and `${member.id}` are known",
};

fn late_names(report: &Report, node: &Node, late: &Late) {
    match &node.content {
        Content::Scalar(scalar) => {
            for name in LATE_NAMES {
                let mut places = scalar.text.match_indices(name);
                if places.any(|(at, _)| !scalar.text[..at].ends_with('$')) {
                    let message = format!("`{name}` is not known yet {}", late.when);
                    let span = report.span(node.place);
                    report.push(Diagnostic::error("inconsistent", message, span).hint(late.hint));
                }
            }
        }
        Content::List(items, _) => {
            for item in items {
                late_names(report, item, late);
            }
        }
        Content::Map(entries, _) => {
            for entry in entries {
                late_names(report, &entry.value, late);
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

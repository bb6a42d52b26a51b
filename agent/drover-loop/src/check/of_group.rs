//! What a provider's instances ask of their group beside properties.

use drover_model::{Flavor, Group, ProviderDoc, SourceSpan, Value};
use drover_provider::{AddressRule, GroupRule, GroupRules, Manifest, MemberRule, needs_address};
use drover_spec::Diagnostic;

use super::{collect_texts, locate};

/// Returns every mistake of a group in what its provider's instances ask of it.
pub(super) fn check(group: &Group, manifest: &Manifest) -> Vec<Diagnostic> {
    let GroupRules {
        init,
        zones,
        members,
        address,
    } = &manifest.properties.rules.group;
    let mut found = Vec::new();
    found.extend(check_init(group, *init));
    found.extend(check_zones(group, *zones));
    found.extend(check_members(group, members));
    found.extend(check_address(group, address));
    found
}

/// Returns a mistake where members of a group have no places because the Provider document sets none up.
pub(super) fn check_places(
    group: &Group,
    provider: &ProviderDoc,
    manifest: &Manifest,
) -> Option<Diagnostic> {
    let setting = match &manifest.properties.rules.group.members {
        MemberRule::Taken | MemberRule::Refused => return None,
        MemberRule::With { setting, .. } => setting.as_deref()?,
    };
    group.spec.quorum.as_ref()?;
    // What a program takes itself is one level down.
    let own = provider.settings.get("settings");
    let own = own.unwrap_or(&provider.settings);
    if own.get(setting).is_some() {
        return None;
    }
    let message = format!(
        "members of a quorum group have no place: Provider {} has no `{setting}` in its settings",
        provider.name
    );
    let span = group.provider_span.clone();
    Some(Diagnostic::error("provider-members", message, span))
}

fn check_zones(group: &Group, rule: GroupRule) -> Option<Diagnostic> {
    match rule {
        GroupRule::Taken => return None,
        GroupRule::Refused => {}
    }
    let message =
        "`placement.zones`: the properties of instances of this provider say where they are";
    let diagnostic = Diagnostic::error("provider-zones", message, group.span.clone());
    (!group.spec.placement.zones.is_empty()).then_some(diagnostic)
}

fn check_init(group: &Group, rule: GroupRule) -> Option<Diagnostic> {
    match rule {
        GroupRule::Taken => return None,
        GroupRule::Refused => {}
    }
    let has_init = |flavor: &Flavor| match flavor {
        Flavor::Vanilla(vanilla) => {
            !vanilla.init.is_empty() || !vanilla.env.is_empty() || !vanilla.secrets.is_empty()
        }
        Flavor::CloudInit(_) => true,
        // What it answers is not known.
        Flavor::Plugin(_) => false,
    };
    let at = group.spec.template.flavors.iter().position(has_init)?;
    let span = group.flavor_spans.get(at).unwrap_or(&group.span).clone();
    let message = "instances of this provider take no init lines, user data and environment";
    Some(Diagnostic::error("user-data", message, span))
}

fn check_members(group: &Group, rule: &MemberRule) -> Vec<Diagnostic> {
    let Some(quorum) = &group.spec.quorum else {
        return Vec::new();
    };
    let (without, attachments) = match rule {
        MemberRule::Taken => return Vec::new(),
        MemberRule::Refused => {
            let message = "instances of this provider are no members of quorum groups";
            let span = group.provider_span.clone();
            let diagnostic = Diagnostic::error("provider-members", message, span);
            return vec![diagnostic.hint("write `size` for interchangeable instances")];
        }
        MemberRule::With {
            without,
            attachments,
            setting: _,
        } => (without, attachments),
    };
    let properties = &group.spec.template.properties;
    let at = |path: &str| locate(&group.property_spans, path, &group.span);
    let error =
        |message: String, span: SourceSpan| Diagnostic::error("provider-members", message, span);
    let written = without.iter().filter(|name| properties.get(name).is_some());
    let mut found: Vec<Diagnostic> = written
        .map(|name| {
            let message = format!("`{name}`: the place of a member of a quorum group has its own");
            error(message, at(name))
        })
        .collect();
    let Some(attachments) = attachments else {
        return found;
    };
    let described = properties.get(attachments);
    let mut missing: Vec<&str> = Vec::new();
    for name in quorum.members.iter().flat_map(|member| &member.attachments) {
        let name = name.as_str();
        let is_there = described.is_some_and(|described| described.get(name).is_some());
        if !is_there && !missing.contains(&name) {
            missing.push(name);
        }
    }
    found.extend(missing.into_iter().map(|name| {
        let message = format!("`{attachments}.{name}` is missing, which a member asks for");
        error(message, at(attachments))
    }));
    found
}

fn check_address(group: &Group, rule: &AddressRule) -> Option<Diagnostic> {
    let properties = &group.spec.template.properties;
    let why = match rule {
        AddressRule::Known => return None,
        AddressRule::Members if group.spec.quorum.is_some() => return None,
        AddressRule::Unknown => {
            "the address of an instance is not known before it is made".to_owned()
        }
        AddressRule::Members => {
            "only members of quorum groups have an address before they are made".to_owned()
        }
        AddressRule::With(property) => {
            let list = properties.get(property).and_then(Value::as_list);
            if list.is_some_and(|list| !list.is_empty()) {
                return None;
            }
            format!(
                "without `{property}`, the address of an instance is not known before it is made"
            )
        }
    };
    let span = asking(group)?;
    Some(Diagnostic::error("unknown-address", why, span))
}

/// Returns where the first text is that needs an address.
fn asking(group: &Group) -> Option<SourceSpan> {
    let template = &group.spec.template;
    let mut texts = Vec::new();
    collect_texts("", &template.properties, &mut texts);
    let asks = needs_address;
    if let Some((path, _)) = texts.iter().find(|(_, text)| asks(text)) {
        return Some(locate(&group.property_spans, path, &group.span));
    }
    if template.tags.values().any(|text| asks(text)) {
        return Some(locate(&group.property_spans, "", &group.span));
    }
    let of_flavor = |flavor: &Flavor| match flavor {
        Flavor::Vanilla(vanilla) => {
            let texts = vanilla.init.iter().chain(vanilla.env.values());
            let attached = vanilla.attachments.iter();
            let attached = attached.flat_map(|one| [&one.id, &one.type_]);
            let mut texts = texts.chain(vanilla.tags.values()).chain(attached);
            texts.any(|text| asks(text))
        }
        Flavor::CloudInit(cloud_init) => {
            let mut parts = cloud_init.parts.iter();
            parts.any(|part| asks(&part.content))
        }
        Flavor::Plugin(plugin) => {
            let mut texts = Vec::new();
            collect_texts("", &plugin.properties, &mut texts);
            texts.iter().any(|(_, text)| asks(text))
        }
    };
    let at = template.flavors.iter().position(of_flavor)?;
    Some(group.flavor_spans.get(at).unwrap_or(&group.span).clone())
}

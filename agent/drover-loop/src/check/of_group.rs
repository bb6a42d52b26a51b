//! What a provider's instances ask of their group beside properties.

use std::collections::BTreeMap;

use drover_model::{Flavor, Group, ProviderDoc, SourceSpan, Value};
use drover_provider::{
    AddressRule, GroupRules, InitRule, Manifest, MemberRule, Shape, ZoneRule, init_length,
    needs_address,
};
use drover_spec::Diagnostic;

use super::{collect_texts, diagnostic, locate, longest_facts};

/// Returns every mistake of a group in what its provider's instances ask of it.
pub(super) fn check(group: &Group, manifest: &Manifest) -> Vec<Diagnostic> {
    let GroupRules {
        init,
        zones,
        members,
        address,
        tags,
    } = &*manifest.properties.rules.group;
    let mut found = Vec::new();
    found.extend(check_init(group, *init));
    found.extend(check_zones(group, zones));
    found.extend(check_members(group, members));
    found.extend(check_address(group, address));
    if let Some(shape) = tags {
        found.extend(check_tags(group, shape));
    }
    found
}

/// Returns every mistake of a group in what the settings of its Provider document leave it.
pub(super) fn check_with_settings(
    group: &Group,
    provider: &ProviderDoc,
    manifest: &Manifest,
) -> Vec<Diagnostic> {
    let rules = &manifest.properties.rules.group;
    // What a program takes itself is one level down.
    let own = provider.settings.get("settings");
    let own = own.unwrap_or(&provider.settings);
    let mut found = Vec::new();
    found.extend(check_places(group, provider, own, &rules.members));
    match &rules.zones {
        ZoneRule::Taken | ZoneRule::Refused => {}
        ZoneRule::Of(setting) => {
            if let Some(region) = own.get(setting).and_then(Value::as_str) {
                found.extend(check_zones_of(group, provider, setting, region));
            }
        }
    }
    found
}

/// Returns a mistake where members of a group have no places because the Provider document sets none up.
fn check_places(
    group: &Group,
    provider: &ProviderDoc,
    settings: &Value,
    rule: &MemberRule,
) -> Option<Diagnostic> {
    let setting = match rule {
        MemberRule::Taken | MemberRule::Refused => return None,
        MemberRule::With { setting, .. } => setting.as_deref()?,
    };
    group.spec.quorum.as_ref()?;
    if settings.get(setting).is_some() {
        return None;
    }
    let message = format!(
        "members of a quorum group have no place: Provider {} has no `{setting}` in its settings",
        provider.name
    );
    let span = group.provider_span.clone();
    Some(Diagnostic::error("provider-members", message, span))
}

/// Returns a mistake for each zone that is none of the Provider document's region.
fn check_zones_of(
    group: &Group,
    provider: &ProviderDoc,
    setting: &str,
    region: &str,
) -> Vec<Diagnostic> {
    let zones = group.spec.placement.zones.iter().enumerate();
    let others = zones.filter(|(_, zone)| !ZoneRule::is_of(zone, region));
    let found = others.map(|(at, zone)| {
        let message = format!(
            "`placement.zones`: {zone} is no zone of {region}, which Provider {} has as its `{setting}`",
            provider.name
        );
        let span = group.zone_spans.get(at).unwrap_or(&group.span).clone();
        let diagnostic = Diagnostic::error("provider-zones", message, span);
        match letter_of(zone) {
            Some(letter) => diagnostic.hint(format!("did you mean `{region}{letter}`?")),
            None => diagnostic.hint(format!("zones of {region} are named as `{region}a` is")),
        }
    });
    found.collect()
}

/// Returns the letter at the end of a zone's name, after a number. None: it has none.
fn letter_of(zone: &str) -> Option<char> {
    let letter = zone.chars().next_back().filter(char::is_ascii_lowercase)?;
    let before = zone.strip_suffix(letter)?;
    before
        .ends_with(|c: char| c.is_ascii_digit())
        .then_some(letter)
}

fn check_zones(group: &Group, rule: &ZoneRule) -> Option<Diagnostic> {
    match rule {
        ZoneRule::Taken | ZoneRule::Of(_) => return None,
        ZoneRule::Refused => {}
    }
    let message =
        "`placement.zones`: the properties of instances of this provider say where they are";
    let span = group.zone_spans.first().unwrap_or(&group.span).clone();
    let diagnostic = Diagnostic::error("provider-zones", message, span);
    (!group.spec.placement.zones.is_empty()).then_some(diagnostic)
}

fn check_init(group: &Group, rule: InitRule) -> Option<Diagnostic> {
    match rule {
        InitRule::Taken => return None,
        InitRule::UpTo(most) => return check_length(group, most),
        InitRule::Refused => {}
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

/// Returns a mistake where the init lines of all flavors are too long.
fn check_length(group: &Group, most: usize) -> Option<Diagnostic> {
    let template = &group.spec.template;
    // What names no fact has its own diagnostic, and so has user data that is too long.
    let length = init_length(template, &longest_facts(group)).ok()??;
    let is_vanilla = |flavor: &Flavor| matches!(flavor, Flavor::Vanilla(_));
    let at = template.flavors.iter().position(is_vanilla)?;
    let span = group.flavor_spans.get(at).unwrap_or(&group.span).clone();
    let message = format!(
        "the init lines have up to {length} bytes when rendered, and {most} is the most of this provider"
    );
    let diagnostic = Diagnostic::error("user-data", message, span);
    (length > most).then(|| diagnostic.hint("fetch what is large on the instance"))
}

/// Returns every mistake in the tags of instances, each at its place.
fn check_tags(group: &Group, shape: &Shape) -> Vec<Diagnostic> {
    let template = &group.spec.template;
    let mut found = Vec::new();
    let mut check = |key: &String, value: &String, span: &SourceSpan| {
        let tag = BTreeMap::from([(key.clone(), Value::from(value.as_str()))]);
        let mistakes = shape.check("tags", &Value::Map(tag)).into_iter();
        // The path has the key, in which dots mean nothing.
        found.extend(mistakes.map(|mistake| {
            let at = |_: &str| span.clone();
            diagnostic("provider-tags", mistake, &at)
        }));
    };
    for (key, value) in &template.tags {
        check(key, value, group.tag_spans.get(key).unwrap_or(&group.span));
    }
    for (position, flavor) in template.flavors.iter().enumerate() {
        let span = group.flavor_spans.get(position).unwrap_or(&group.span);
        match flavor {
            Flavor::Vanilla(vanilla) => {
                for (key, value) in &vanilla.tags {
                    check(key, value, span);
                }
            }
            // What it answers is not known.
            Flavor::Plugin(_) | Flavor::CloudInit(_) => {}
        }
    }
    found
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

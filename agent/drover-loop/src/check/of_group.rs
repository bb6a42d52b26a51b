//! What a provider's instances ask of their group beside properties.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    AttachmentName, DrainDone, Flavor, Group, Probe, ProviderDoc, SourceSpan, Value, key_path,
};
use drover_provider::{
    AddressRule, AdoptRule, CheckRule, GroupRules, InitRule, Manifest, MemberRule, Shape, Way,
    ZoneRule, init_length, needs_address,
};
use drover_spec::Diagnostic;

use super::{collect_texts, diagnostic, locate, longest_facts, of_flavor, place};

/// Returns every mistake of a group in what its provider's instances ask of it.
pub(super) fn check(group: &Group, manifest: &Manifest) -> Vec<Diagnostic> {
    let GroupRules {
        init,
        zones,
        members,
        address,
        tags,
        checks,
        adopt,
    } = &*manifest.properties.rules.group;
    let mut found = Vec::new();
    found.extend(check_init(group, *init));
    found.extend(check_zones(group, zones));
    found.extend(check_members(group, members));
    found.extend(check_address(group, address));
    if let Some(shape) = tags {
        found.extend(check_tags(group, shape));
    }
    found.extend(check_ways(group, checks));
    found.extend(check_adopt(group, *adopt));
    found
}

/// Returns a mistake for each check and each request of a drain that nobody can make.
fn check_ways(group: &Group, rule: &CheckRule) -> Vec<Diagnostic> {
    let ways = match rule {
        CheckRule::Taken => return Vec::new(),
        CheckRule::Only(ways) => ways,
    };
    let written = group.spec.health.checks.iter().enumerate();
    let written = written.filter_map(|(at, check)| {
        let way = match &check.probe {
            Probe::Http { .. } => Way::Http,
            Probe::Tcp { .. } => Way::Tcp,
            Probe::Command { .. } => Way::Command,
            Probe::Provider => Way::Provider,
            Probe::Flavors => return None,
        };
        Some((way, format!("health.checks[{at}].{}", way.as_str())))
    });
    let drain = &group.spec.drain;
    let begin = (0..drain.begin.len()).map(|at| (Way::Http, format!("drain.begin[{at}].http")));
    let done = drain.done.as_ref().and_then(|done| match done {
        DrainDone::Http { .. } => Some((Way::Http, "drain.done.http".to_owned())),
        DrainDone::TcpClosed { .. } => Some((Way::Tcp, "drain.done.tcpClosed".to_owned())),
        DrainDone::Exit => None,
    });
    let refused = written.chain(begin).chain(done);
    let refused = refused.filter(|(way, _)| !ways.contains(way));
    let found = refused.map(|(way, path)| {
        let why = match way {
            Way::Http | Way::Tcp => "instances of this provider have no address to ask at",
            Way::Command => "this provider runs no commands in its instances",
            Way::Provider => "this provider says nothing of its instances but that they run",
        };
        let span = place(group, &key_path(&path));
        let diagnostic = Diagnostic::error("provider-checks", format!("`{path}`: {why}"), span);
        let other: Vec<String> = ways
            .iter()
            .map(|way| format!("`{}`", way.as_str()))
            .collect();
        // A drain has other ways out than another check.
        if path.starts_with("drain.") {
            diagnostic
        } else {
            diagnostic.hint(format!("what can be asked is {}", other.join(", ")))
        }
    });
    found.collect()
}

fn check_adopt(group: &Group, rule: AdoptRule) -> Option<Diagnostic> {
    match rule {
        AdoptRule::Taken => return None,
        AdoptRule::Refused => {}
    }
    group.spec.adopt.as_ref()?;
    let message = "`adopt`: this provider takes over nothing that others made";
    let span = place(group, &key_path("adopt"));
    Some(Diagnostic::error("provider-adopt", message, span))
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
        let span = place(group, &format!("placement.zones[{at}]"));
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
    let span = place(group, &key_path("placement.zones"));
    let diagnostic = Diagnostic::error("provider-zones", message, span);
    (!group.spec.placement.zones.is_empty()).then_some(diagnostic)
}

fn check_init(group: &Group, rule: InitRule) -> Option<Diagnostic> {
    match rule {
        InitRule::Taken => return None,
        InitRule::UpTo(most) => return check_length(group, most),
        InitRule::Refused => {}
    }
    let written = |flavor: &Flavor| match flavor {
        Flavor::Vanilla(vanilla) if !vanilla.init.is_empty() => Some("vanilla.init"),
        Flavor::Vanilla(vanilla) if !vanilla.env.is_empty() || !vanilla.secrets.is_empty() => {
            Some("vanilla.env")
        }
        Flavor::CloudInit(_) => Some("cloudInit"),
        // What a plugin answers is not known.
        Flavor::Vanilla(_) | Flavor::Plugin(_) => None,
    };
    let mut flavors = group.spec.template.flavors.iter().enumerate();
    let (at, field) = flavors.find_map(|(at, flavor)| Some((at, written(flavor)?)))?;
    let span = of_flavor(group, at, field);
    let message = "instances of this provider take no init lines, user data and environment";
    Some(Diagnostic::error("user-data", message, span))
}

/// Returns a mistake where the init lines of all flavors are too long.
fn check_length(group: &Group, most: usize) -> Option<Diagnostic> {
    let template = &group.spec.template;
    // What names no fact has its own diagnostic, and so has user data that is too long.
    let length = init_length(template, &longest_facts(group)).ok()??;
    let has_lines =
        |flavor: &Flavor| matches!(flavor, Flavor::Vanilla(vanilla) if !vanilla.init.is_empty());
    let at = template.flavors.iter().position(has_lines)?;
    let span = of_flavor(group, at, "vanilla.init");
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
    let mut check = |key: &String, value: &String, span: SourceSpan| {
        let tag = BTreeMap::from([(key.clone(), Value::from(value.as_str()))]);
        let mistakes = shape.check("tags", &Value::Map(tag)).into_iter();
        // The path has the key, in which dots mean nothing.
        found.extend(mistakes.map(|mistake| {
            let at = |_: &str| span.clone();
            diagnostic("provider-tags", mistake, &at)
        }));
    };
    for (key, value) in &template.tags {
        let path = key_path(&format!("template.tags.{key}"));
        check(key, value, place(group, &path));
    }
    for (position, flavor) in template.flavors.iter().enumerate() {
        match flavor {
            Flavor::Vanilla(vanilla) => {
                for (key, value) in &vanilla.tags {
                    let path = format!("vanilla.tags.{key}");
                    check(key, value, of_flavor(group, position, &path));
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
        return check_replicas(group, rule).into_iter().collect();
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
            instead: _,
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
    let described = properties.get(attachments).and_then(Value::as_map);
    let described: BTreeSet<&str> = described
        .into_iter()
        .flat_map(|map| map.keys().map(String::as_str))
        .collect();
    let asked = quorum.members.iter().flat_map(|member| &member.attachments);
    let asked: BTreeSet<&str> = asked.map(AttachmentName::as_str).collect();
    found.extend(asked.difference(&described).map(|name| {
        let message = format!("`{attachments}.{name}` is missing, which a member asks for");
        error(message, at(attachments))
    }));
    found.extend(described.difference(&asked).map(|name| {
        let path = format!("{attachments}.{name}");
        let message = format!("`{path}`: no member asks for it");
        let hint = format!("write `attachments: [{{name: {name}}}]` of the members that have it");
        error(message, at(&key_path(&path))).hint(hint)
    }));
    found
}

/// Returns a mistake where instances that are no members describe what only members have.
fn check_replicas(group: &Group, rule: &MemberRule) -> Option<Diagnostic> {
    let (attachments, instead) = match rule {
        MemberRule::Taken | MemberRule::Refused => return None,
        MemberRule::With {
            attachments,
            instead,
            ..
        } => (attachments.as_ref()?, instead),
    };
    group.spec.template.properties.get(attachments)?;
    let span = locate(&group.property_spans, &key_path(attachments), &group.span);
    let message = format!(
        "`{attachments}`: only members of quorum groups have them, and this group has no `members`"
    );
    let diagnostic = Diagnostic::error("provider-members", message, span);
    Some(match instead {
        Some(instead) => {
            diagnostic.hint(format!("write `{instead}`: they live with their instance"))
        }
        None => diagnostic,
    })
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
    if let Some((key, _)) = template.tags.iter().find(|(_, text)| asks(text)) {
        return Some(place(group, &format!("template.tags.{key}")));
    }
    let mut flavors = template.flavors.iter().enumerate();
    flavors.find_map(|(at, flavor)| {
        let path = asking_of(flavor)?;
        Some(place(group, &format!("template.flavors[{at}].{path}")))
    })
}

/// Returns the path below a flavor of its first text that needs an address.
fn asking_of(flavor: &Flavor) -> Option<String> {
    let asks = needs_address;
    match flavor {
        Flavor::Vanilla(vanilla) => {
            let init = vanilla.init.iter().enumerate();
            let init = init.map(|(at, text)| (format!("init[{at}]"), text));
            let env = vanilla.env.iter();
            let env = env.map(|(name, text)| (format!("env.{name}"), text));
            let tags = vanilla.tags.iter();
            let tags = tags.map(|(name, text)| (format!("tags.{name}"), text));
            let attached = vanilla.attachments.iter().enumerate();
            let attached = attached.flat_map(|(at, one)| {
                let field = move |name: &str| format!("attachments[{at}].{name}");
                [(field("id"), &one.id), (field("type"), &one.type_)]
            });
            let mut texts = init.chain(env).chain(tags).chain(attached);
            let (path, _) = texts.find(|(_, text)| asks(text))?;
            Some(format!("vanilla.{path}"))
        }
        Flavor::CloudInit(cloud_init) => {
            let mut parts = cloud_init.parts.iter();
            let at = parts.position(|part| asks(&part.content))?;
            Some(format!("cloudInit.parts[{at}].content"))
        }
        Flavor::Plugin(plugin) => {
            let mut texts = Vec::new();
            collect_texts("plugin.properties", &plugin.properties, &mut texts);
            let (path, _) = texts.into_iter().find(|(_, text)| asks(text))?;
            Some(path)
        }
    }
}

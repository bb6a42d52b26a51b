//! What flavor plugins make of an instance: asked before the intent is written, which then has their answers. So a
//! repeated call is made with what the first one was made with, whatever a plugin would answer by then.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    Action, Attachment, ErrorClass, Flavor, FlavorAnswer, InstanceId, Plan, PluginFlavor, Seat,
    SecretRef, Step, Template, Value,
};
use drover_provider::{
    Allocation, AttachmentUse, Facts, FlavorCall, FlavorIndex, FlavorPrepared, FlavorRequest,
    FlavorSpec, InitUse, Manifest, ProviderError, SubstitutionError, USER_DATA_MAX, escaped_value,
    interpreter, is_shell, is_user_data, substitute_map, substitute_value, user_data,
};
use futures::{FutureExt as _, StreamExt as _, stream};

use super::ApplyContext;

/// How much longer than its limit an answer is waited for, so that who was asked can say what was waited for.
const SLACK: Duration = Duration::from_secs(1);

/// The most that a plugin may add to one instance, in bytes: some times what any provider takes as user data. A wave of
/// intents with as much stays within a few megabytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// How the tags begin that say who owns an instance.
const OWNERSHIP: &str = "drover.";

/// Returns whether flavor plugins have to be asked about a step.
pub(super) fn asks(step: &Step) -> bool {
    subject(step).is_some_and(|subject| subject.template.plugin_flavors().next().is_some())
}

/// What is to be made of a template, and for whom.
struct Subject<'a> {
    template: &'a Template,
    instances: &'a [InstanceId],
    zone: Option<&'a String>,
    seat: Option<&'a Seat>,
}

fn subject(step: &Step) -> Option<Subject<'_>> {
    match &step.action {
        Action::Create {
            slots,
            zone,
            template,
            seat,
            ..
        } => Some(Subject {
            template,
            instances: slots,
            zone: zone.as_ref(),
            seat: seat.as_deref(),
        }),
        // Of a quorum, nothing is changed in place.
        Action::Update(change) => Some(Subject {
            template: &change.template,
            instances: std::slice::from_ref(&change.instance),
            zone: change.zone.as_ref(),
            seat: None,
        }),
        Action::Resend { .. }
        | Action::Drain { .. }
        | Action::Destroy { .. }
        | Action::Roster(_)
        | Action::Adopt(_)
        | Action::Release { .. }
        | Action::Settle(_) => None,
    }
}

/// What became of asking, by the step's position.
pub(super) type Made = BTreeMap<usize, Result<Template, ProviderError>>;

/// Asks about the steps at these positions, some of them at once.
pub(super) async fn ask(steps: Vec<usize>, plan: &Plan, ctx: &ApplyContext) -> Made {
    let asked = steps.into_iter().filter_map(|index| {
        let subject = subject(&plan.steps[index])?;
        Some(async move { (index, made(&subject, plan, ctx).await) })
    });
    // Collected first: a closure over borrowed steps in a stream would ask the compiler for too much.
    let asked: Vec<_> = asked.collect();
    let at_once = ctx.concurrency.max(1);
    stream::iter(asked)
        .buffer_unordered(at_once)
        .collect()
        .await
}

/// Returns the class of a create that failed because a plugin did not answer.
pub(super) fn failed_create(made: &Made, plan: &Plan) -> Option<ErrorClass> {
    made.iter().find_map(|(index, made)| {
        let creates = matches!(plan.steps[*index].action, Action::Create { .. });
        let error = made.as_ref().err()?;
        creates.then_some(error.class)
    })
}

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorClass::InvalidSpec, message)
}

fn unknown_name(error: &SubstitutionError) -> ProviderError {
    invalid(error.to_string())
}

/// Returns the template with what its plugins answered, one after the other: each is told what the flavors before it
/// have made, but for their init.
async fn made(
    subject: &Subject<'_>,
    plan: &Plan,
    ctx: &ApplyContext,
) -> Result<Template, ProviderError> {
    let [instance] = subject.instances else {
        let message = "flavor plugins are asked about one instance at a time";
        return Err(invalid(message.to_owned()));
    };
    let facts = facts(subject, instance);
    let cluster = Arc::new(ctx.cluster.with_secrets(secrets(subject.template)));
    let mut template = subject.template.clone();
    let mut properties = template.properties.clone();
    let mut tags = substitute_map(&template.tags, &facts).map_err(|error| unknown_name(&error))?;
    for flavor in &mut template.flavors {
        match flavor {
            Flavor::Vanilla(vanilla) => {
                tags.extend(
                    substitute_map(&vanilla.tags, &facts).map_err(|error| unknown_name(&error))?,
                );
            }
            Flavor::CloudInit(_) => {}
            Flavor::Plugin(plugin) => {
                let given =
                    substitute_value(&properties, &facts).map_err(|error| unknown_name(&error))?;
                let call = FlavorCall {
                    name: plugin.name.clone(),
                    properties: substitute_value(&plugin.properties, &facts)
                        .map_err(|error| unknown_name(&error))?,
                };
                let request = FlavorRequest {
                    flavor: call,
                    spec: FlavorSpec {
                        properties: given,
                        tags: tags.clone(),
                    },
                    allocation: allocation(subject, plan),
                    index: FlavorIndex {
                        group: plan.group.clone(),
                        number: instance.number(),
                        member: subject.seat.map(|seat| seat.id.member.clone()),
                    },
                    cluster: Arc::clone(&cluster),
                };
                let prepared = bounded(&request, ctx).await?;
                let answer = answer(&request, prepared, &properties, ctx)
                    .map_err(|why| refusal(plugin, &why))?;
                tags.extend(answer.tags.clone());
                if let Some(changed) = &answer.properties {
                    properties.clone_from(changed);
                }
                plugin.answer = Some(Box::new(answer));
            }
        }
    }
    stands_alone(&template)?;
    fits(&template, &facts)?;
    Ok(template)
}

/// Returns the names of the variables that hold secrets on an instance of this template.
fn secrets(template: &Template) -> BTreeSet<String> {
    let names = template.flavors.iter().flat_map(|flavor| match flavor {
        Flavor::Vanilla(vanilla) => vanilla.secrets.keys().cloned().collect(),
        Flavor::CloudInit(_) | Flavor::Plugin(_) => Vec::new(),
    });
    names.collect()
}

/// Refuses user data from a plugin beside other init: nobody could join them.
fn stands_alone(template: &Template) -> Result<(), ProviderError> {
    let mut inits = 0;
    let mut whole = None;
    for flavor in &template.flavors {
        match flavor {
            Flavor::Vanilla(vanilla) => inits += usize::from(!vanilla.init.is_empty()),
            Flavor::CloudInit(_) => inits += 1,
            Flavor::Plugin(plugin) => {
                let init = plugin.answer.as_ref().map(|answer| &answer.init);
                let Some(init) = init.filter(|init| !init.is_empty()) else {
                    continue;
                };
                inits += 1;
                if is_user_data(std::slice::from_ref(init)) {
                    whole = Some(plugin);
                }
            }
        }
    }
    match whole {
        Some(plugin) if inits > 1 => {
            let why =
                "its Init is user data already, which cannot be joined with other flavors' init";
            Err(refusal(plugin, why))
        }
        Some(_) | None => Ok(()),
    }
}

/// Returns the facts, with the names of those that are not known yet as their values: a plugin is told texts as they
/// will be otherwise.
fn facts(subject: &Subject<'_>, instance: &InstanceId) -> Facts {
    Facts {
        instance: instance.clone(),
        group: instance.group().clone(),
        zone: subject.zone.cloned(),
        address: Some("${instance.address}".to_owned()),
        seat: subject.seat.cloned(),
        members: Some("${members}".to_owned()),
    }
}

fn allocation(subject: &Subject<'_>, plan: &Plan) -> Allocation {
    match subject.seat {
        Some(seat) => Allocation::Members(seat.members.clone()),
        None => Allocation::Size(plan.next.size),
    }
}

/// Asks one plugin, no longer than a provider may take. A panic is no answer.
async fn bounded(
    request: &FlavorRequest,
    ctx: &ApplyContext,
) -> Result<FlavorPrepared, ProviderError> {
    let unknown = |why: &str| {
        let message = format!("plugin {}: Flavor.Prepare: {why}", request.flavor.name);
        ProviderError::new(ErrorClass::Unknown, message)
    };
    let asked = ctx.flavors.prepare(request, ctx.call_timeout);
    let contained = AssertUnwindSafe(asked).catch_unwind();
    let limit = ctx.call_timeout.saturating_add(SLACK);
    match tokio::time::timeout(limit, contained).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(_)) => Err(unknown("internal error")),
        Err(_) => Err(unknown("no answer in time")),
    }
}

fn refusal(plugin: &PluginFlavor, why: &str) -> ProviderError {
    invalid(format!("plugin {}: Flavor.Prepare: {why}", plugin.name))
}

/// Returns what a plugin adds to what it was told, in the form in which an intent has it.
fn answer(
    request: &FlavorRequest,
    prepared: FlavorPrepared,
    written: &Value,
    ctx: &ApplyContext,
) -> Result<FlavorAnswer, String> {
    let FlavorPrepared {
        init,
        mut tags,
        properties,
        attachments,
    } = prepared;
    let owns = |name: &&String| name.to_ascii_lowercase().starts_with(OWNERSHIP);
    if let Some(name) = tags.keys().find(owns) {
        return Err(format!(
            "it sets the tag {name}; tags that begin with `{OWNERSHIP}` say who owns an instance"
        ));
    }
    let given = &request.spec;
    tags.retain(|name, tag| given.tags.get(name) != Some(tag));
    runs(&init, ctx.provider.manifest())?;
    attaches(&attachments, ctx.provider.manifest())?;
    let properties = match properties {
        Some(answered) if !same(&given.properties, &answered) => {
            Some(changed(written, &given.properties, &answered)?)
        }
        Some(_) | None => None,
    };
    let mut bytes = init.len();
    bytes += tags.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
    bytes += properties.as_ref().map_or(0, size);
    bytes += attachments
        .iter()
        .map(|one| one.id.len() + one.type_.len())
        .sum::<usize>();
    if bytes > ANSWER_BYTES_MAX {
        let most = ANSWER_BYTES_MAX >> 10;
        return Err(format!("it adds more than {most} KiB to one instance"));
    }
    Ok(FlavorAnswer {
        init,
        tags,
        properties,
        attachments,
    })
}

/// Refuses attachments that nobody would attach.
fn attaches(attachments: &[Attachment], manifest: &Manifest) -> Result<(), String> {
    match manifest.attachments {
        AttachmentUse::HandedOver => return Ok(()),
        AttachmentUse::Refused => {}
    }
    let Some(first) = attachments.first() else {
        return Ok(());
    };
    let type_ = &manifest.type_;
    Err(format!(
        "its Attachments begin with {:?}, and provider type {type_} attaches nothing: only plugins of InfraKit do",
        first.id
    ))
}

/// Refuses a script that would not run in the interpreter that it names.
fn runs(init: &str, manifest: &Manifest) -> Result<(), String> {
    match manifest.init {
        InitUse::UserData => return Ok(()),
        InitUse::ShellLines => {}
    }
    match interpreter(init) {
        Some(named) if !is_shell(named) => {
            let type_ = &manifest.type_;
            Err(format!(
                "its Init is a script of {named:?}; instances of provider type {type_} run it with /bin/sh"
            ))
        }
        Some(_) | None => Ok(()),
    }
}

/// Returns the properties in the form of a template: where the plugin was told a text and answers with the same one,
/// what is written stays, with its substitutions; everything else is the plugin's word, in which nothing is
/// substituted.
fn changed(written: &Value, given: &Value, answered: &Value) -> Result<Value, String> {
    if same(given, answered) {
        return Ok(written.clone());
    }
    if SecretRef::of_value(answered).is_some() {
        return Err("it asks for a secret that the document does not name".to_owned());
    }
    Ok(match answered {
        Value::Map(map) => {
            let entries = map.iter().map(|(name, answered)| {
                let before = written.get(name).zip(given.get(name));
                let (written, given) = before.unwrap_or((&Value::Null, &Value::Null));
                Ok((name.clone(), changed(written, given, answered)?))
            });
            Value::Map(entries.collect::<Result<_, String>>()?)
        }
        Value::List(list) => {
            let at = |value: &'_ Value, position: usize| -> Option<Value> {
                value.as_list()?.get(position).cloned()
            };
            let items = list.iter().enumerate().map(|(position, answered)| {
                let before = at(written, position).zip(at(given, position));
                let (written, given) = before.unwrap_or((Value::Null, Value::Null));
                changed(&written, &given, answered)
            });
            Value::List(items.collect::<Result<_, String>>()?)
        }
        answered => escaped_value(answered),
    })
}

/// Returns whether two values are the same to a program that knows one kind of number.
fn same(one: &Value, other: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Int(number) => Some(*number as f64),
        Value::UInt(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::List(_) | Value::Map(_) => None,
    };
    match (one, other) {
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(a, b))
        }
        (Value::Map(one), Value::Map(other)) => {
            let pairs = || one.iter().zip(other);
            one.len() == other.len() && pairs().all(|((k, a), (l, b))| k == l && same(a, b))
        }
        (one, other) => {
            one == other
                || number(one)
                    .zip(number(other))
                    .is_some_and(|(a, b)| a.total_cmp(&b).is_eq())
        }
    }
}

/// Returns about how many bytes a value has.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::List(list) => list.iter().map(size).sum(),
        Value::Map(map) => map.iter().map(|(key, item)| key.len() + size(item)).sum(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) => 8,
    }
}

/// Refuses user data that became too long by what plugins answered: before, it was measured without that.
fn fits(template: &Template, facts: &Facts) -> Result<(), ProviderError> {
    let Some(document) = user_data(template, facts).map_err(|error| unknown_name(&error))? else {
        return Ok(());
    };
    let length = document.len();
    if length <= USER_DATA_MAX {
        return Ok(());
    }
    Err(invalid(format!(
        "the user data has {length} bytes with what flavor plugins add, and {USER_DATA_MAX} is the most"
    )))
}

#[cfg(test)]
mod tests;

//! The provider type `simulated`: instances that exist in the agent's memory only, so that people
//! can try groups, rollouts and policies without any machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drover_model::{ErrorClass, FieldClass, ProviderName, ProviderType, Value};
use drover_provider::{
    AttachmentUse, Clock, Field, InitUse, ListShape, Manifest, ObjectSchema, Provider,
    ProviderError, ProviderFactory, Shape, parse_duration,
};

use crate::{Fault, FaultKind, Op, SimProvider, SimSettings, SimWorld};

/// The type's name in Provider documents.
pub(crate) const TYPE: &str = "simulated";

/// Makes providers of the type `simulated`.
///
/// The instances of a Provider document live as long as this value, so until the agent's process
/// ends: opening the same document again, with other settings perhaps, finds them again, but a
/// restarted agent finds none and makes new ones.
#[derive(Debug)]
pub struct SimFactory {
    manifest: Manifest,
    clock: Arc<dyn Clock>,
    worlds: Mutex<BTreeMap<ProviderName, Arc<Mutex<SimWorld>>>>,
}

impl SimFactory {
    /// Makes a factory without worlds.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let defaults = SimSettings::default();
        Self {
            manifest: Manifest {
                type_: ProviderType::parse(TYPE).expect("a valid label"),
                properties: properties_schema(),
                settings: settings_schema(),
                batch_max: defaults.batch_max,
                visibility: Duration::ZERO,
                init: InitUse::UserData,
                attachments: AttachmentUse::Refused,
            },
            clock,
            worlds: Mutex::default(),
        }
    }

    /// Returns the world of a Provider document that was opened.
    pub fn world(&self, name: &ProviderName) -> Option<Arc<Mutex<SimWorld>>> {
        let worlds = self.worlds.lock().unwrap_or_else(PoisonError::into_inner);
        worlds.get(name).cloned()
    }
}

impl ProviderFactory for SimFactory {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        if let Some(mistake) = self.manifest.settings.check(settings).first() {
            let message = format!("settings: {}: {}", mistake.path, mistake.message);
            return Err(ProviderError::new(ErrorClass::InvalidSpec, message));
        }
        let mut worlds = self.worlds.lock().unwrap_or_else(PoisonError::into_inner);
        let world = worlds
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Mutex::new(SimWorld::new(decode(settings)))));
        {
            let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
            configure(&mut world, settings);
        }
        let provider = SimProvider::new(Arc::clone(world), Arc::clone(&self.clock));
        let manifest = Manifest {
            settings: settings_schema(),
            ..provider.manifest().clone()
        };
        Ok(Arc::new(provider.with_manifest(manifest)))
    }
}

/// Makes a world behave as the settings of a Provider document say, and drops every other fault.
pub fn configure(world: &mut SimWorld, settings: &Value) {
    world.settings = decode(settings);
    world.clear_faults();
    let percent = number(settings, "lossPercent").unwrap_or(0) as u8;
    for op in [Op::Provision, Op::Destroy, Op::Update] {
        for kind in [FaultKind::LostReply, FaultKind::LostRequest] {
            world.inject(Fault::always(op, kind).with_percent(percent.div_ceil(2)));
        }
    }
}

fn decode(settings: &Value) -> SimSettings {
    let duration = |name: &str| {
        let text = settings.get(name).and_then(Value::as_str);
        text.and_then(parse_duration).unwrap_or_default()
    };
    let count = |name: &str| number(settings, name).map(|number| number as usize);
    let refused = settings.get("refusedImages").and_then(Value::as_list);
    let refused = refused.into_iter().flatten();
    SimSettings {
        seed: number(settings, "seed").unwrap_or(0) as u64,
        boot: duration("bootTime"),
        boot_jitter: duration("bootJitter"),
        ready: duration("readyTime"),
        list_lag: duration("listLag"),
        stop: duration("stopTime"),
        visibility: duration("listLag"),
        capacity: count("capacity"),
        quota: count("quota"),
        batch_max: number(settings, "batchMax").map_or(100, |number| number as u32),
        properties: Some(properties_schema()),
        refused: refused
            .map(|image| ("image".to_owned(), image.clone()))
            .collect(),
        ..SimSettings::default()
    }
}

fn number(settings: &Value, name: &str) -> Option<i64> {
    match settings.get(name) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    }
}

fn field(name: &str, shape: Shape, class: FieldClass, doc: &str) -> (String, Field) {
    let field = Field {
        shape,
        required: false,
        class,
        doc: doc.to_owned(),
    };
    (name.to_owned(), field)
}

/// Returns what `template.properties` may hold.
pub fn properties_schema() -> ObjectSchema {
    use FieldClass::{Ignore, Live, Replace, Restart};
    let exit_code = Shape::Integer { min: 0, max: 255 };
    let mut fields = BTreeMap::from([
        field(
            "image",
            Shape::String,
            Replace,
            "What the instance is made from: any text.",
        ),
        field("size", Shape::String, Replace, "How large it is: any text."),
        field(
            "readyAfter",
            Shape::Duration,
            Replace,
            "From running until checks pass, such as 5s.",
        ),
        field(
            "unhealthy",
            Shape::Boolean,
            Replace,
            "Its checks never pass.",
        ),
        field(
            "exitAfter",
            Shape::Duration,
            Replace,
            "It ends by itself after running so long.",
        ),
        field(
            "exitCode",
            exit_code,
            Replace,
            "The exit status of `exitAfter`, 1 unless written.",
        ),
        field(
            "refused",
            Shape::Boolean,
            Replace,
            "The provider refuses to make it.",
        ),
        field(
            "config",
            Shape::String,
            Restart,
            "What it runs with: any text; a change restarts it.",
        ),
        field(
            "weight",
            Shape::Integer { min: 0, max: 1_000 },
            Live,
            "Its share of the load; changed while it runs.",
        ),
        field(
            "note",
            Shape::String,
            Ignore,
            "For people; a change replaces nothing.",
        ),
    ]);
    if let Some(image) = fields.get_mut("image") {
        image.required = true;
    }
    ObjectSchema {
        fields,
        ..ObjectSchema::default()
    }
}

fn settings_schema() -> ObjectSchema {
    let up_to = |max: i64| Shape::Integer { min: 0, max };
    let many = i64::from(u32::MAX);
    let images = Shape::List(ListShape::of(Shape::String));
    let batch = Shape::Integer { min: 1, max: 1_000 };
    let table = [
        (
            "seed",
            up_to(i64::MAX),
            "Where chances and jitter come from.",
        ),
        (
            "bootTime",
            Shape::Duration,
            "From creation until an instance runs.",
        ),
        (
            "bootJitter",
            Shape::Duration,
            "At most so much more, by instance.",
        ),
        (
            "readyTime",
            Shape::Duration,
            "From running until its checks pass.",
        ),
        (
            "listLag",
            Shape::Duration,
            "From creation until it is listed.",
        ),
        (
            "stopTime",
            Shape::Duration,
            "From destroy until it is gone.",
        ),
        ("capacity", up_to(many), "The most instances that fit."),
        (
            "quota",
            up_to(many),
            "The most instances that the account may have.",
        ),
        (
            "batchMax",
            batch,
            "The most instances in one call, 100 unless written.",
        ),
        (
            "lossPercent",
            up_to(100),
            "Share of changing calls without an answer.",
        ),
        ("refusedImages", images, "Images that do not exist."),
    ];
    let ignore = FieldClass::Ignore;
    let fields = table.map(|(name, shape, doc)| field(name, shape, ignore, doc));
    ObjectSchema {
        fields: BTreeMap::from(fields),
        ..ObjectSchema::default()
    }
}

#[cfg(test)]
mod tests;

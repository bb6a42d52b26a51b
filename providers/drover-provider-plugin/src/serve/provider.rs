//! `Provider/1`, served by providers of ours.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{CheckOutcome, ProviderName};
use drover_provider::{Provider, ProviderError, ProviderFactory, ReserveRequest};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::{Answered, Failure, Service};
use crate::json::{from_json, to_json};
use crate::spec::invalid;
use crate::wire::{
    AdoptDto, DescribeResult, DestroyDto, ErrorDto, ListResult, ProvisionDto, ProvisionResult,
    ScopeDto, SeatIdDto, SettingsResult, SurveyResult, UpdateDto, milliseconds, parsed,
};

/// Most scopes that are open at once: an agent has a handful of Provider documents.
const SCOPES_MAX: usize = 256;

/// Serves every scope that its factories can open: one factory for documents that name the plugin alone, and one for
/// each subtype.
#[derive(Debug)]
pub struct ProviderService {
    factory: Arc<dyn ProviderFactory>,
    subtypes: BTreeMap<&'static str, Arc<dyn ProviderFactory>>,
    open: Mutex<BTreeMap<String, Arc<dyn Provider>>>,
}

impl ProviderService {
    /// Serves the providers of `factory`.
    pub fn new(factory: Arc<dyn ProviderFactory>) -> Self {
        Self {
            factory,
            subtypes: BTreeMap::new(),
            open: Mutex::default(),
        }
    }

    /// Serves the providers of `factory` too, to documents that say `plugin: NAME/SUBTYPE`.
    #[must_use]
    pub fn with_subtype(
        mut self,
        subtype: &'static str,
        factory: Arc<dyn ProviderFactory>,
    ) -> Self {
        self.subtypes.insert(subtype, factory);
        self
    }

    fn factory(&self, subtype: &str) -> Option<&Arc<dyn ProviderFactory>> {
        if subtype.is_empty() {
            return Some(&self.factory);
        }
        self.subtypes.get(subtype)
    }

    fn scope(&self, params: &Json) -> Result<Arc<dyn Provider>, Failure> {
        let scope: ScopeDto = read(params.get("scope").unwrap_or(&Json::Null), params)?;
        let Some(factory) = self.factory(&scope.type_) else {
            return Err(Failure::plain(format!("no-plugin:{}", scope.type_)));
        };
        let name: ProviderName =
            parsed("provider", &scope.provider).map_err(|why| Failure::params(why, params))?;
        let settings = match &scope.settings {
            Json::Null => json!({}),
            settings => settings.clone(),
        };
        let key = format!("{name} {} {settings}", scope.type_);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(provider) = open.get(&key) {
            return Ok(Arc::clone(provider));
        }
        let settings = from_json(&settings);
        if let Some(mistake) = factory.manifest().settings.check(&settings).first() {
            let error = invalid(format!("settings: {}: {}", mistake.path, mistake.message));
            return Err(Failure::of(&error));
        }
        let provider = factory.open(&name, &settings);
        let provider = provider.map_err(|error| Failure::of(&error))?;
        if open.len() >= SCOPES_MAX {
            open.clear();
        }
        open.insert(key, Arc::clone(&provider));
        Ok(provider)
    }

    async fn answer(&self, method: &str, params: &Json) -> Result<Json, Failure> {
        if method == "Settings" {
            let subtype = crate::json::text(params.get("type"));
            let subtype =
                subtype.map_err(|why| Failure::params(format!("`type`: {why}"), params))?;
            let subtype = subtype.unwrap_or_default();
            let factory = self.factory(&subtype);
            let factory = factory.ok_or_else(|| Failure::plain(format!("no-plugin:{subtype}")))?;
            let settings = &factory.manifest().settings;
            return write(&SettingsResult {
                settings: Some(to_json(&settings.to_json_schema())),
            });
        }
        let provider = self.scope(params)?;
        let provider = &*provider;
        match method {
            "Describe" => describe(provider),
            "List" => {
                let fleet = parsed("fleet", text(params, "fleet")?);
                let fleet = fleet.map_err(|why| Failure::params(why, params))?;
                let listing = provider.list(&fleet).await;
                write(&ListResult::of(
                    &listing.map_err(|error| Failure::of(&error))?,
                ))
            }
            "Provision" => {
                let request: ProvisionDto = read(params, params)?;
                let request = request.read().map_err(|why| Failure::params(why, params))?;
                let made = provider.provision(&request).await;
                let made = made.map_err(|error| Failure::of(&error))?;
                let handles = made.made.iter();
                write(&ProvisionResult {
                    made: handles
                        .map(|(id, handle)| (id.to_string(), handle.to_string()))
                        .collect(),
                    shortfall: made.shortfall.as_ref().map(ErrorDto::of),
                })
            }
            "Destroy" => {
                let request: DestroyDto = read(params, params)?;
                let request = request.read().map_err(|why| Failure::params(why, params))?;
                done(provider.destroy(&request).await)
            }
            "Update" => {
                let request: UpdateDto = read(params, params)?;
                let request = request.read().map_err(|why| Failure::params(why, params))?;
                done(provider.update(&request).await)
            }
            "Release" => {
                let failed = |why| Failure::params(why, params);
                let fleet = parsed("fleet", text(params, "fleet")?).map_err(failed)?;
                let instance = parsed("ref", text(params, "ref")?).map_err(failed)?;
                done(provider.release(&fleet, &instance).await)
            }
            "Survey" => survey(provider, params).await,
            "Adopt" => {
                let request: AdoptDto = read(params, params)?;
                let request = request.read().map_err(|why| Failure::params(why, params))?;
                done(provider.adopt(&request).await)
            }
            "Reserve" => reserve(provider, params).await,
            "Check" => check(provider, params).await,
            "Health" => health(provider, params).await,
            _ => logs(provider, params).await,
        }
    }
}

/// Every method, as the dispatch above has them.
const METHODS: [&str; 13] = [
    "Settings",
    "Describe",
    "List",
    "Provision",
    "Destroy",
    "Update",
    "Release",
    "Survey",
    "Adopt",
    "Reserve",
    "Check",
    "Health",
    "Logs",
];

fn describe(provider: &dyn Provider) -> Result<Json, Failure> {
    let manifest = provider.manifest();
    let offers = provider.offers();
    let methods = offers.iter().map(|method| method.as_str().to_owned());
    write(&DescribeResult {
        batch_max: Some(manifest.batch_max),
        visibility_ms: milliseconds(manifest.visibility),
        properties: Some(to_json(&manifest.properties.to_json_schema())),
        methods: methods.collect(),
    })
}

async fn survey(provider: &dyn Provider, params: &Json) -> Result<Json, Failure> {
    let tags: BTreeMap<String, String> = read(params.get("tags").unwrap_or(&Json::Null), params)?;
    let survey = provider.survey(&tags).await;
    write(&SurveyResult::of(
        &survey.map_err(|error| Failure::of(&error))?,
    ))
}

async fn reserve(provider: &dyn Provider, params: &Json) -> Result<Json, Failure> {
    let failed = |why| Failure::params(why, params);
    let seat: SeatIdDto = read(params.get("seat").unwrap_or(&Json::Null), params)?;
    let request = ReserveRequest {
        fleet: parsed("fleet", text(params, "fleet")?).map_err(failed)?,
        group: parsed("group", text(params, "group")?).map_err(failed)?,
        seat: seat.read().map_err(failed)?,
    };
    let address = provider.reserve(&request).await;
    Ok(json!({"address": address.map_err(|error| Failure::of(&error))?}))
}

async fn check(provider: &dyn Provider, params: &Json) -> Result<Json, Failure> {
    let instance = parsed("ref", text(params, "ref")?);
    let instance = instance.map_err(|why| Failure::params(why, params))?;
    let command: Vec<String> = read(params.get("command").unwrap_or(&Json::Null), params)?;
    let timeout: u64 = read(params.get("timeoutMs").unwrap_or(&Json::Null), params)?;
    let timeout = Duration::from_millis(timeout);
    let outcome = provider.check(&instance, &command, timeout).await;
    Ok(outcome_json(outcome.map_err(|error| Failure::of(&error))?))
}

async fn health(provider: &dyn Provider, params: &Json) -> Result<Json, Failure> {
    let instance = parsed("ref", text(params, "ref")?);
    let instance = instance.map_err(|why| Failure::params(why, params))?;
    let timeout: u64 = read(params.get("timeoutMs").unwrap_or(&Json::Null), params)?;
    let outcome = provider.health(&instance, Duration::from_millis(timeout));
    let outcome = outcome.await.map_err(|error| Failure::of(&error))?;
    Ok(outcome_json(outcome))
}

fn outcome_json(outcome: CheckOutcome) -> Json {
    match outcome {
        CheckOutcome::Passing => json!({"outcome": "passing"}),
        CheckOutcome::Failing { why } => json!({"outcome": "failing", "why": why}),
        CheckOutcome::Unknown { why } => json!({"outcome": "unknown", "why": why}),
    }
}

async fn logs(provider: &dyn Provider, params: &Json) -> Result<Json, Failure> {
    let instance = parsed("ref", text(params, "ref")?);
    let instance = instance.map_err(|why| Failure::params(why, params))?;
    let lines: usize = read(params.get("lines").unwrap_or(&Json::Null), params)?;
    let text = provider.logs(&instance, lines).await;
    Ok(json!({"text": text.map_err(|error| Failure::of(&error))?}))
}

fn done(outcome: Result<(), ProviderError>) -> Result<Json, Failure> {
    outcome
        .map(|()| json!({}))
        .map_err(|error| Failure::of(&error))
}

fn write(answer: &impl serde::Serialize) -> Result<Json, Failure> {
    serde_json::to_value(answer).map_err(|error| Failure::plain(error.to_string()))
}

fn read<T: DeserializeOwned>(value: &Json, params: &Json) -> Result<T, Failure> {
    T::deserialize(value).map_err(|error| Failure::params(error.to_string(), params))
}

fn text<'a>(params: &'a Json, name: &str) -> Result<&'a str, Failure> {
    let text = params.get(name).and_then(Json::as_str);
    text.ok_or_else(|| Failure::params(format!("`{name}` is missing"), params))
}

#[async_trait]
impl Service for ProviderService {
    fn name(&self) -> &'static str {
        crate::hello::PROVIDER
    }

    fn versions(&self) -> [Option<&'static str>; 3] {
        [None, None, Some("1")]
    }

    fn subtypes(&self) -> Vec<&'static str> {
        self.subtypes.keys().copied().collect()
    }

    async fn call(&self, method: &str, params: &Json) -> Option<Answered> {
        if !METHODS.contains(&method) {
            return None;
        }
        let answer = self.answer(method, params).await;
        Some(answer.map(|answer| answer.to_string()))
    }
}

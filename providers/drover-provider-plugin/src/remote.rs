//! A provider over `Provider/1`: each function of the contract is one call. The plugin keeps the contract's
//! promises itself, tokens above all, so nothing is added here and nothing is repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    CheckOutcome, Completeness, FleetName, InstanceId, Listing, ProviderRef, ProviderType, Survey,
};
use drover_provider::{
    AdoptRequest, AttachmentUse, Clock, DestroyRequest, InitUse, Manifest, Mistake, ObjectSchema,
    OptionalMethod, Others, Provider, ProviderError, ProvisionRequest, Provisioned, ReserveRequest,
    UpdateRequest, refuse_attachments,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::call::{Answer, Bounds, CallError, Caller, Fault, shortened};
use crate::json::from_json;
use crate::spec::invalid;
use crate::weight::TooMuch;
use crate::wire::{
    AdoptDto, DescribeResult, DestroyDto, ListResult, ProvisionDto, ProvisionResult, ScopeDto,
    SeatIdDto, SettingsResult, SurveyResult, Unreadable, UpdateDto, handle, parsed, plain_if_any,
};
use crate::wire_checks::with_more;

/// Most pages of one listing: with a hundred instances each, more than any scope has.
const PAGES_MAX: usize = 10_000;

/// Slots of a call where the plugin does not say how many it takes.
const BATCH_DEFAULT: u32 = 1;

/// Most slots of a call, whatever the plugin says: a call is one answer within one time limit.
const BATCH_MAX: u32 = 1_000;

/// The longest `visibilityMs` that is believed: a day.
const VISIBILITY_MAX: Duration = Duration::from_hours(24);

/// One scope of the type `plugin`, over a plugin of our own kind.
#[derive(Debug)]
pub(crate) struct RemoteProvider {
    caller: Caller,
    scope: ScopeDto,
    manifest: Manifest,
    methods: BTreeSet<String>,
    timeout: Duration,
    making: Duration,
    clock: Arc<dyn Clock>,
    /// Whether calls have fields that nobody knows, to see what the plugin makes of them.
    peculiar: bool,
}

/// What a scope over `Provider/1` is opened with.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) caller: Caller,
    pub(crate) scope: ScopeDto,
    pub(crate) described: DescribeResult,
    pub(crate) timeout: Duration,
    pub(crate) making: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A call's parameters: the scope, and what the call is about.
#[derive(Serialize)]
struct Params<'a, P> {
    scope: &'a ScopeDto,
    #[serde(flatten)]
    rest: P,
}

/// Asks a plugin what it is.
pub(crate) async fn describe(
    caller: &Caller,
    scope: &ScopeDto,
    limit: Duration,
) -> Result<DescribeResult, CallError> {
    let method = "Provider.Describe";
    let params = Params {
        scope,
        rest: json!({}),
    };
    caller.call(method, &params, limit).await
}

/// Asks a plugin what settings it takes. None: any, or it has no such method.
pub(crate) async fn settings_schema(
    caller: &Caller,
    scope: &ScopeDto,
    limit: Duration,
) -> Result<Option<ObjectSchema>, CallError> {
    let method = "Provider.Settings";
    let params = json!({"type": scope.type_});
    let said: SettingsResult = match caller.call(method, &params, limit).await {
        Ok(said) => said,
        // An older plugin refuses wrong settings when it is to describe them.
        Err(error) if matches!(error.fault, Fault::Refused { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let garbled = |why: String| caller.garbled(method, &why);
    let Some(schema) = said.settings else {
        return Ok(None);
    };
    let schema = ObjectSchema::from_json_schema(&from_json(&schema));
    let schema = schema.map_err(|error| garbled(format!("`settings`: {error}")))?;
    Ok(Some(schema))
}

/// Returns what is wrong with the settings of a scope.
pub(crate) fn mistaken_settings(schema: &ObjectSchema, scope: &ScopeDto) -> Vec<Mistake> {
    let settings = match &scope.settings {
        Json::Null => json!({}),
        settings => settings.clone(),
    };
    schema.check(&from_json(&settings))
}

/// Reads the schema of a scope's properties. None: any properties.
pub(crate) fn properties(described: &DescribeResult) -> Result<ObjectSchema, String> {
    match &described.properties {
        None | Some(Json::Null) => Ok(ObjectSchema {
            fields: BTreeMap::new(),
            others: Others::Taken,
            rules: drover_provider::Rules::default(),
        }),
        Some(schema) => ObjectSchema::from_json_schema(&from_json(schema))
            .map_err(|error| format!("`properties`: {error}")),
    }
}

/// Reads what a plugin says that it is.
fn manifest(described: &DescribeResult, settings: ObjectSchema) -> Result<Manifest, String> {
    let properties = properties(described)?;
    let batch_max = described.batch_max.unwrap_or(BATCH_DEFAULT);
    if batch_max == 0 {
        return Err("`batchMax` is 0".to_owned());
    }
    let visibility = Duration::from_millis(described.visibility_ms);
    if visibility > VISIBILITY_MAX {
        return Err("`visibilityMs` is more than a day".to_owned());
    }
    Ok(Manifest {
        type_: ProviderType::parse(crate::factory::TYPE).expect("a valid label"),
        properties,
        settings,
        batch_max: batch_max.min(BATCH_MAX),
        visibility,
        init: InitUse::UserData,
        attachments: AttachmentUse::Refused,
    })
}

/// Reads what a call has made: only what was asked for, each with a handle of its own.
fn made(
    answer: &BTreeMap<String, String>,
    request: &ProvisionRequest,
) -> Result<BTreeMap<InstanceId, ProviderRef>, Unreadable> {
    let mut made = BTreeMap::new();
    let mut handles = BTreeSet::new();
    for (id, text) in answer {
        let id: InstanceId = parsed("made", id)?;
        let handle = handle("made", text)?;
        if request.slots.iter().all(|slot| slot.instance != id) {
            return Err(format!("`made`: {id} was not asked for"));
        }
        if !handles.insert(handle.clone()) {
            return Err(format!("`made`: {handle} is several instances"));
        }
        made.insert(id, handle);
    }
    Ok(made)
}

impl RemoteProvider {
    /// Opens a scope.
    ///
    /// # Errors
    ///
    /// The plugin describes itself in a way that cannot be used.
    pub(crate) fn new(opening: Opening, settings: ObjectSchema) -> Result<Self, ProviderError> {
        let Opening {
            caller,
            scope,
            described,
            timeout,
            making,
            clock,
        } = opening;
        let manifest = manifest(&described, settings).map_err(|why| {
            let plugin = &caller.name;
            invalid(format!("plugin {plugin}: Provider.Describe: {why}"))
        })?;
        Ok(Self {
            caller,
            scope,
            manifest,
            methods: described.methods,
            timeout,
            making,
            clock,
            peculiar: false,
        })
    }

    /// Adds fields that nobody knows to every call.
    pub(crate) fn made_peculiar(self) -> Self {
        Self {
            peculiar: true,
            ..self
        }
    }

    async fn ask<P: Serialize + Sync>(
        &self,
        method: &str,
        params: &P,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let caller = &self.caller;
        if !self.peculiar {
            return caller.call_unread(method, params, limit).await;
        }
        let params =
            with_more(params).map_err(|error| caller.garbled(method, &error.to_string()))?;
        caller.call_unread(method, &params, limit).await
    }

    async fn call<P: Serialize + Sync, R: DeserializeOwned>(
        &self,
        method: &str,
        rest: P,
        limit: Duration,
    ) -> Result<R, ProviderError> {
        let params = Params {
            scope: &self.scope,
            rest,
        };
        let answer = self.ask(method, &params, limit).await;
        let built = answer.and_then(|answer| self.caller.build(method, &answer));
        built.map_err(CallError::into_provider_error)
    }

    /// Reads page after page, all of them together within the bounds of one answer. `params`: of the page that begins
    /// there; `add`: takes a page in and returns where the next begins.
    async fn pages<P: Serialize + Send + Sync, R: DeserializeOwned + Send>(
        &self,
        method: &str,
        params: impl Fn(Option<String>) -> P + Send + Sync,
        mut add: impl FnMut(R) -> Result<Option<String>, Unreadable> + Send,
    ) -> Result<(), ProviderError> {
        let (mut from, mut weight): (Option<String>, usize) = (None, 0);
        for _ in 0..PAGES_MAX {
            let params = Params {
                scope: &self.scope,
                rest: params(from.clone()),
            };
            let page = self.page(method, &params).await;
            let (page, more) = page.map_err(CallError::into_provider_error)?;
            weight += more;
            let most = Bounds::of(method).memory;
            if weight > most {
                let why = format!("all pages together: {}", TooMuch::Memory(most));
                return Err(self.garbled(method, &why));
            }
            let next = add(page).map_err(|why| self.garbled(method, &why))?;
            match next {
                None => return Ok(()),
                Some(next) if Some(&next) == from.as_ref() => {
                    return Err(self.garbled(method, "a page's `next` is the page itself"));
                }
                Some(next) => from = Some(next),
            }
        }
        Err(self.garbled(method, "the listing has no end"))
    }

    /// Reads one page. Returns also what it takes in memory.
    async fn page<P: Serialize + Sync, R: DeserializeOwned>(
        &self,
        method: &str,
        params: &P,
    ) -> Result<(R, usize), CallError> {
        let answer = self.ask(method, params, self.timeout).await?;
        Ok((self.caller.build(method, &answer)?, answer.weight))
    }

    fn garbled(&self, method: &str, why: &str) -> ProviderError {
        self.caller.garbled(method, why).into_provider_error()
    }

    /// Returns why a listing may lack some: what has one twice counts positions, and so it may have passed over another.
    fn repeated<'a>(
        &self,
        method: &str,
        handles: impl Iterator<Item = &'a ProviderRef>,
    ) -> Option<String> {
        let (mut seen, mut handles) = (BTreeSet::new(), handles);
        let twice = handles.find(|handle| !seen.insert(*handle))?;
        let plugin = &self.caller.name;
        Some(format!(
            "plugin {plugin}: {method} lists {twice} more than once"
        ))
    }

    fn has(&self, method: OptionalMethod) -> bool {
        self.methods.contains(method.as_str())
    }

    /// Refuses what the plugin does not offer, without a call.
    fn needs(&self, method: OptionalMethod, what: &str) -> Result<(), ProviderError> {
        if self.has(method) {
            return Ok(());
        }
        let plugin = &self.caller.name;
        Err(invalid(format!("plugin {plugin}: it {what}")))
    }
}

#[derive(Serialize)]
struct ListParams<'a> {
    fleet: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

#[derive(Serialize)]
struct SurveyParams<'a> {
    tags: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

#[derive(Serialize)]
struct ReserveParams<'a> {
    fleet: &'a str,
    group: &'a str,
    seat: SeatIdDto,
}

#[derive(Serialize)]
struct RefParams<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<&'a str>,
    r#ref: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckParams<'a> {
    r#ref: &'a str,
    command: &'a [String],
    timeout_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthParams<'a> {
    r#ref: &'a str,
    timeout_ms: u64,
}

#[derive(Serialize)]
struct LogsParams<'a> {
    r#ref: &'a str,
    lines: usize,
}

#[async_trait]
impl Provider for RemoteProvider {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn offers(&self) -> BTreeSet<OptionalMethod> {
        let all = OptionalMethod::ALL.into_iter();
        all.filter(|method| self.has(*method)).collect()
    }

    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let method = "Provider.List";
        let mut listing = Listing {
            completeness: Completeness::Complete,
            as_of: self.clock.now(),
            instances: Vec::new(),
            attached: BTreeSet::new(),
            places: BTreeMap::new(),
        };
        let params = |from| ListParams {
            fleet: fleet.as_str(),
            from,
        };
        let mut doubtful = None;
        let add = |mut page: ListResult| {
            let next = page.next.take();
            let doubt = page.add_to(&mut listing, fleet)?;
            doubtful = doubtful.take().or(doubt);
            Ok(next)
        };
        self.pages(method, params, add).await?;
        let instances = listing.instances.iter();
        if let Some(why) = self.repeated(method, instances.map(|one| &one.provider_ref)) {
            listing.completeness = Completeness::Partial { why };
        }
        // Whose that instance is is not known, so that no group can be said to lack one.
        if let Some(why) = doubtful {
            let why = self.garbled(method, &why).message;
            listing.completeness = Completeness::Partial { why };
        }
        Ok(listing)
    }

    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        request.slots.iter().try_for_each(refuse_attachments)?;
        // How many at most was said when the call was first made. A repeat asks for the same, whatever is said now.
        if request.slots.is_empty() {
            return Err(invalid("a batch has at least 1 slot"));
        }
        let method = "Provider.Provision";
        let answer: ProvisionResult = self
            .call(method, ProvisionDto::of(request)?, self.making)
            .await?;
        let made = made(&answer.made, request);
        Ok(Provisioned {
            made: made.map_err(|why| self.garbled(method, &why))?,
            shortfall: answer.shortfall.map(crate::wire::ErrorDto::read),
        })
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        let params = DestroyDto::of(request);
        let _: Json = self.call("Provider.Destroy", params, self.timeout).await?;
        Ok(())
    }

    async fn reserve(&self, request: &ReserveRequest) -> Result<String, ProviderError> {
        self.needs(
            OptionalMethod::Reserve,
            "knows no addresses before there are instances",
        )?;
        let method = "Provider.Reserve";
        let params = ReserveParams {
            fleet: request.fleet.as_str(),
            group: request.group.as_str(),
            seat: SeatIdDto::of(&request.seat),
        };
        let answer: Json = self.call(method, params, self.timeout).await?;
        let address = answer.get("address").and_then(Json::as_str);
        let address = plain_if_any("address", address.map(str::to_owned));
        let address = address.map_err(|why| self.garbled(method, &why))?;
        address.ok_or_else(|| self.garbled(method, "`address` is missing"))
    }

    async fn update(&self, request: &UpdateRequest) -> Result<(), ProviderError> {
        refuse_attachments(&request.slot)?;
        self.needs(OptionalMethod::Update, "changes nothing in place")?;
        let params = UpdateDto::of(request)?;
        let _: Json = self.call("Provider.Update", params, self.timeout).await?;
        Ok(())
    }

    async fn release(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        let params = RefParams {
            fleet: Some(fleet.as_str()),
            r#ref: instance.as_str(),
        };
        let _: Json = self.call("Provider.Release", params, self.timeout).await?;
        Ok(())
    }

    async fn survey(&self, tags: &BTreeMap<String, String>) -> Result<Survey, ProviderError> {
        self.needs(
            OptionalMethod::Survey,
            "says nothing of instances that others made",
        )?;
        let mut survey = Survey {
            completeness: Completeness::Complete,
            as_of: self.clock.now(),
            strangers: Vec::new(),
            owned: Vec::new(),
        };
        let params = |from| SurveyParams { tags, from };
        let add = |mut page: SurveyResult| {
            let next = page.next.take();
            page.add_to(&mut survey, tags).map(|()| next)
        };
        let method = "Provider.Survey";
        self.pages(method, params, add).await?;
        let owned = survey.owned.iter().map(|one| &one.stranger);
        let told = survey.strangers.iter().chain(owned);
        if let Some(why) = self.repeated(method, told.map(|one| &one.provider_ref)) {
            survey.completeness = Completeness::Partial { why };
        }
        Ok(survey)
    }

    async fn adopt(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        self.needs(
            OptionalMethod::Adopt,
            "puts no tags on instances that others made",
        )?;
        let params = AdoptDto::of(request);
        let _: Json = self.call("Provider.Adopt", params, self.timeout).await?;
        Ok(())
    }

    async fn check(
        &self,
        instance: &ProviderRef,
        command: &[String],
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        if !self.has(OptionalMethod::Check) {
            let why = format!(
                "plugin {}: it runs no commands in its instances",
                self.caller.name
            );
            return Ok(CheckOutcome::Unknown { why });
        }
        let method = "Provider.Check";
        let params = CheckParams {
            r#ref: instance.as_str(),
            command,
            timeout_ms: crate::wire::milliseconds(timeout),
        };
        let limit = timeout.saturating_add(self.timeout);
        let answer: Json = self.call(method, params, limit).await?;
        self.outcome(method, &answer)
    }

    async fn health(
        &self,
        instance: &ProviderRef,
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        if !self.has(OptionalMethod::Health) {
            let why = format!(
                "plugin {}: it says nothing of its instances' health",
                self.caller.name
            );
            return Ok(CheckOutcome::Unknown { why });
        }
        let method = "Provider.Health";
        let params = HealthParams {
            r#ref: instance.as_str(),
            timeout_ms: crate::wire::milliseconds(timeout),
        };
        let limit = timeout.saturating_add(self.timeout);
        let answer: Json = self.call(method, params, limit).await?;
        self.outcome(method, &answer)
    }

    async fn logs(&self, instance: &ProviderRef, lines: usize) -> Result<String, ProviderError> {
        self.needs(OptionalMethod::Logs, "keeps no logs")?;
        let method = "Provider.Logs";
        let params = LogsParams {
            r#ref: instance.as_str(),
            lines,
        };
        let answer: Json = self.call(method, params, self.timeout).await?;
        let text = answer.get("text").and_then(Json::as_str);
        text.map(str::to_owned)
            .ok_or_else(|| self.garbled(method, "`text` is missing"))
    }
}

impl RemoteProvider {
    /// Reads how a check turned out.
    fn outcome(&self, method: &str, answer: &Json) -> Result<CheckOutcome, ProviderError> {
        let why = answer.get("why").and_then(Json::as_str);
        let why = shortened(why.unwrap_or_default());
        match answer.get("outcome").and_then(Json::as_str) {
            Some("passing") => Ok(CheckOutcome::Passing),
            Some("failing") => Ok(CheckOutcome::Failing { why }),
            Some("unknown") => Ok(CheckOutcome::Unknown { why }),
            Some(_) | None => Err(self.garbled(method, "`outcome` is none")),
        }
    }
}

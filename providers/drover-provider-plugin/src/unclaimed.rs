//! What a plugin with `Provider/1` makes of methods that it does not announce. The host never calls those, so that
//! the suite of providers cannot see it: they are called here, on the wire, about an instance that never was.

use std::time::Duration;

use drover_model::{ErrorClass, ProviderName, Value};
use drover_provider::OptionalMethod;
use drover_provider::conformance::{CheckResult, Outcome};
use serde_json::{Value as Json, json};

use crate::call::{CallError, Caller, Fault};
use crate::factory::PluginFactory;
use crate::hello::{Spoken, hello};
use crate::remote::describe;
use crate::wire::ScopeDto;

/// The check and its sentence.
pub(crate) const CHECK: (&str, &str) = (
    "unclaimed",
    "A method that the plugin does not announce, and one that there is none of, is refused in words, without a class or with `invalidSpec`; a check or health may be `unknown`.",
);

/// A method that no interface has.
const NONE: &str = "Provider.Conformance";

impl PluginFactory {
    /// Calls every method that the plugin of a document does not announce. None: it has not our interface.
    ///
    /// # Cancellation
    ///
    /// A dropped future leaves nothing behind.
    pub async fn check_unclaimed(
        &self,
        name: &ProviderName,
        settings: &Value,
        limit: Duration,
    ) -> Option<CheckResult> {
        let contact = self.contact(name, settings).ok()?;
        let caller = Caller::new(contact.plugin, contact.place);
        let interfaces = hello(&caller).await.ok()?;
        match interfaces.choose(&caller.name.subtype).ok()? {
            Spoken::Instance(_) => return None,
            Spoken::Provider => {}
        }
        let outcome = match refuses(&caller, &contact.scope, limit).await {
            Ok(()) => Outcome::Passed,
            Err(why) => Outcome::Failed { why },
        };
        Some(CheckResult {
            name: CHECK.0,
            sentence: CHECK.1,
            outcome,
        })
    }
}

pub(crate) async fn refuses(
    caller: &Caller,
    scope: &ScopeDto,
    limit: Duration,
) -> Result<(), String> {
    let described = describe(caller, scope, limit).await;
    let described = described.map_err(|error| error.to_string())?;
    let unclaimed = OptionalMethod::ALL.into_iter();
    let unclaimed = unclaimed.filter(|method| !described.methods.contains(method.as_str()));
    let calls = unclaimed.map(call_of).chain([(NONE, json!({}), false)]);
    for (method, mut params, may_be_unknown) in calls {
        params["scope"] = serde_json::to_value(scope).map_err(|error| error.to_string())?;
        let answer: Result<Json, CallError> = caller.call(method, &params, limit).await;
        match answer {
            Ok(answer) if may_be_unknown && answer["outcome"] == "unknown" => {}
            Ok(answer) => return Err(format!("{method} is answered with {answer}")),
            Err(error) => match &error.fault {
                Fault::Refused {
                    class: None | Some(ErrorClass::InvalidSpec),
                    ..
                } => {}
                Fault::Refused {
                    class: Some(class), ..
                } => return Err(format!("{error}: its class is {}", class.as_str())),
                Fault::Absent(_) | Fault::NotSent(_) | Fault::Lost(_) => {
                    return Err(error.to_string());
                }
            },
        }
    }
    Ok(())
}

/// Returns the call of a method about what never was, and whether its answer may be that nobody knows.
fn call_of(method: OptionalMethod) -> (&'static str, Json, bool) {
    let token = "conformanceconformanceconformanc";
    let owned = json!({
        "fleet": "conformance", "group": "conformance", "epoch": 1, "ref": "never-was", "token": token,
        "instance": "conformance-1", "digest": "1:0+0+0",
    });
    let with = |more: Json| {
        let mut params = owned.clone();
        for (name, value) in more.as_object().into_iter().flatten() {
            params[name] = value.clone();
        }
        params
    };
    let slot = json!({"instance": "conformance-1", "init": [], "env": {}, "tags": {}});
    let seat = json!({"life": "conformance00000", "member": "m1"});
    match method {
        OptionalMethod::Update => (
            "Provider.Update",
            with(
                json!({"update": token, "how": "live", "slot": slot, "properties": {}, "graceMs": 0}),
            ),
            false,
        ),
        OptionalMethod::Reserve => ("Provider.Reserve", with(json!({"seat": seat})), false),
        OptionalMethod::Survey => (
            "Provider.Survey",
            json!({"tags": {"conformance": "unclaimed"}}),
            false,
        ),
        OptionalMethod::Adopt => ("Provider.Adopt", owned, false),
        OptionalMethod::Check => (
            "Provider.Check",
            json!({"ref": "never-was", "command": ["true"], "timeoutMs": 1000}),
            true,
        ),
        OptionalMethod::Health => (
            "Provider.Health",
            json!({"ref": "never-was", "timeoutMs": 1000}),
            true,
        ),
        OptionalMethod::Logs => (
            "Provider.Logs",
            json!({"ref": "never-was", "lines": 1}),
            false,
        ),
    }
}

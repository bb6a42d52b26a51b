//! Groups for simulations, with every default of a document filled in.

use std::collections::BTreeMap;

use drover_model::{
    Check, Group, GroupName, GroupSpec, Probe, ProviderName, SourceSpan, Template, TemplateParts,
    Value, defaults,
};

/// Returns a group with the defaults of a document: `size` instances of the template `version`.
pub fn group(name: &str, size: u32, version: i64) -> Group {
    let span = SourceSpan::start_of(name);
    let provider = ProviderName::parse("sim").expect("a valid label");
    let mut spec = GroupSpec::with_defaults(provider, size, template(version));
    spec.health.checks = vec![Check {
        probe: Probe::Tcp { port: 80 },
        interval: defaults::CHECK_INTERVAL,
        timeout: defaults::CHECK_TIMEOUT,
    }];
    Group {
        name: GroupName::parse(name).expect("simulations use valid names"),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        span: span.clone(),
        provider_span: span,
        property_spans: BTreeMap::new(),
        spec,
    }
}

/// Returns a template that differs from others by its `version` alone.
pub fn template(version: i64) -> Template {
    let properties = Value::from_iter([("version".to_owned(), Value::from(version))]);
    Template::from(TemplateParts {
        properties,
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    })
}

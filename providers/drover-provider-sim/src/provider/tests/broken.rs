//! Providers that break one sentence of the contract, each as a real one might, and the check that must see it.

use drover_model::{InPlace, ProviderPhase};
use drover_provider::{Manifest, ProviderError};

use super::*;

/// What is wrong with a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// It changes nothing in this way.
    Refuses(InPlace),
    /// Its pages after the tenth instance are lost.
    LosesPages,
    /// The instance at the end of a page begins the next one too.
    RepeatsAtPageEnds,
    /// It counts positions, so that an end between two pages hides an instance that runs.
    CountsPositions,
    /// It puts one tag of a slot on the instance, and no other.
    DropsTags,
    /// It puts a tag on as it fits.
    CutsTags,
    /// Its survey looks at one tag.
    FiltersByOneTag,
    /// It has no survey.
    HasNoSurvey,
}

#[derive(Debug)]
struct Broken {
    inner: SimProvider,
    manifest: Manifest,
    flaw: Flaw,
}

fn refused(why: &str) -> ProviderError {
    ProviderError::new(ErrorClass::InvalidSpec, why)
}

#[async_trait]
impl Provider for Broken {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let mut listing = self.inner.list(fleet).await?;
        let all = &mut listing.instances;
        all.sort_by(|one, other| one.provider_ref.cmp(&other.provider_ref));
        match self.flaw {
            Flaw::LosesPages => all.truncate(10),
            Flaw::RepeatsAtPageEnds if all.len() > 10 => all.push(all[9].clone()),
            Flaw::CountsPositions => {
                let ends = all.iter().any(|one| one.phase == ProviderPhase::Stopping);
                let runs = |one: &drover_model::Listed| one.phase == ProviderPhase::Running;
                if let (true, Some(last)) = (ends && all.len() > 5, all.iter().rposition(runs)) {
                    all.remove(last);
                }
            }
            _ => {}
        }
        Ok(listing)
    }

    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        let mut request = request.clone();
        for slot in &mut request.slots {
            match self.flaw {
                Flaw::DropsTags => {
                    slot.tags.pop_first();
                }
                Flaw::CutsTags => slot.tags.values_mut().for_each(|tag| tag.truncate(8)),
                _ => {}
            }
        }
        self.inner.provision(&request).await
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        // The caller has time to look meanwhile.
        tokio::task::yield_now().await;
        self.inner.destroy(request).await
    }

    async fn reserve(&self, request: &ReserveRequest) -> Result<String, ProviderError> {
        self.inner.reserve(request).await
    }

    async fn update(&self, request: &UpdateRequest) -> Result<(), ProviderError> {
        if self.flaw == Flaw::Refuses(request.how) {
            return Err(refused("not today"));
        }
        self.inner.update(request).await
    }

    async fn release(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        self.inner.release(fleet, instance).await
    }

    async fn survey(&self, tags: &BTreeMap<String, String>) -> Result<Survey, ProviderError> {
        if self.flaw == Flaw::HasNoSurvey {
            return Err(refused("there is no survey"));
        }
        let mut tags = tags.clone();
        if self.flaw == Flaw::FiltersByOneTag && tags.len() > 1 {
            tags.remove("conformance-part");
        }
        self.inner.survey(&tags).await
    }

    async fn adopt(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        self.inner.adopt(request).await
    }
}

struct Flawed {
    simulated: Simulated,
    provider: Arc<Broken>,
}

#[async_trait]
impl Subject for Flawed {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider) as Arc<dyn Provider>
    }

    fn run_id(&self) -> GroupUid {
        self.simulated.run_id()
    }

    fn running(&self) -> Value {
        self.simulated.running()
    }

    fn invalid(&self) -> Value {
        self.simulated.invalid()
    }

    async fn wait(&self) {
        self.simulated.wait().await;
    }
}

/// Runs the suite over a provider with a flaw; with `classes`, or with none, in its schema.
async fn report_of(flaw: Flaw, has_classes: bool) -> Report {
    let simulated = Simulated::new(slow());
    let mut manifest = simulated.provider.manifest().clone();
    if !has_classes {
        let fields = manifest.properties.fields.values_mut();
        fields.for_each(|field| field.class = drover_model::FieldClass::Replace);
    }
    let provider = Arc::new(Broken {
        inner: simulated.provider.clone(),
        manifest,
        flaw,
    });
    let subject = Flawed {
        simulated,
        provider,
    };
    conformance::run(&subject).await
}

fn failed(report: &Report) -> Vec<&'static str> {
    let results = report.results.iter();
    let failed = results.filter(|result| matches!(result.outcome, Outcome::Failed { .. }));
    failed.map(|result| result.name).collect()
}

#[tokio::test]
async fn a_listing_that_loses_or_repeats_instances_of_many_is_seen() {
    for flaw in [
        Flaw::LosesPages,
        Flaw::RepeatsAtPageEnds,
        Flaw::CountsPositions,
    ] {
        let report = report_of(flaw, true).await;
        assert_eq!(failed(&report), ["many"], "{flaw:?}\n{report}");
    }
}

#[tokio::test]
async fn tags_that_are_dropped_cut_or_not_looked_at_are_seen() {
    for flaw in [Flaw::DropsTags, Flaw::CutsTags, Flaw::FiltersByOneTag] {
        let report = report_of(flaw, true).await;
        assert!(failed(&report).contains(&"tags"), "{flaw:?}\n{report}");
    }
    let report = report_of(Flaw::HasNoSurvey, true).await;
    assert!(report.conforms(), "\n{report}");
    let why = "tags are seen by a survey only: there is no survey".to_owned();
    assert_eq!(report.outcome("tags"), Some(&Outcome::Skipped { why }));
}

#[tokio::test]
async fn a_change_in_place_that_the_schema_promises_and_the_provider_refuses_is_seen() {
    let cases = [
        (InPlace::Live, vec!["update-live", "update-stranger"]),
        (InPlace::Restart, vec!["update-restart", "update-again"]),
    ];
    for (how, checks) in cases {
        let report = report_of(Flaw::Refuses(how), true).await;
        assert_eq!(failed(&report), checks, "{how:?}\n{report}");
        // Without the promise it is no offer, and nothing is held against it.
        let report = report_of(Flaw::Refuses(how), false).await;
        assert!(report.conforms(), "\n{report}");
        for check in checks {
            let outcome = report.outcome(check);
            let is_skipped = matches!(outcome, Some(Outcome::Skipped { .. }));
            assert!(is_skipped, "{check}: {outcome:?}");
        }
    }
}

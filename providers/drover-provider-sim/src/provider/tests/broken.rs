//! Providers that break one sentence of the contract, each as a real one might, and the check that must see it.

use drover_model::{InPlace, InstanceId, ProviderPhase};
use drover_provider::{Forward, Forwarding, Manifest, OptionalMethod, ProviderError};

use super::*;

/// What is wrong with a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// Nothing.
    None,
    /// It changes nothing in this way.
    Refuses(InPlace),
    /// Its pages after the tenth instance are lost.
    LosesPages,
    /// The instance at the end of a page begins the next one too.
    RepeatsAtPageEnds,
    /// It counts positions, so that an end between two pages hides an instance that runs.
    CountsPositions,
    /// It names what was not asked for.
    NamesAnother,
    /// It lists what it makes later than its manifest says.
    ListsLate,
    /// It ends what is another group's.
    EndsOfAnyGroup,
    /// Its surveys are never whole.
    SurveysPart,
    /// It says of all that somebody has it.
    ClaimsAll,
    /// It adopts what never was.
    AdoptsNothing,
    /// It puts one tag of a slot on the instance, and no other.
    DropsTags,
    /// It puts a tag on as it fits.
    CutsTags,
    /// Its survey looks at one tag.
    FiltersByOneTag,
    /// It has no survey, and says so.
    HasNoSurvey,
    /// It has no survey, and says that it has.
    OffersNoSurvey,
    /// It has this, and does not say so.
    Hides(OptionalMethod),
    /// It releases nothing.
    KeepsOwner,
    /// It ends what it is to let go.
    ReleaseEnds,
    /// It cannot tell of what is gone that it is.
    ReleaseOfGoneFails,
    /// Every command passes, and every health.
    PassesAlways,
    /// It passes whatever it knows nothing of.
    PassesWhenGone,
    /// It knows one health: that of the instance that was made last.
    OneHealth,
    /// It says that something fails, and not what.
    SaysNoReason,
    /// A check ends the instance.
    CheckEnds,
    /// It prints the whole log.
    WholeLog,
    /// It prints the first lines.
    FirstLines,
    /// What never was has printed nothing.
    NobodysLog,
    /// It does not say of what never was that it is not there.
    NobodysLogIsLost,
}

/// How late what is made is listed, by whoever lies about that.
const LATE: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Broken {
    inner: SimProvider,
    manifest: Manifest,
    clock: Arc<Hand>,
    last: Mutex<Option<ProviderRef>>,
    flaw: Flaw,
}

fn refused(why: &str) -> ProviderError {
    ProviderError::new(ErrorClass::InvalidSpec, why)
}

fn is_not_found<T>(answer: &Result<T, ProviderError>) -> bool {
    matches!(answer, Err(error) if error.class == ErrorClass::NotFound)
}

impl Broken {
    fn judged(
        &self,
        answer: Result<CheckOutcome, ProviderError>,
    ) -> Result<CheckOutcome, ProviderError> {
        let is_running = matches!(answer, Ok(CheckOutcome::Passing));
        match self.flaw {
            Flaw::PassesAlways => Ok(CheckOutcome::Passing),
            Flaw::PassesWhenGone if is_not_found(&answer) => Ok(CheckOutcome::Passing),
            Flaw::SaysNoReason if !is_running => {
                answer.map(|_| CheckOutcome::Failing { why: String::new() })
            }
            _ => answer,
        }
    }
}

#[async_trait]
impl Forwarding for Broken {
    fn inner(&self) -> &dyn Provider {
        &self.inner
    }

    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn offers(&self) -> BTreeSet<OptionalMethod> {
        let mut offers = self.inner.offers();
        offers.insert(OptionalMethod::Health);
        match self.flaw {
            Flaw::Hides(method) => offers.remove(&method),
            Flaw::HasNoSurvey => offers.remove(&OptionalMethod::Survey),
            _ => false,
        };
        offers
    }

    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let mut listing = self.inner.list(fleet).await?;
        let all = &mut listing.instances;
        all.sort_by(|one, other| one.provider_ref.cmp(&other.provider_ref));
        match self.flaw {
            Flaw::LosesPages => all.truncate(10),
            Flaw::ListsLate => {
                let young = |at: drover_model::Timestamp| {
                    let age = self.clock.now().duration_since(at);
                    Duration::try_from(age).is_ok_and(|age| age < LATE)
                };
                all.retain(|one| !one.created_at.is_some_and(young));
            }
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
        let mut made = self.inner.provision(&request).await?;
        *self.last.lock().unwrap() = made.made.values().next_back().cloned();
        if self.flaw == Flaw::NamesAnother {
            let other = InstanceId::new(request.group.clone(), 999_999);
            let handles = std::mem::take(&mut made.made).into_values();
            made.made = handles
                .take(1)
                .map(|handle| (other.clone(), handle))
                .collect();
        }
        Ok(made)
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        // The caller has time to look meanwhile.
        tokio::task::yield_now().await;
        let mut request = request.clone();
        if self.flaw == Flaw::EndsOfAnyGroup {
            request.group.clone_from(request.instance.group());
        }
        self.inner.destroy(&request).await
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
        if self.flaw == Flaw::KeepsOwner {
            return Ok(());
        }
        let answer = self.inner.release(fleet, instance).await;
        match self.flaw {
            Flaw::ReleaseEnds => {
                let now = self.clock.now();
                self.inner.world().vanish(instance, now);
            }
            Flaw::ReleaseOfGoneFails if instance.as_str() == "never-was" => {
                return Err(ProviderError::new(ErrorClass::Unknown, "no such thing"));
            }
            _ => {}
        }
        answer
    }

    async fn survey(&self, tags: &BTreeMap<String, String>) -> Result<Survey, ProviderError> {
        if matches!(self.flaw, Flaw::HasNoSurvey | Flaw::OffersNoSurvey) {
            return Err(refused("there is no survey"));
        }
        let mut tags = tags.clone();
        if self.flaw == Flaw::FiltersByOneTag && tags.len() > 1 {
            tags.remove("conformance-part");
        }
        let mut survey = self.inner.survey(&tags).await?;
        match self.flaw {
            Flaw::SurveysPart => {
                let why = "as always".to_owned();
                survey.completeness = drover_model::Completeness::Partial { why };
            }
            Flaw::ClaimsAll => {
                let strangers = survey.strangers.iter_mut();
                strangers.for_each(|one| one.claimed_by = Some("a tool".to_owned()));
            }
            _ => {}
        }
        Ok(survey)
    }

    async fn adopt(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        let answer = self.inner.adopt(request).await;
        if self.flaw == Flaw::AdoptsNothing && is_not_found(&answer) {
            return Ok(());
        }
        answer
    }

    async fn check(
        &self,
        instance: &ProviderRef,
        command: &[String],
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        let answer = self.inner.check(instance, command, timeout).await;
        if self.flaw == Flaw::CheckEnds {
            let now = self.clock.now();
            self.inner.world().vanish(instance, now);
        }
        self.judged(answer)
    }

    /// What the simulated provider has not: the same as a check.
    async fn health(
        &self,
        instance: &ProviderRef,
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        let mut asked = instance.clone();
        if self.flaw == Flaw::OneHealth
            && let Some(last) = self.last.lock().unwrap().clone()
        {
            asked = last;
        }
        let answer = self.inner.check(&asked, &[], timeout).await;
        self.judged(answer)
    }

    async fn logs(&self, instance: &ProviderRef, lines: usize) -> Result<String, ProviderError> {
        let answer = self.inner.logs(instance, 1_000).await;
        match self.flaw {
            Flaw::WholeLog => answer,
            Flaw::FirstLines => answer.map(|text| {
                let first: Vec<&str> = text.lines().take(lines).collect();
                first.join("\n") + "\n"
            }),
            Flaw::NobodysLog if is_not_found(&answer) => Ok(String::new()),
            Flaw::NobodysLogIsLost if is_not_found(&answer) => {
                Err(ProviderError::new(ErrorClass::Unknown, "no log"))
            }
            _ => self.inner.logs(instance, lines).await,
        }
    }
}

struct Flawed {
    simulated: Simulated,
    provider: Arc<Forward<Broken>>,
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

    fn unhealthy(&self) -> Option<Value> {
        self.simulated.unhealthy()
    }

    async fn wait(&self) {
        self.simulated.wait().await;
    }

    fn patience(&self) -> u32 {
        self.simulated.patience()
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
    let provider = Arc::new(Forward(Broken {
        inner: simulated.provider.clone(),
        manifest,
        clock: Arc::clone(&simulated.clock),
        last: Mutex::default(),
        flaw,
    }));
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

/// Asserts that each flaw fails this check and no other.
async fn assert_seen(cases: &[(Flaw, &[&str])]) {
    for (flaw, checks) in cases {
        let report = report_of(*flaw, true).await;
        assert_eq!(failed(&report), *checks, "{flaw:?}\n{report}");
    }
}

#[tokio::test]
async fn what_is_not_broken_passes_also_where_nobody_can_end_a_released_instance() {
    let report = report_of(Flaw::None, true).await;
    let rest = report.results.iter();
    let rest = rest.filter(|result| result.outcome != Outcome::Passed);
    let rest: Vec<&str> = rest.map(|result| result.name).collect();
    // This subject has nothing that exits, opens nothing twice, and has no second scope.
    assert_eq!(rest, ["scopes", "exited", "independence"], "\n{report}");
}

#[tokio::test]
async fn a_listing_that_loses_or_repeats_instances_of_many_is_seen() {
    assert_seen(&[
        (Flaw::LosesPages, &["many"]),
        (Flaw::RepeatsAtPageEnds, &["many"]),
        (Flaw::CountsPositions, &["many"]),
    ])
    .await;
}

#[tokio::test]
async fn what_is_named_listed_and_ended_in_another_way_is_seen() {
    for (flaw, check) in [
        (Flaw::NamesAnother, "provision"),
        (Flaw::ListsLate, "visibility"),
    ] {
        let report = report_of(flaw, true).await;
        assert!(failed(&report).contains(&check), "{flaw:?}\n{report}");
    }
    assert_seen(&[
        (Flaw::EndsOfAnyGroup, &["destroy-stranger"]),
        (Flaw::SurveysPart, &["adopt"]),
        (Flaw::ClaimsAll, &["adopt"]),
        (Flaw::AdoptsNothing, &["adopt"]),
    ])
    .await;
}

#[tokio::test]
async fn tags_that_are_dropped_cut_or_not_looked_at_are_seen() {
    for flaw in [Flaw::DropsTags, Flaw::CutsTags, Flaw::FiltersByOneTag] {
        let report = report_of(flaw, true).await;
        assert!(failed(&report).contains(&"tags"), "{flaw:?}\n{report}");
    }
    let report = report_of(Flaw::HasNoSurvey, true).await;
    assert!(report.conforms(), "\n{report}");
    let why = "the provider does not offer `survey`".to_owned();
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

#[tokio::test]
async fn an_offer_that_is_none_and_one_that_is_hidden_are_seen() {
    assert_seen(&[(Flaw::OffersNoSurvey, &["release", "tags", "adopt"])]).await;
    for method in OptionalMethod::ALL {
        let report = report_of(Flaw::Hides(method), true).await;
        assert!(failed(&report).contains(&"offers"), "{method:?}\n{report}");
    }
}

#[tokio::test]
async fn a_release_that_keeps_ends_or_loses_its_way_is_seen() {
    for flaw in [Flaw::KeepsOwner, Flaw::ReleaseEnds] {
        let report = report_of(flaw, true).await;
        assert!(failed(&report).contains(&"release"), "{flaw:?}\n{report}");
    }
    assert_seen(&[(Flaw::ReleaseOfGoneFails, &["release-gone"])]).await;
}

#[tokio::test]
async fn checks_and_healths_that_are_not_those_of_the_instance_are_seen() {
    assert_seen(&[
        (Flaw::PassesAlways, &["check", "health"]),
        (Flaw::PassesWhenGone, &["check", "health"]),
        (Flaw::SaysNoReason, &["check", "health"]),
        (Flaw::CheckEnds, &["check"]),
        (Flaw::OneHealth, &["health"]),
    ])
    .await;
}

#[tokio::test]
async fn logs_that_are_not_the_last_lines_or_nobodys_are_seen() {
    assert_seen(&[
        (Flaw::WholeLog, &["logs"]),
        (Flaw::FirstLines, &["logs"]),
        (Flaw::NobodysLog, &["logs"]),
        (Flaw::NobodysLogIsLost, &["logs"]),
    ])
    .await;
}

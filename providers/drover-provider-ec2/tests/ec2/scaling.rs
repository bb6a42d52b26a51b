//! The type `asg`: Auto Scaling groups as instances.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    CheckOutcome, Digests, Epoch, ErrorClass, FleetName, GroupUid, InPlace, InstanceId, Listed,
    ProviderName, ProviderPhase, ProviderRef, Token, Value,
};
use drover_provider::conformance::{self, CheckResult, Outcome, Report, Subject};
use drover_provider::{
    AdoptRequest, Provider, ProviderError, ProviderFactory as _, ProvisionRequest, UpdateRequest,
};

use crate::fake::{Fake, FakeSettings};
use crate::moto::Moto;
use crate::support::{
    end, factory, fleet, live_change, map, open as open_ec2, request, run_id, scaling_client,
    settings, texts, web,
};

fn open(endpoint: &str) -> Arc<dyn Provider> {
    open_as(endpoint, "groups")
}

fn open_as(endpoint: &str, name: &str) -> Arc<dyn Provider> {
    let name = ProviderName::parse(name).unwrap();
    let factory = factory(endpoint).scaling_groups();
    factory.open(&name, &settings()).unwrap()
}

fn template(id: &str, version: &str) -> Value {
    map(&[("id", id.into()), ("version", version.into())])
}

/// Properties of a group of the double's, and more.
fn with(more: &[(&str, Value)]) -> Value {
    let mut entries = vec![
        ("minSize", Value::Int(1)),
        ("maxSize", Value::Int(4)),
        ("launchTemplate", template("lt-1", "1")),
        ("subnets", texts(&["subnet-a"])),
    ];
    entries.extend(more.iter().cloned());
    map(&entries)
}

struct Scaled {
    endpoint: String,
    run: GroupUid,
    properties: Value,
}

#[async_trait]
impl Subject for Scaled {
    fn provider(&self) -> Arc<dyn Provider> {
        open(&self.endpoint)
    }

    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        Some(open(&self.endpoint))
    }

    fn other_scope(&self) -> Option<Result<Arc<dyn Provider>, ProviderError>> {
        Some(Ok(open_as(&self.endpoint, "other")))
    }

    fn run_id(&self) -> GroupUid {
        self.run.clone()
    }

    fn running(&self) -> Value {
        self.properties.clone()
    }

    fn invalid(&self) -> Value {
        map(&[("minSizee", Value::Int(1))])
    }

    async fn end_released(&self, instance: &ProviderRef) {
        let client = scaling_client(&self.endpoint).await;
        let deletion = client
            .delete_auto_scaling_group()
            .auto_scaling_group_name(instance.as_str())
            .force_delete(true);
        deletion.send().await.unwrap();
    }

    fn ends_released(&self) -> bool {
        true
    }

    async fn wait(&self) {
        tokio::time::sleep(Duration::from_millis(30)).await;
    }

    fn patience(&self) -> u32 {
        300
    }
}

fn names(report: &Report, wanted: fn(&Outcome) -> bool) -> Vec<&'static str> {
    let of = |result: &CheckResult| wanted(&result.outcome).then_some(result.name);
    report.results.iter().filter_map(of).collect()
}

#[tokio::test]
async fn keeps_the_contract_over_an_instant_auto_scaling_and_a_slow_one() {
    for speed in [FakeSettings::default(), crate::conformance::slow()] {
        let fake = Fake::start(speed);
        let subject = Scaled {
            endpoint: fake.endpoint(),
            run: run_id(),
            properties: with(&[]),
        };
        let report = conformance::run(&subject).await;
        assert!(report.conforms(), "\n{report}");
        let skipped = names(&report, |outcome| {
            matches!(outcome, Outcome::Skipped { .. })
        });
        assert!(
            skipped.starts_with(&["repeat-secrets", "place", "update-restart"]),
            "\n{report}"
        );
        let world = fake.world();
        assert!(world.groups.values().all(|group| group.deleting));
        assert_eq!(world.living().count(), 0, "nothing is left behind");
    }
}

/// What rests on what moto has not: activities of groups that are gone.
const NOT_KEPT: [&str; 1] = ["repeat-after-end"];

#[tokio::test]
async fn keeps_the_contract_over_moto_but_for_what_moto_does_not_have() {
    let moto = Moto::start().await;
    let place = crate::adoption::Place::moto(&moto).await;
    let properties = with(&[
        ("launchTemplate", template(&place.template, "1")),
        ("subnets", texts(&[&place.subnet])),
    ]);
    let subject = Scaled {
        endpoint: moto.endpoint.clone(),
        run: run_id(),
        properties,
    };
    let report = conformance::run(&subject).await;
    let failed = names(&report, |outcome| matches!(outcome, Outcome::Failed { .. }));
    assert_eq!(failed, NOT_KEPT, "\n{report}");
}

/// Makes a group that runs.
async fn make(provider: &dyn Provider, more: &[(&str, Value)]) -> (ProvisionRequest, ProviderRef) {
    let asked = request(1, 1, with(more));
    let made = provider.provision(&asked).await.unwrap().made;
    let handle = made.into_values().next().unwrap();
    (asked, handle)
}

fn update(asked: &ProvisionRequest, handle: &ProviderRef, more: &[(&str, Value)]) -> UpdateRequest {
    let changed = request(1, 1, with(more));
    let text = asked.digests.to_string();
    let (start, live) = text.rsplit_once('+').unwrap();
    let live: String = live.chars().rev().collect();
    UpdateRequest {
        digests: Digests::parse(&format!("{start}+{live}")).unwrap(),
        ..live_change(asked, handle, &changed)
    }
}

async fn listed(provider: &dyn Provider, handle: &ProviderRef) -> Listed {
    let listing = provider.list(&fleet()).await.unwrap();
    let mut instances = listing.instances.into_iter();
    instances.find(|one| one.provider_ref == *handle).unwrap()
}

async fn digests(provider: &dyn Provider, handle: &ProviderRef) -> Digests {
    listed(provider, handle).await.ownership.unwrap().digests
}

fn refreshes(fake: &Fake, handle: &ProviderRef) -> usize {
    fake.world().groups[handle.as_str()].refreshes.len()
}

#[tokio::test]
async fn a_group_is_made_whole_and_its_owner_is_no_machines_owner() {
    let fake = Fake::start(FakeSettings::default());
    let provider = open(&fake.endpoint());
    let arn = "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/web/1";
    let mut asked = request(
        1,
        1,
        with(&[
            ("desiredCapacity", Value::Int(3)),
            ("subnets", texts(&["subnet-a", "subnet-b"])),
            ("targetGroups", texts(&[arn])),
            ("healthCheckType", "ELB".into()),
            ("gracePeriod", "2m".into()),
            ("tags", map(&[("role", "web".into())])),
        ]),
    );
    asked.slots[0]
        .tags
        .insert("team".to_owned(), "a & b".to_owned());
    let made = provider.provision(&asked).await.unwrap().made;
    let handle = &made[&asked.slots[0].instance];
    assert_eq!(handle.as_str(), format!("web-{}", asked.token));
    {
        let world = fake.world();
        let group = &world.groups[handle.as_str()];
        assert_eq!((group.min, group.max, group.desired), (1, 4, 3));
        assert_eq!(group.subnets, "subnet-a,subnet-b");
        assert!(group.target_groups.contains(arn));
        assert_eq!(
            (group.health_check_type.as_str(), group.grace),
            ("ELB", 120)
        );
        assert_eq!(world.living().count(), 3);
        for machine in world.living() {
            assert_eq!(machine.tags["role"], "web");
            assert_eq!(machine.tags["team"], "a & b");
            assert!(!machine.tags.keys().any(|key| key.starts_with("drover.")));
        }
    }
    let one = listed(&*provider, handle).await;
    assert_eq!(one.phase, ProviderPhase::Running);
    let owned = one.ownership.unwrap();
    assert_eq!(
        (owned.instance, owned.digests),
        (asked.slots[0].instance.clone(), asked.digests.clone())
    );
    // Neither the other type nor another document takes any of it for its own.
    let machines = open_ec2(&factory(&fake.endpoint()));
    assert!(machines.list(&fleet()).await.unwrap().instances.is_empty());
    let other = factory(&fake.endpoint()).scaling_groups();
    let other = other
        .open(&ProviderName::parse("other").unwrap(), &settings())
        .unwrap();
    assert!(other.list(&fleet()).await.unwrap().instances.is_empty());
    let foreign = other.destroy(&end(&asked, 0, handle)).await.unwrap_err();
    assert_eq!(foreign.class, ErrorClass::NotFound);
    assert_eq!(fake.world().living().count(), 3);
}

#[tokio::test]
async fn what_a_scaling_group_cannot_be_is_refused_and_nothing_is_made() {
    let fake = Fake::start(FakeSettings::default());
    let provider = open(&fake.endpoint());
    let asked = request(1, 1, with(&[]));
    let mut init = asked.clone();
    init.slots[0].init = vec!["echo".to_owned()];
    let mut env = asked.clone();
    env.slots[0].env.insert("A".to_owned(), "b".to_owned());
    let mut zone = asked.clone();
    zone.zone = Some("eu-central-1a".to_owned());
    let mut tag = asked.clone();
    tag.slots[0]
        .tags
        .insert("drover.x".to_owned(), String::new());
    let two = request(1, 2, with(&[]));
    let version = request(1, 1, with(&[("launchTemplate", template("lt-1", "99"))]));
    let subnet = request(1, 1, with(&[("subnets", texts(&["subnet-x"]))]));
    let cases = [
        (init, "init lines"),
        (env, "init lines"),
        (zone, "leave `placement.zones` out"),
        (tag, "are taken"),
        (two, "one slot"),
        (version, "does not exist"),
        (subnet, "does not exist"),
    ];
    for (asked, says) in cases {
        let error = provider.provision(&asked).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::InvalidSpec, "{says}: {error}");
        assert!(error.message.contains(says), "{error}");
    }
    assert!(fake.world().groups.is_empty());
}

#[tokio::test]
async fn a_lost_answer_makes_and_ends_nothing_twice() {
    let fake = Fake::start(FakeSettings::default());
    let provider = open(&fake.endpoint());
    fake.world().lose("CreateAutoScalingGroup", 1);
    let (asked, handle) = make(&*provider, &[]).await;
    assert_eq!(fake.world().groups.len(), 1);
    let mut other = asked.clone();
    other.properties = with(&[("maxSize", Value::Int(9))]);
    let error = provider.provision(&other).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert!(error.message.contains("other parameters"), "{error}");

    fake.world()
        .refuse("DeleteAutoScalingGroup", "ScalingActivityInProgress", 1);
    let ending = end(&asked, 0, &handle);
    let busy = provider.destroy(&ending).await.unwrap_err();
    assert_eq!(busy.class, ErrorClass::Throttled, "{busy}");
    fake.world().lose("DeleteAutoScalingGroup", 1);
    provider.destroy(&ending).await.unwrap();
    provider.destroy(&ending).await.unwrap();
    assert!(fake.world().groups.is_empty());
    fake.world()
        .refuse("DescribeAutoScalingGroups", "AccessDenied", 1);
    let error = provider.list(&fleet()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Auth, "never an empty listing");
}

#[tokio::test]
async fn sizes_change_at_once_and_refresh_nothing() {
    let fake = Fake::start(FakeSettings::default());
    let provider = open(&fake.endpoint());
    let (asked, handle) = make(&*provider, &[]).await;
    let [one, two] =
        ["one", "two"].map(|name| format!("arn:aws:elasticloadbalancing:x:1:targetgroup/{name}/1"));
    let groups = |arns: &[&str]| ("targetGroups", texts(arns));
    let sizes = [("minSize", Value::Int(2)), ("maxSize", Value::Int(6))];
    let more = [
        &sizes[..],
        &[groups(&[&one]), ("tags", map(&[("role", "x".into())]))],
    ]
    .concat();
    let change = update(&asked, &handle, &more);
    provider.update(&change).await.unwrap();
    assert_eq!(digests(&*provider, &handle).await, change.digests);
    assert_eq!(refreshes(&fake, &handle), 0);
    {
        let world = fake.world();
        let group = &world.groups[handle.as_str()];
        assert_eq!((group.min, group.max, group.desired), (2, 6, 2));
        assert_eq!(group.target_groups.iter().collect::<Vec<_>>(), [&one]);
        assert_eq!(group.tags["role"], ("x".to_owned(), true));
    }
    // The same call again changes nothing more, and the next one takes away what is not written.
    provider.update(&change).await.unwrap();
    let next = update(&asked, &handle, &[&sizes[..], &[groups(&[&two])]].concat());
    provider.update(&next).await.unwrap();
    let world = fake.world();
    let group = &world.groups[handle.as_str()];
    assert_eq!(group.target_groups.iter().collect::<Vec<_>>(), [&two]);
    assert!(group.refreshes.is_empty());
}

#[tokio::test]
async fn another_template_refreshes_and_has_happened_when_every_machine_has_it() {
    let fake = Fake::start(FakeSettings::default());
    let provider = open(&fake.endpoint());
    let (asked, handle) = make(&*provider, &[("minSize", Value::Int(3))]).await;
    fake.world().refreshes_wait = true;
    let how = map(&[
        ("minHealthyPercentage", Value::Int(50)),
        ("instanceWarmup", "90s".into()),
    ]);
    let second = [
        ("minSize", Value::Int(3)),
        ("launchTemplate", template("lt-1", "2")),
        ("refresh", how),
    ];
    let change = update(&asked, &handle, &second);
    provider.update(&change).await.unwrap();
    assert_eq!(digests(&*provider, &handle).await, asked.digests, "not yet");
    assert_eq!(
        listed(&*provider, &handle).await.phase,
        ProviderPhase::Running
    );
    {
        let world = fake.world();
        let wanted = ["50", "90", "true"].map(|text| Some(text.to_owned()));
        assert_eq!(
            world.groups[handle.as_str()].refreshes[0].preferences,
            wanted
        );
    }
    // The same call again starts no second one; another change waits.
    provider.update(&change).await.unwrap();
    assert_eq!(refreshes(&fake, &handle), 1);
    let third = [
        ("minSize", Value::Int(3)),
        ("launchTemplate", template("lt-1", "3")),
    ];
    let later = update(&asked, &handle, &third);
    let error = provider.update(&later).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Throttled, "{error}");
    assert_eq!(
        fake.world().groups[handle.as_str()]
            .template
            .as_ref()
            .unwrap()
            .2,
        "2"
    );

    fake.world().refreshes_wait = false;
    // One look lets it happen, the next sees it.
    listed(&*provider, &handle).await;
    assert_eq!(digests(&*provider, &handle).await, change.digests);
    let limit = Duration::from_secs(30);
    let health = provider.health(&handle, limit).await.unwrap();
    assert_eq!(health, CheckOutcome::Passing);

    // While a later change is under way, it is still what the one before made of it.
    fake.world().refreshes_wait = true;
    provider.update(&later).await.unwrap();
    assert_eq!(digests(&*provider, &handle).await, change.digests);
}

#[tokio::test]
async fn a_refresh_that_failed_is_told_and_the_next_change_begins_another() {
    // Slow enough that no answer comes within no time, which is what the last question has.
    let fake = Fake::start(FakeSettings {
        latency: Duration::from_millis(20),
        ..FakeSettings::default()
    });
    let provider = open(&fake.endpoint());
    let (asked, handle) = make(&*provider, &[]).await;
    fake.world().refreshes_wait = true;
    let second = [("launchTemplate", template("lt-1", "2"))];
    provider
        .update(&update(&asked, &handle, &second))
        .await
        .unwrap();
    {
        let mut world = fake.world();
        let group = world.groups.get_mut(handle.as_str()).unwrap();
        let refresh = group.refreshes.last_mut().unwrap();
        refresh.status = String::from("Failed");
        refresh.reason = String::from("Warmup timed out");
    }
    let limit = Duration::from_secs(30);
    let health = provider.health(&handle, limit).await.unwrap();
    let CheckOutcome::Unknown { why } = health else {
        panic!("{health:?}: a group is not replaced for its refresh");
    };
    let told = "its instance refresh is Failed: Warmup timed out; ";
    assert!(why.starts_with(told), "{why}");
    assert_eq!(digests(&*provider, &handle).await, asked.digests);
    // The group has the template already; its machines have not.
    let again = update(&asked, &handle, &second);
    provider.update(&again).await.unwrap();
    assert_eq!(refreshes(&fake, &handle), 2);
    fake.world().refreshes_wait = false;
    listed(&*provider, &handle).await;
    assert_eq!(digests(&*provider, &handle).await, again.digests);

    let gone = ProviderRef::parse("nobody").unwrap();
    let health = provider.health(&gone, limit).await.unwrap();
    assert!(matches!(health, CheckOutcome::Unknown { .. }), "{health:?}");
    let health = provider.health(&handle, Duration::ZERO).await.unwrap();
    assert!(matches!(health, CheckOutcome::Unknown { .. }), "{health:?}");
}

/// Lets the last refresh of a group fail when it has reached one of the machines.
fn fail_refresh(fake: &Fake, handle: &ProviderRef, version: &str) {
    let mut world = fake.world();
    let group = world.groups.get_mut(handle.as_str()).unwrap();
    let refresh = group.refreshes.last_mut().unwrap();
    refresh.status = String::from("Failed");
    refresh.reason = String::from("Warmup timed out");
    let living = |machine: &&mut crate::fake::Machine| machine.ended.is_none();
    let machine = world.machines.values_mut().find(living).unwrap();
    machine.image = format!("ami-{version:0>8}");
    let tag = "aws:ec2launchtemplate:version".to_owned();
    machine.tags.insert(tag, version.to_owned());
}

#[tokio::test]
async fn the_way_back_has_happened_when_every_machine_is_back_and_not_before() {
    let fake = Fake::start(FakeSettings::default());
    let provider = open(&fake.endpoint());
    let two = ("minSize", Value::Int(2));
    let (asked, handle) = make(&*provider, std::slice::from_ref(&two)).await;
    fake.world().refreshes_wait = true;
    let second = [two.clone(), ("launchTemplate", template("lt-1", "2"))];
    let forth = update(&asked, &handle, &second);
    provider.update(&forth).await.unwrap();
    fail_refresh(&fake, &handle, "2");
    assert_eq!(digests(&*provider, &handle).await, asked.digests);

    // One machine is from the second template: back it goes, with a refresh that fails as well.
    let mut back = update(&asked, &handle, &[two]);
    back.digests = asked.digests.clone();
    back.update = request(2, 1, with(&[])).token;
    provider.update(&back).await.unwrap();
    assert_eq!(refreshes(&fake, &handle), 2);
    for _ in 0..2 {
        let shown = digests(&*provider, &handle).await;
        assert_eq!(shown, forth.digests, "not yet");
    }
    fail_refresh(&fake, &handle, "2");
    let limit = Duration::from_secs(30);
    let health = provider.health(&handle, limit).await.unwrap();
    assert!(matches!(health, CheckOutcome::Unknown { .. }), "{health:?}");
    assert_eq!(digests(&*provider, &handle).await, forth.digests);

    // The same call again begins another one; when that is over, the group is what it was.
    provider.update(&back).await.unwrap();
    assert_eq!(refreshes(&fake, &handle), 3);
    assert_eq!(digests(&*provider, &handle).await, forth.digests);
    fake.world().refreshes_wait = false;
    listed(&*provider, &handle).await;
    assert_eq!(digests(&*provider, &handle).await, asked.digests);
    let health = provider.health(&handle, limit).await.unwrap();
    assert_eq!(health, CheckOutcome::Passing);
    assert_eq!(fake.world().groups.len(), 1);

    // A way back that needs no machine is over at once.
    fake.world().refreshes_wait = true;
    provider.update(&forth).await.unwrap();
    provider.update(&back).await.unwrap_err();
    let group = handle.as_str();
    fake.world()
        .groups
        .get_mut(group)
        .unwrap()
        .refreshes
        .clear();
    provider.update(&back).await.unwrap();
    assert_eq!(digests(&*provider, &handle).await, asked.digests);
}

#[tokio::test]
async fn a_change_that_is_interrupted_is_finished_by_the_same_call() {
    let second = [("launchTemplate", template("lt-1", "2"))];
    let steps = [
        "CreateOrUpdateTags",
        "UpdateAutoScalingGroup",
        "StartInstanceRefresh",
    ];
    for step in steps {
        let fake = Fake::start(FakeSettings::default());
        let provider = open(&fake.endpoint());
        let (asked, handle) = make(&*provider, &[]).await;
        let change = update(&asked, &handle, &second);
        fake.world().refuse(step, "AccessDenied", 1);
        let error = provider.update(&change).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Auth, "{step}");
        assert_eq!(digests(&*provider, &handle).await, asked.digests, "{step}");
        provider.update(&change).await.unwrap();
        listed(&*provider, &handle).await;
        assert_eq!(digests(&*provider, &handle).await, change.digests, "{step}");
        assert_eq!(refreshes(&fake, &handle), 1, "{step}");
    }
    let fake = Fake::start(FakeSettings::default());
    let provider = open(&fake.endpoint());
    let (asked, handle) = make(&*provider, &[]).await;
    let sizes = [("maxSize", Value::Int(9))];
    for step in ["UpdateAutoScalingGroup", "CreateOrUpdateTags"] {
        fake.world().refuse(step, "AccessDenied", 1);
        let change = update(&asked, &handle, &sizes);
        provider.update(&change).await.unwrap_err();
        assert_eq!(digests(&*provider, &handle).await, asked.digests, "{step}");
    }
    // What Amazon refuses leaves the group as it was, and what is noted of it.
    let noted = fake.world().groups[handle.as_str()].tags.clone();
    let missing = [("launchTemplate", template("lt-1", "99"))];
    let error = provider
        .update(&update(&asked, &handle, &missing))
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec, "{error}");
    assert_eq!(digests(&*provider, &handle).await, asked.digests);
    assert_eq!(fake.world().groups[handle.as_str()].tags, noted);
    let mut restart = update(&asked, &handle, &sizes);
    restart.how = InPlace::Restart;
    let error = provider.update(&restart).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert_eq!(refreshes(&fake, &handle), 0);
}

/// Makes two groups as others would: one whose template was changed for new machines only, and one of EKS.
async fn others(fake: &Fake) {
    let place = crate::adoption::Place::fake(fake);
    place.scale("theirs", 2).await;
    place.scale("eks", 1).await;
    let mut world = fake.world();
    for name in ["theirs", "eks"] {
        let tags = &mut world.groups.get_mut(name).unwrap().tags;
        tags.insert("app".to_owned(), ("web".to_owned(), true));
    }
    let tags = &mut world.groups.get_mut("eks").unwrap().tags;
    tags.insert("eks:nodegroup-name".to_owned(), ("x".to_owned(), true));
    let theirs = world.groups.get_mut("theirs").unwrap();
    "2".clone_into(&mut theirs.template.as_mut().unwrap().2);
}

fn adoption(handle: &str, number: u64) -> AdoptRequest {
    let instance = InstanceId::new(web(), number);
    AdoptRequest {
        fleet: fleet(),
        group: web(),
        epoch: Epoch(1),
        provider_ref: ProviderRef::parse(handle).unwrap(),
        token: Token::derive(&fleet(), &run_id(), Epoch(1), &instance, 0),
        instance,
        digests: request(1, 1, with(&[])).digests,
        seat: None,
    }
}

fn by_app() -> BTreeMap<String, String> {
    [("app".to_owned(), "web".to_owned())].into()
}

#[tokio::test]
async fn a_group_that_others_made_is_found_and_adopted_unless_it_is_claimed() {
    let fake = Fake::start(FakeSettings::default());
    others(&fake).await;
    let provider = open(&fake.endpoint());
    let survey = provider.survey(&by_app()).await.unwrap();
    let claims: BTreeMap<&str, bool> = survey
        .strangers
        .iter()
        .map(|one| (one.provider_ref.as_str(), one.claimed_by.is_some()))
        .collect();
    assert_eq!(claims, [("eks", true), ("theirs", false)].into());
    let error = provider.adopt(&adoption("eks", 2)).await.unwrap_err();
    assert!(error.message.contains("Amazon EKS"), "{error}");
    let missing = provider.adopt(&adoption("nobody", 2)).await.unwrap_err();
    assert_eq!(missing.class, ErrorClass::NotFound);
    let mut seated = adoption("theirs", 1);
    seated.seat = Some(drover_model::SeatId {
        life: run_id(),
        member: drover_model::MemberId::parse("m1").unwrap(),
    });
    let error = provider.adopt(&seated).await.unwrap_err();
    assert!(error.message.contains("quorum group"), "{error}");
    let mine = adoption("theirs", 1);
    provider.adopt(&mine).await.unwrap();
    provider.adopt(&mine).await.unwrap();
    let error = provider.adopt(&adoption("theirs", 3)).await.unwrap_err();
    assert!(error.message.contains("owner already"), "{error}");
    let one = listed(&*provider, &mine.provider_ref).await;
    assert_eq!(one.ownership.unwrap().token, mine.token);
    let survey = provider.survey(&by_app()).await.unwrap();
    assert_eq!((survey.strangers.len(), survey.owned.len()), (1, 1));
    assert_eq!(survey.owned[0].stranger.provider_ref, mine.provider_ref);
    assert_eq!(survey.owned[0].group, mine.group);
    let nothing = provider.survey(&BTreeMap::new()).await.unwrap_err();
    assert_eq!(nothing.class, ErrorClass::InvalidSpec);
}

#[tokio::test]
async fn a_group_that_was_adopted_is_changed_without_a_refresh_and_handed_back() {
    let fake = Fake::start(FakeSettings::default());
    others(&fake).await;
    let before = fake.world().groups["theirs"].clone();
    let provider = open(&fake.endpoint());
    let mine = adoption("theirs", 1);
    provider.adopt(&mine).await.unwrap();
    // A change of sizes does not replace the machines of the version before.
    let mut own = request(1, 1, with(&[]));
    own.token = mine.token.clone();
    let sizes = [
        ("maxSize", Value::Int(12)),
        ("launchTemplate", template("lt-1", "2")),
    ];
    let change = update(&own, &mine.provider_ref, &sizes);
    provider.update(&change).await.unwrap();
    assert_eq!(
        digests(&*provider, &mine.provider_ref).await,
        change.digests
    );
    assert_eq!(refreshes(&fake, &mine.provider_ref), 0);
    let sent = fake.world().groups["theirs"].templates_sent;
    assert_eq!(sent, 0, "it has the template");

    // Who is not its owner neither changes it nor lets it go.
    let owned = fake.world().groups["theirs"].clone();
    own.token = "f".repeat(32).parse().unwrap();
    let change = update(&own, &mine.provider_ref, &[("maxSize", Value::Int(3))]);
    let error = provider.update(&change).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound, "{error}");
    let other = FleetName::parse("another").unwrap();
    let released = provider.release(&other, &mine.provider_ref).await;
    assert_eq!(released.unwrap_err().class, ErrorClass::NotFound);
    let still = fake.world().groups["theirs"].clone();
    assert_eq!((still.tags, still.max), (owned.tags, 12));
    provider
        .release(&fleet(), &mine.provider_ref)
        .await
        .unwrap();
    provider
        .release(&fleet(), &mine.provider_ref)
        .await
        .unwrap();
    let after = fake.world().groups["theirs"].clone();
    assert_eq!(after.tags, before.tags);
    assert_eq!(after.max, 12);
    let nobody = ProviderRef::parse("nobody").unwrap();
    let error = provider.release(&fleet(), &nobody).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
}

#[tokio::test]
async fn a_group_without_a_launch_template_is_neither_adopted_nor_changed() {
    let fake = Fake::start(FakeSettings::default());
    others(&fake).await;
    let before = fake.world().groups["theirs"].clone();
    let provider = open(&fake.endpoint());
    let mine = adoption("theirs", 1);
    let is_refused = |what: &'static str| {
        let (provider, mine) = (&provider, &mine);
        async move {
            let survey = provider.survey(&by_app()).await.unwrap();
            let found = survey.strangers.into_iter();
            let mut found = found.filter(|one| one.provider_ref == mine.provider_ref);
            let claim = found.next().unwrap().claimed_by.unwrap();
            assert!(claim.contains(what), "{claim}");
            let error = provider.adopt(mine).await.unwrap_err();
            assert_eq!(error.class, ErrorClass::InvalidSpec);
            assert!(error.message.contains(what), "{error}");
        }
    };
    let change = |with: fn(&mut crate::fake::scaling::ScalingGroup)| {
        let mut world = fake.world();
        let theirs = world.groups.get_mut("theirs").unwrap();
        *theirs = crate::fake::scaling::ScalingGroup {
            tags: theirs.tags.clone(),
            ..before.clone()
        };
        with(theirs);
    };
    change(|theirs| theirs.mixed = true);
    is_refused("a mixed instances policy").await;
    change(|theirs| theirs.template = None);
    is_refused("a launch configuration").await;
    change(|_| {});
    provider.adopt(&mine).await.unwrap();
    // Given a policy by hand since.
    change(|theirs| theirs.mixed = true);
    let mut own = request(1, 1, with(&[]));
    own.token = mine.token.clone();
    let sizes = [("maxSize", Value::Int(12))];
    let error = provider
        .update(&update(&own, &mine.provider_ref, &sizes))
        .await;
    let error = error.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert!(error.message.contains("mixed instances policy"), "{error}");
    let after = fake.world().groups["theirs"].clone();
    assert!(after.mixed);
    assert_eq!((after.max, after.templates_sent), (before.max, 0));
}

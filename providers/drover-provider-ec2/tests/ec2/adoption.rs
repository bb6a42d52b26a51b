//! What others made: found by its tags, told with who still acts on it, and taken over with nothing else changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_autoscaling::types::LaunchTemplateSpecification as ScalingTemplate;
use aws_sdk_ec2::types::{
    InstanceType, RequestLaunchTemplateData, ResourceType, Tag, TagSpecification,
};
use drover_model::{ErrorClass, MemberId, ProviderPhase, ProviderRef, SeatId, Stranger};
use drover_provider::{AdoptRequest, DestroyRequest, Provider};

use crate::fake::{Fake, FakeSettings};
use crate::moto::Moto;
use crate::support::{
    client, factory, fleet, open, open_with, request, run_id, running_with, scaling_client,
    settings, web,
};

const GROUP_TAG: &str = "aws:autoscaling:groupName";

/// An EC2 that has instances of others.
pub(crate) struct Place {
    endpoint: String,
    image: String,
    /// The id of a launch template, and a subnet.
    pub(crate) template: String,
    pub(crate) subnet: String,
}

impl Place {
    pub(crate) fn fake(fake: &Fake) -> Self {
        Self {
            endpoint: fake.endpoint(),
            image: "ami-0123456789abcdef0".to_owned(),
            template: "lt-1".to_owned(),
            subnet: "subnet-a".to_owned(),
        }
    }

    pub(crate) async fn moto(moto: &Moto) -> Self {
        let data = RequestLaunchTemplateData::builder()
            .image_id(&moto.image)
            .instance_type(InstanceType::T3Micro);
        let client = client(&moto.endpoint).await;
        let made = client
            .create_launch_template()
            .launch_template_name("web")
            .launch_template_data(data.build())
            .send()
            .await
            .unwrap();
        let template = made.launch_template().unwrap();
        Self {
            endpoint: moto.endpoint.clone(),
            image: moto.image.clone(),
            template: template.launch_template_id().unwrap().to_owned(),
            subnet: moto.subnets[0].0.clone(),
        }
    }

    fn open(&self) -> Arc<dyn Provider> {
        open(&factory(&self.endpoint))
    }

    /// Launches an instance as somebody else would.
    async fn launch(&self, tags: &[(&str, &str)]) -> String {
        let tags = tags.iter();
        let tags = tags.map(|(key, value)| Tag::builder().key(*key).value(*value).build());
        let specification = TagSpecification::builder()
            .resource_type(ResourceType::Instance)
            .set_tags(Some(tags.collect()));
        let launched = client(&self.endpoint)
            .await
            .run_instances()
            .image_id(&self.image)
            .instance_type(InstanceType::T3Micro)
            .subnet_id(&self.subnet)
            .min_count(1)
            .max_count(1)
            .tag_specifications(specification.build())
            .send()
            .await
            .unwrap();
        launched.instances()[0].instance_id().unwrap().to_owned()
    }

    /// Makes a scaling group as somebody else would.
    pub(crate) async fn scale(&self, name: &str, size: i32) {
        let template = ScalingTemplate::builder()
            .launch_template_id(&self.template)
            .version("1");
        scaling_client(&self.endpoint)
            .await
            .create_auto_scaling_group()
            .auto_scaling_group_name(name)
            .min_size(1)
            .max_size(9)
            .desired_capacity(size)
            .vpc_zone_identifier(&self.subnet)
            .launch_template(template.build())
            .send()
            .await
            .unwrap();
    }

    pub(crate) async fn suspend(&self, name: &str, processes: &[&str]) {
        let processes = processes.iter().map(|one| (*one).to_owned()).collect();
        scaling_client(&self.endpoint)
            .await
            .suspend_processes()
            .auto_scaling_group_name(name)
            .set_scaling_processes(Some(processes))
            .send()
            .await
            .unwrap();
    }
}

fn tags(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
    let tags = tags.iter();
    tags.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn adoption(number: u64, handle: &str) -> AdoptRequest {
    let asked = request(number, 1, running_with(&[]));
    AdoptRequest {
        fleet: asked.fleet,
        group: asked.group,
        epoch: asked.epoch,
        provider_ref: ProviderRef::parse(handle).unwrap(),
        instance: asked.slots[0].instance.clone(),
        token: asked.token,
        digests: asked.digests,
        seat: None,
    }
}

async fn survey(provider: &dyn Provider, asked: &[(&str, &str)]) -> BTreeMap<String, Stranger> {
    let survey = provider.survey(&tags(asked)).await.unwrap();
    let strangers = survey.strangers.into_iter();
    strangers
        .map(|one| (one.provider_ref.to_string(), one))
        .collect()
}

async fn is_found_and_taken_over(place: &Place) {
    let provider = place.open();
    let first = place.launch(&[("app", "web"), ("team", "a & b")]).await;
    let second = place.launch(&[("app", "web")]).await;
    place.launch(&[("app", "db")]).await;
    let gone = place.launch(&[("app", "web")]).await;
    let terminated = client(&place.endpoint).await.terminate_instances();
    terminated.instance_ids(&gone).send().await.unwrap();
    let mut own = request(
        50,
        1,
        running_with(&[("imageId", place.image.as_str().into())]),
    );
    own.slots[0].tags.insert("app".to_owned(), "web".to_owned());
    provider.provision(&own).await.unwrap();

    let found = survey(&*provider, &[("app", "web")]).await;
    let handles: Vec<&String> = found.keys().collect();
    let mut expected = [&first, &second];
    expected.sort();
    assert_eq!(
        handles, expected,
        "neither the owned nor the terminated one"
    );
    let stranger = &found[&first];
    assert_eq!(stranger.phase, ProviderPhase::Running);
    assert_eq!(stranger.claimed_by, None);
    assert_eq!(stranger.tags["team"], "a & b");
    assert!(stranger.address.is_some() && stranger.zone.is_some());
    assert!(stranger.created_at.is_some());
    let both = survey(&*provider, &[("app", "web"), ("team", "a & b")]).await;
    assert_eq!(both.len(), 1, "all tags, not any");

    is_adopted_and_handed_back(place, &first, &second).await;
}

/// What becomes of the first of two, of which nobody is the owner.
async fn is_adopted_and_handed_back(place: &Place, first: &str, second: &String) {
    let provider = place.open();
    let asked = adoption(7, first);
    provider.adopt(&asked).await.unwrap();
    provider.adopt(&asked).await.unwrap();
    let again = adoption(8, first);
    let refused = provider.adopt(&again).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    assert!(refused.message.contains("owner already"), "{refused}");
    let elsewhere = open_with(&factory(&place.endpoint), "other", &settings());
    let refused = elsewhere.adopt(&asked).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec, "another document's");

    let found = survey(&*provider, &[("app", "web")]).await;
    assert_eq!(found.keys().collect::<Vec<_>>(), [second]);
    let all = provider.survey(&tags(&[("app", "web")])).await.unwrap();
    let mut owned = all.owned.iter();
    let owned = owned.find(|one| one.stranger.provider_ref.as_str() == first);
    let owned = owned.unwrap();
    assert_eq!((&owned.fleet, &owned.group), (&asked.fleet, &asked.group));
    let listing = provider.list(&fleet()).await.unwrap();
    let mut listed = listing.instances.iter();
    let listed = listed
        .find(|one| one.provider_ref.as_str() == first)
        .unwrap();
    let owned = listed.ownership.as_ref().unwrap();
    assert_eq!(listed.phase, ProviderPhase::Running);
    assert_eq!(
        (&owned.instance, &owned.token),
        (&asked.instance, &asked.token)
    );
    assert_eq!(owned.digests, asked.digests);

    // Handed back, it is what it was.
    provider
        .release(&fleet(), &asked.provider_ref)
        .await
        .unwrap();
    let found = survey(&*provider, &[("app", "web")]).await;
    assert_eq!(
        found[first].tags,
        tags(&[("app", "web"), ("team", "a & b")])
    );
    provider.adopt(&again).await.unwrap();
    let end = DestroyRequest {
        fleet: again.fleet.clone(),
        group: again.group.clone(),
        epoch: again.epoch,
        instance: again.instance.clone(),
        provider_ref: again.provider_ref.clone(),
        token: again.token.clone(),
        grace: std::time::Duration::ZERO,
        ending: drover_provider::Ending::default(),
    };
    provider.destroy(&end).await.unwrap();
    assert_eq!(survey(&*provider, &[("app", "web")]).await.len(), 1);
}

#[tokio::test]
async fn what_others_made_is_found_by_its_tags_and_taken_over_with_nothing_else_changed() {
    let fake = Fake::start(FakeSettings::default());
    is_found_and_taken_over(&Place::fake(&fake)).await;
}

#[tokio::test]
async fn an_ec2_of_somebody_elses_has_instances_that_can_be_taken_over() {
    let moto = Moto::start().await;
    is_found_and_taken_over(&Place::moto(&moto).await).await;
}

/// Returns who claims the instances of a scaling group, all the same.
async fn claim(provider: &dyn Provider, name: &str, count: usize) -> Option<String> {
    let found = survey(provider, &[(GROUP_TAG, name)]).await;
    assert_eq!(found.len(), count);
    let mut claims: Vec<_> = found.into_values().map(|one| one.claimed_by).collect();
    claims.dedup();
    assert_eq!(claims.len(), 1, "{claims:?}");
    claims.remove(0)
}

async fn is_left_alone_until_its_processes_are_suspended(place: &Place) {
    let provider = place.open();
    place.scale("web", 2).await;
    let words = claim(&*provider, "web", 2).await.unwrap();
    let command = "aws autoscaling suspend-processes --auto-scaling-group-name web --scaling-processes Launch Terminate HealthCheck ReplaceUnhealthy AZRebalance ScheduledActions AlarmNotification InstanceRefresh";
    assert!(
        words.starts_with("the Auto Scaling group web (Launch, Terminate, ")
            && words.ends_with(command),
        "{words}"
    );
    let found = survey(&*provider, &[(GROUP_TAG, "web")]).await;
    let handle = found.keys().next().unwrap();
    let refused = provider.adopt(&adoption(1, handle)).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    assert!(refused.message.contains("suspend-processes"), "{refused}");
    let listing = provider.list(&fleet()).await.unwrap();
    assert!(listing.instances.is_empty(), "nothing was tagged");

    place
        .suspend(
            "web",
            &[
                "Launch",
                "Terminate",
                "HealthCheck",
                "ReplaceUnhealthy",
                "AZRebalance",
            ],
        )
        .await;
    let words = claim(&*provider, "web", 2).await.unwrap();
    let rest = "(ScheduledActions, AlarmNotification, InstanceRefresh not suspended)";
    assert!(words.contains(rest), "{words}");
    place
        .suspend(
            "web",
            &["ScheduledActions", "AlarmNotification", "InstanceRefresh"],
        )
        .await;
    assert_eq!(claim(&*provider, "web", 2).await, None);
    provider.adopt(&adoption(1, handle)).await.unwrap();
    assert_eq!(claim(&*provider, "web", 1).await, None);
}

#[tokio::test]
async fn a_scaling_groups_instances_are_left_alone_until_its_processes_are_suspended() {
    let fake = Fake::start(FakeSettings::default());
    is_left_alone_until_its_processes_are_suspended(&Place::fake(&fake)).await;
    // The claim costs two calls, however many instances there are.
    fake.calls();
    let provider = open(&factory(&fake.endpoint()));
    survey(&*provider, &[(GROUP_TAG, "web")]).await;
    let calls = fake.calls();
    let expected = [
        "DescribeAutoScalingGroups",
        "DescribeAutoScalingInstances",
        "DescribeInstances",
    ];
    assert_eq!(
        calls.into_iter().collect::<Vec<_>>(),
        expected.map(|one| (one.to_owned(), 1))
    );
}

#[tokio::test]
async fn an_auto_scaling_of_somebody_elses_says_the_same() {
    let moto = Moto::start().await;
    is_left_alone_until_its_processes_are_suspended(&Place::moto(&moto).await).await;
}

#[tokio::test]
async fn what_left_its_scaling_group_is_free_and_what_is_being_deleted_is_not() {
    let fake = Fake::start(FakeSettings::default());
    let place = Place::fake(&fake);
    let provider = place.open();
    place.scale("web", 3).await;
    let ids: Vec<String> = fake.world().machines.keys().cloned().collect();
    {
        let mut world = fake.world();
        let standby = Some(("web".to_owned(), "Standby".to_owned()));
        world.machines.get_mut(&ids[0]).unwrap().scaling = standby;
        let pool = Some(("web".to_owned(), "Warmed:Stopped".to_owned()));
        world.machines.get_mut(&ids[1]).unwrap().scaling = pool;
        // Amazon takes the tag off, too; it need not have happened yet.
        world.machines.get_mut(&ids[2]).unwrap().scaling = None;
        world.groups.get_mut("web").unwrap().desired = 2;
    }
    let found = survey(&*provider, &[(GROUP_TAG, "web")]).await;
    assert_eq!(found[&ids[0]].claimed_by, None, "in standby");
    assert!(found[&ids[1]].claimed_by.is_some(), "in the warm pool");
    assert_eq!(found[&ids[2]].claimed_by, None, "detached");

    let all = [
        "Launch",
        "Terminate",
        "HealthCheck",
        "ReplaceUnhealthy",
        "AZRebalance",
        "ScheduledActions",
        "AlarmNotification",
        "InstanceRefresh",
    ];
    place.suspend("web", &all).await;
    let found = survey(&*provider, &[(GROUP_TAG, "web")]).await;
    assert!(found.values().all(|one| one.claimed_by.is_none()));
    // Nothing but the deletion itself is stopped by that.
    fake.world().settings.stop = std::time::Duration::from_hours(1);
    fake.world().groups.get_mut("web").unwrap().deleting = true;
    let found = survey(&*provider, &[(GROUP_TAG, "web")]).await;
    let claim = found[&ids[1]].claimed_by.as_ref().unwrap();
    assert!(claim.ends_with("which is being deleted"), "{claim}");
    // A group that an instance is in and that is not described is somebody, too.
    fake.world().groups.clear();
    let found = survey(&*provider, &[(GROUP_TAG, "web")]).await;
    let claim = found[&ids[1]].claimed_by.as_ref().unwrap();
    assert!(claim.ends_with("which is not described"), "{claim}");
}

#[tokio::test]
async fn who_else_acts_must_be_known() {
    let fake = Fake::start(FakeSettings::default());
    let place = Place::fake(&fake);
    let provider = place.open();
    place.scale("web", 1).await;
    let asked = tags(&[(GROUP_TAG, "web")]);
    for action in ["DescribeAutoScalingInstances", "DescribeAutoScalingGroups"] {
        fake.world().refuse(action, "AccessDenied", 1);
        let error = provider.survey(&asked).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Auth, "{error}");
        assert!(error.message.starts_with(action), "{error}");
    }
    let nothing = provider.survey(&BTreeMap::new()).await.unwrap_err();
    assert_eq!(nothing.class, ErrorClass::InvalidSpec, "{nothing}");
    fake.world()
        .refuse("DescribeInstances", "UnauthorizedOperation", 1);
    let error = provider.survey(&asked).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Auth);
    assert_eq!(provider.survey(&asked).await.unwrap().strangers.len(), 1);
}

#[tokio::test]
async fn a_survey_of_many_asks_for_fifty_at_a_time() {
    let fake = Fake::start(FakeSettings::default());
    let place = Place::fake(&fake);
    let provider = place.open();
    fake.world().scaling_page = 1;
    for name in ["web", "api"] {
        place.scale(name, 1).await;
    }
    {
        let mut world = fake.world();
        for group in ["web", "api"] {
            world.groups.get_mut(group).unwrap().max = 99;
            world.groups.get_mut(group).unwrap().desired = 60;
        }
    }
    survey(&*provider, &[(GROUP_TAG, "web")]).await;
    let ids: Vec<String> = fake.world().machines.keys().cloned().collect();
    for id in ids {
        let mut world = fake.world();
        let machine = world.machines.get_mut(&id).unwrap();
        machine.tags.insert("app".to_owned(), "all".to_owned());
    }
    fake.calls();
    let found = survey(&*provider, &[("app", "all")]).await;
    assert_eq!(found.len(), 120);
    assert!(found.values().all(|one| one.claimed_by.is_some()));
    let calls = fake.calls();
    assert_eq!(calls["DescribeAutoScalingInstances"], 3);
    assert_eq!(calls["DescribeAutoScalingGroups"], 2, "two pages of one");
}

#[tokio::test]
async fn an_adoption_that_cannot_be_is_refused_and_tags_nothing() {
    let fake = Fake::start(FakeSettings::default());
    let place = Place::fake(&fake);
    let provider = place.open();
    let id = place.launch(&[("app", "web")]).await;
    let mut seated = adoption(1, &id);
    seated.seat = Some(SeatId {
        life: run_id(),
        member: MemberId::parse("m1").unwrap(),
    });
    let error = provider.adopt(&seated).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec, "{error}");
    assert!(error.message.contains("network interface"), "{error}");

    let missing = provider.adopt(&adoption(1, "i-00000000000000000")).await;
    assert_eq!(missing.unwrap_err().class, ErrorClass::NotFound);
    let ended = place.launch(&[("app", "web")]).await;
    let ending = client(&place.endpoint).await.terminate_instances();
    ending.instance_ids(&ended).send().await.unwrap();
    let error = provider.adopt(&adoption(1, &ended)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound, "{error}");

    for number in 0..44 {
        let mut world = fake.world();
        let machine = world.machines.get_mut(&id).unwrap();
        machine.tags.insert(format!("tag-{number}"), String::new());
    }
    let error = provider.adopt(&adoption(1, &id)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert!(error.message.contains("52 tags"), "{error}");
    fake.world()
        .refuse("CreateTags", "UnauthorizedOperation", 1);
    let other = place.launch(&[("app", "web")]).await;
    let error = provider.adopt(&adoption(1, &other)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Auth);
    let tagged = |id: &str| {
        fake.world().machines[id]
            .tags
            .keys()
            .any(|key| key.starts_with("drover."))
    };
    assert!(!tagged(&id) && !tagged(&other) && !tagged(&ended));
}

#[tokio::test]
async fn of_two_agents_that_adopt_at_once_one_does() {
    let fake = Fake::start(FakeSettings::default());
    let place = Place::fake(&fake);
    let provider = place.open();
    let id = place.launch(&[("app", "web")]).await;
    fake.world().rival = Some(tags(&[("drover.fleet", "staging")]));
    let error = provider.adopt(&adoption(1, &id)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert!(error.message.contains("another agent"), "{error}");

    // What EC2 does not show yet may have happened: the same call again finds it.
    let id = place.launch(&[("app", "web")]).await;
    let asked = adoption(2, &id);
    fake.world().tags_behind = 9;
    let error = provider.adopt(&asked).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unknown, "{error}");
    fake.world().tags_behind = 0;
    provider.adopt(&asked).await.unwrap();
    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.instances.len(), 1);
    let owned = listing.instances[0].ownership.as_ref().unwrap();
    assert_eq!(*owned.instance.group(), web());
    // A lost answer, too: it is asked for again within the call.
    let id = place.launch(&[("app", "web")]).await;
    fake.world().lose("CreateTags", 1);
    provider.adopt(&adoption(3, &id)).await.unwrap();
}

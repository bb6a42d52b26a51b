//! Surveys and adoptions.

use std::collections::BTreeMap;

use drover_model::{
    Digests, Epoch, ErrorClass, FleetName, GroupName, InstanceId, Ownership, ProviderRef,
    Timestamp, Token,
};
use drover_provider::AdoptRequest;

use crate::{Fault, FaultKind, Foreign, Op, SimSettings, SimWorld};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn tags(group: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("infrakit.group".to_owned(), group.to_owned())])
}

fn request(handle: &ProviderRef, number: u64) -> AdoptRequest {
    let group = GroupName::parse("web").unwrap();
    AdoptRequest {
        fleet: FleetName::parse("prod").unwrap(),
        instance: InstanceId::new(group.clone(), number),
        group,
        epoch: Epoch(1),
        provider_ref: handle.clone(),
        token: Token::parse(&"a".repeat(32)).unwrap(),
        digests: Digests::of_own_revision(),
        seat: None,
    }
}

fn found(world: &mut SimWorld, group: &str) -> Vec<ProviderRef> {
    let survey = world.survey(at(1), &tags(group)).result.unwrap();
    survey
        .strangers
        .into_iter()
        .map(|one| one.provider_ref)
        .collect()
}

fn world() -> SimWorld {
    SimWorld::new(SimSettings::default())
}

#[test]
fn surveys_what_has_the_tags_and_nobodys_ownership() {
    let mut world = world();
    let one = world.add_stranger(at(0), tags("workers"), Some("10.0.0.1"));
    world.add_stranger(at(0), tags("others"), None);
    world.add_foreign(at(0), Foreign::Untagged);
    let fleet = FleetName::parse("prod").unwrap();
    world.add_foreign(at(0), Foreign::Incomplete(fleet));
    assert_eq!(found(&mut world, "workers"), [one]);
    let survey = world.survey(at(1), &tags("workers")).result.unwrap();
    assert_eq!(survey.strangers[0].member.as_deref(), Some("10.0.0.1"));
    assert_eq!(survey.as_of, at(1));
}

#[test]
fn adopts_once_and_lists_it_with_its_ownership_from_then_on() {
    let mut world = world();
    let one = world.add_stranger(at(0), tags("workers"), None);
    let adopt = request(&one, 1);
    assert_eq!(world.adopt(at(1), &adopt).result, Ok(()));
    assert_eq!(world.adopt(at(2), &adopt).result, Ok(()));
    assert_eq!(world.stats().adopted, 1);
    assert_eq!(found(&mut world, "workers"), []);
    let survey = world.survey(at(3), &tags("workers")).result.unwrap();
    let owned = &survey.owned[0];
    assert_eq!((&owned.fleet, &owned.group), (&adopt.fleet, &adopt.group));
    assert_eq!(owned.stranger.provider_ref, one);
    let listing = world.list(at(3), &adopt.fleet).result.unwrap();
    let owner = listing.instances[0].ownership.clone().unwrap();
    assert_eq!((owner.instance, owner.token), (adopt.instance, adopt.token));
}

#[test]
fn refuses_what_another_owner_acts_on_or_has_tagged_or_what_is_gone() {
    let mut world = world();
    let claimed = world.add_stranger(at(0), tags("workers"), None);
    world.claim(&claimed, Some("the group workers"));
    let refused = world
        .adopt(at(1), &request(&claimed, 1))
        .result
        .unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    assert!(
        refused
            .message
            .ends_with("still has another owner: the group workers")
    );

    let request_of_others = request(&claimed, 2);
    let owner = Ownership {
        fleet: FleetName::parse("other").unwrap(),
        group: request_of_others.group.clone(),
        instance: request_of_others.instance.clone(),
        digests: request_of_others.digests.clone(),
        token: request_of_others.token.clone(),
        epoch: Epoch(1),
        seat: None,
    };
    let owned = world.add_foreign(at(0), Foreign::Owned(Box::new(owner)));
    let refused = world.adopt(at(1), &request(&owned, 2)).result.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    assert_eq!(world.stats().foreign_touches, 2);

    world.vanish(&claimed, at(2));
    let gone = world
        .adopt(at(3), &request(&claimed, 1))
        .result
        .unwrap_err();
    assert_eq!(gone.class, ErrorClass::NotFound);
}

#[test]
fn a_survey_that_is_cut_off_says_so_and_a_late_adoption_takes_effect() {
    use drover_model::Completeness;
    let mut world = world();
    let one = world.add_stranger(at(0), tags("workers"), None);
    let cut = FaultKind::Truncated {
        keep: 0,
        declared: true,
    };
    world.inject(Fault::next(Op::Survey, 1, cut));
    let survey = world.survey(at(1), &tags("workers")).result.unwrap();
    assert!(matches!(survey.completeness, Completeness::Partial { .. }));
    let late = FaultKind::LateEffect(std::time::Duration::from_secs(10));
    world.inject(Fault::next(Op::Adopt, 1, late));
    let unknown = world.adopt(at(1), &request(&one, 1)).result.unwrap_err();
    assert_eq!(unknown.class, ErrorClass::Unknown);
    assert_eq!(found(&mut world, "workers").len(), 1);
    assert_eq!(
        world
            .survey(at(12), &tags("workers"))
            .result
            .unwrap()
            .strangers,
        []
    );
}

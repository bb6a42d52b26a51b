use drover_model::GroupName;

use super::Claim;

fn told(instances: usize, others: usize) -> String {
    let group = GroupName::parse("web").unwrap();
    let claim = Claim {
        group,
        instances,
        others,
    };
    let told = claim.tell("far");
    let told = told.strip_prefix("provider far lists ");
    told.unwrap().to_owned()
}

#[test]
fn a_claim_counts_instances_and_groups() {
    assert_eq!(told(1, 0), "1 instance of group web, which does not use it");
    assert_eq!(
        told(2, 1),
        "2 instances of group web, which does not use it, and some of another group"
    );
    assert_eq!(
        told(3, 2),
        "3 instances of group web, which does not use it, and some of 2 other groups"
    );
}

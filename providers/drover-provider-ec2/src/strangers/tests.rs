use super::*;

fn seen(tags: &[&str]) -> Seen {
    let instance = Instance::builder().instance_id("i-1");
    let mut seen = Seen::of(&instance.build()).unwrap();
    seen.tags = tags
        .iter()
        .map(|key| ((*key).to_owned(), "x".to_owned()))
        .collect();
    seen
}

#[test]
fn tags_of_others_that_make_instances_are_told_by_their_names() {
    let cases = [
        (&["Name", "team"][..], None),
        (
            &["aws:ec2:fleet-id"],
            Some("an EC2 Fleet (tag aws:ec2:fleet-id)"),
        ),
        (
            &["aws:ec2spot:fleet-request-id"],
            Some("a Spot Fleet request (tag aws:ec2spot:fleet-request-id)"),
        ),
        (
            &["aws:eks:cluster-name"],
            Some("Amazon EKS (tag aws:eks:cluster-name)"),
        ),
        (
            &["karpenter.sh/nodepool", "aws:ec2:fleet-id"],
            Some("Karpenter (tag karpenter.sh/nodepool)"),
        ),
        // Auto Scaling launches by fleets that do nothing afterwards.
        (&["aws:autoscaling:groupName", "aws:ec2:fleet-id"], None),
        (
            &["aws:autoscaling:groupName", "eks:nodegroup-name"],
            Some("Amazon EKS (tag eks:nodegroup-name)"),
        ),
    ];
    for (tags, expected) in cases {
        assert_eq!(owner_by_tag(&seen(tags)).as_deref(), expected, "{tags:?}");
    }
}

#[test]
fn half_an_owner_is_an_owner() {
    assert!(!is_owned(&seen(&["Name"])));
    for key in tags::OWNER {
        assert!(is_owned(&seen(&[key])), "{key}");
    }
}

#[test]
fn a_value_with_wildcards_is_asked_for_literally() {
    assert_eq!(literally(r"a*b?c\d"), r"a\*b\?c\\d");
    assert_eq!(literally("plain"), "plain");
}

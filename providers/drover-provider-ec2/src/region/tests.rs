use std::sync::atomic::{AtomicUsize, Ordering};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::operation::describe_instances::DescribeInstancesError;

use super::*;

type Failure = SdkError<DescribeInstancesError>;

fn region() -> Region {
    let account = Account {
        region: "eu-west-1".to_owned(),
        profile: None,
    };
    let reach = Reach {
        endpoint: None,
        scaling_endpoint: None,
        limit_share: 100,
        allow_imdsv1: false,
        credentials: None,
    };
    let mut region = Region::new(account, reach, &Arc::default());
    region.clients.kept = Duration::ZERO;
    region
}

fn clients() -> Clients {
    let ec2 = aws_sdk_ec2::Config::builder();
    let scaling = aws_sdk_autoscaling::Config::builder();
    Clients {
        ec2: Client::from_conf(ec2.behavior_version_latest().build()),
        scaling: aws_sdk_autoscaling::Client::from_conf(scaling.behavior_version_latest().build()),
    }
}

/// Returns how often clients were made once a call has failed in this way.
async fn made_after(failure: fn() -> Failure) -> usize {
    let (region, made) = (region(), AtomicUsize::new(0));
    let get = || {
        region.clients.get(|| async {
            made.fetch_add(1, Ordering::Relaxed);
            clients()
        })
    };
    get().await;
    let cost = Cost {
        action: "DescribeInstances",
        limit: Limit::Describe,
        priority: Priority::Make(Urgency::Heal),
    };
    let answered: Result<(), CallError> = region.call(cost, async || Err(failure())).await;
    answered.unwrap_err();
    get().await;
    made.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_call_whose_credentials_are_refused_has_them_looked_for_again() {
    let refused = || Failure::construction_failure(CredentialsError::not_loaded("they are away"));
    assert_eq!(made_after(refused).await, 2);
    let other = || Failure::construction_failure("a field is missing");
    assert_eq!(made_after(other).await, 1);
}

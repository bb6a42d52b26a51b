use std::sync::atomic::{AtomicUsize, Ordering};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::operation::describe_instances::DescribeInstancesError;

use super::*;

type Failure = SdkError<DescribeInstancesError>;

fn region() -> Region {
    region_at(None)
}

fn region_at(endpoint: Option<String>) -> Region {
    let account = Account {
        region: "eu-west-1".to_owned(),
        profile: None,
    };
    let reach = Reach {
        credentials: endpoint.as_ref().map(|_| {
            let key = aws_credential_types::Credentials::new("key", "secret", None, None, "test");
            SharedCredentialsProvider::new(key)
        }),
        endpoint,
        scaling_endpoint: None,
        limit_share: 100,
        allow_imdsv1: false,
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
        reached: Default::default(),
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

const LISTING: Cost = Cost {
    action: "DescribeInstances",
    limit: Limit::Describe,
    priority: Priority::Observe,
};

/// Lists instances at an endpoint that gives no answer, and returns what is said of that.
async fn said_of(endpoint: String) -> String {
    let region = region_at(Some(endpoint));
    let request = region.client().await.describe_instances();
    let answered = region.call(LISTING, || request.clone().send()).await;
    let error = answered.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unknown);
    error.to_string()
}

/// Returns a listener of this machine and the endpoint that it is.
async fn listener() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

#[tokio::test]
async fn who_refuses_connections_is_named_with_the_call() {
    let (closed, endpoint) = listener().await;
    drop(closed);
    let said = said_of(endpoint.clone()).await;
    let expected = format!(
        "DescribeInstances: no answer from {endpoint}, for the region eu-west-1, in 3 tries of 20 s at most (5 s to connect): "
    );
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("onnection refused"), "{said}");
}

#[tokio::test]
async fn who_never_answers_is_given_up_before_an_agent_gives_the_listing_up() {
    let (listener, endpoint) = listener().await;
    let answering = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            // From here on time passes as soon as nothing else happens.
            if held.is_empty() {
                tokio::time::pause();
            }
            held.push(stream);
        }
    });
    let begun = tokio::time::Instant::now();
    let said = said_of(endpoint.clone()).await;
    let elapsed = begun.elapsed();
    answering.abort();
    let expected = format!("DescribeInstances: no answer from {endpoint}, for");
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("in 2 tries of 20 s at most"), "{said}");
    assert!(elapsed < Duration::from_secs(50), "{elapsed:?}");
}

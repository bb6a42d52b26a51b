use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn clients() -> Clients {
    let ec2 = aws_sdk_ec2::Config::builder();
    let scaling = aws_sdk_autoscaling::Config::builder();
    Clients {
        ec2: Client::from_conf(ec2.behavior_version_latest().build()),
        scaling: aws_sdk_autoscaling::Client::from_conf(scaling.behavior_version_latest().build()),
        reached: Default::default(),
    }
}

fn current(variables: &[(&str, &Path)]) -> Current {
    let variables: BTreeMap<&str, &Path> = variables.iter().copied().collect();
    Current::new(|name| variables.get(name).map(|path| path.as_os_str().to_owned()))
}

/// Counts how often clients are made.
async fn get(current: &Current, made: &AtomicUsize) -> usize {
    current
        .get(|| async {
            made.fetch_add(1, Ordering::Relaxed);
            clients()
        })
        .await;
    made.load(Ordering::Relaxed)
}

#[tokio::test]
async fn clients_are_made_anew_when_a_file_changes() {
    let home = tempfile::tempdir().unwrap();
    let current = current(&[("HOME", home.path())]);
    let made = AtomicUsize::new(0);
    assert_eq!(get(&current, &made).await, 1);
    assert_eq!(get(&current, &made).await, 1);
    fs::create_dir(home.path().join(".aws")).unwrap();
    for (number, file) in (2..).zip(["credentials", "config", "credentials"]) {
        let path = home.path().join(".aws").join(file);
        fs::write(&path, format!("# {number}")).unwrap();
        // A clock may be coarser than this test is fast.
        let later = std::time::SystemTime::now() + Duration::from_secs(number as u64);
        fs::File::open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(get(&current, &made).await, number);
        assert_eq!(get(&current, &made).await, number);
    }
}

#[tokio::test]
async fn refused_credentials_are_looked_for_again_and_not_at_each_call() {
    let mut current = current(&[]);
    let made = AtomicUsize::new(0);
    assert_eq!(get(&current, &made).await, 1);
    current.refused().await;
    assert_eq!(get(&current, &made).await, 1, "they are new");
    current.kept = Duration::ZERO;
    current.refused().await;
    assert_eq!(get(&current, &made).await, 2);
    assert_eq!(get(&current, &made).await, 2);
    assert_eq!(KEPT, Duration::from_secs(30), "as the page says");
}

#[test]
fn the_files_are_where_the_sdk_reads_them() {
    let (home, config) = (Path::new("/home/jane"), Path::new("~/aws/config"));
    let found = current(&[("HOME", home), ("AWS_CONFIG_FILE", config)]);
    let below = |path| home.join(path);
    assert_eq!(
        found.files,
        [below("aws/config"), below(".aws/credentials")]
    );
    let elsewhere = Path::new("/etc/keys");
    let found = current(&[("AWS_SHARED_CREDENTIALS_FILE", elsewhere)]);
    assert_eq!(found.files, [elsewhere]);
}

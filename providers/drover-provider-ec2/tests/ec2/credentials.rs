//! Where the program finds credentials: each place of the SDK's chain but that of the environment, with what answers there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;

use crate::fake::{Fake, FakeSettings};
use crate::program::within;
use crate::proxy::received;
use crate::support::{drawn, fleet};

const ROLE: &str = "arn:aws:iam::123456789012:role/fleet";

/// Answers of a server on this machine, by the path or the action that is asked for. It ends with its test.
fn serving(answers: BTreeMap<&'static str, String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let mut reader = BufReader::new(stream);
            let Ok((head, body)) = received(&mut reader) else {
                continue;
            };
            let asked = format!("{} {body}", head.lines().next().unwrap_or_default());
            // The longest that fits: one path begins with another.
            let mut found = answers.iter().rev();
            let found = found.find(|(what, _)| asked.contains(*what));
            let (status, text) = found.map_or((404, ""), |(_, text)| (200, text.as_str()));
            let head = format!(
                "HTTP/1.1 {status} X\r\nConnection: close\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: {}\r\n\r\n",
                text.len()
            );
            let _ = reader.into_inner().write_all((head + text).as_bytes());
        }
    });
    address
}

/// What the security token service answers to who takes a role.
fn assumed(action: &str, key: &str) -> String {
    let secret = drawn();
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser>\
         <AssumedRoleId>A:s</AssumedRoleId><Arn>{ROLE}/s</Arn></AssumedRoleUser><Credentials><AccessKeyId>{key}</AccessKeyId>\
         <SecretAccessKey>{secret}</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
         </Credentials></{action}Result></{action}Response>"
    )
}

/// Credentials as JSON, in the words of those who hand them out.
fn handed_out(key: &str) -> String {
    let secret = drawn();
    serde_json::json!({
        "Version": 1, "Code": "Success", "AccessKeyId": key, "SecretAccessKey": secret,
        "Token": "t", "SessionToken": "t", "Expiration": "2099-01-01T00:00:00Z"
    })
    .to_string()
}

/// Asserts that the program signs with the key where only `place` has it, which fills a home and says an environment.
async fn found_by(place: impl FnOnce(&Path, &str) -> Vec<(&'static str, String)>) {
    let fake = Fake::start(FakeSettings::default());
    let key = drawn();
    fake.world().key = Some(key.clone());
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    let mut environment = place(home.path(), &key);
    environment.push(("AWS_REGION", "eu-central-1".to_owned()));
    let (_program, provider) = within(home.path(), &fake, &environment).await;
    provider.list(&fleet()).await.unwrap();
}

fn config(home: &Path, text: &str) {
    fs::write(home.join(".aws/config"), text).unwrap();
}

#[tokio::test]
async fn a_process_of_the_profile_is_asked() {
    found_by(|home, key| {
        let file = home.join("said");
        fs::write(&file, handed_out(key)).unwrap();
        let process = format!(
            "[default]\ncredential_process = /bin/cat {}\n",
            file.display()
        );
        config(home, &process);
        Vec::new()
    })
    .await;
}

#[tokio::test]
async fn a_person_who_has_signed_in_is_handed_those_of_a_role() {
    found_by(|home, key| {
        config(
            home,
            "[default]\nsso_session = work\nsso_account_id = 123456789012\nsso_role_name = fleet\n\
             [sso-session work]\nsso_region = eu-central-1\nsso_start_url = https://fleet.awsapps.com/start\n",
        );
        // What `aws sso login` leaves, under the SHA-1 of the session's name.
        let cache = home.join(".aws/sso/cache");
        fs::create_dir_all(&cache).unwrap();
        let token = serde_json::json!({"accessToken": drawn(), "expiresAt": "2099-01-01T00:00:00Z"});
        let name = "e274eeff768c6396088ec6eb091f4bf4d47ab1e0.json";
        fs::write(cache.join(name), token.to_string()).unwrap();
        let answer = serde_json::json!({"roleCredentials": {
            "accessKeyId": key, "secretAccessKey": drawn(), "sessionToken": "t", "expiration": 4_070_908_800_000_i64,
        }});
        let portal = serving([("GET /federation/credentials?", answer.to_string())].into());
        vec![("AWS_ENDPOINT_URL_SSO", portal)]
    })
    .await;
}

#[tokio::test]
async fn a_role_is_taken_with_the_key_of_another_profile() {
    found_by(|home, key| {
        let other = format!(
            "[profile base]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            drawn(),
            drawn()
        );
        let role = format!("[default]\nrole_arn = {ROLE}\nsource_profile = base\n");
        config(home, &(role + &other));
        let answer = assumed("AssumeRole", key);
        let sts = serving([("Action=AssumeRole&", answer)].into());
        vec![("AWS_ENDPOINT_URL_STS", sts)]
    })
    .await;
}

#[tokio::test]
async fn a_token_of_a_web_identity_is_changed_for_a_role() {
    found_by(|home, key| {
        let token = home.join("token");
        fs::write(&token, "a.b.c").unwrap();
        let answer = assumed("AssumeRoleWithWebIdentity", key);
        let sts = serving([("Action=AssumeRoleWithWebIdentity&", answer)].into());
        vec![
            ("AWS_ENDPOINT_URL_STS", sts),
            ("AWS_ROLE_ARN", ROLE.to_owned()),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.display().to_string()),
        ]
    })
    .await;
}

#[tokio::test]
async fn a_container_is_handed_its_credentials() {
    found_by(|_, key| {
        let address = serving([("GET /role", handed_out(key))].into());
        let full = format!("{address}/role");
        vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", full)]
    })
    .await;
}

#[tokio::test]
async fn an_instance_is_handed_those_of_its_profile() {
    found_by(|_, key| {
        let of_role = "GET /latest/meta-data/iam/security-credentials/fleet";
        let answers = [
            ("PUT /latest/api/token", "token".to_owned()),
            (
                "GET /latest/meta-data/iam/security-credentials/",
                "fleet".to_owned(),
            ),
            (of_role, handed_out(key)),
        ];
        let address = serving(answers.into());
        vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)]
    })
    .await;
}

//! Taking over instances that a group of InfraKit has made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    AttachmentName, Digests, ErrorClass, GroupUid, MemberId, ProviderRef, Seat, SeatId, Stranger,
};
use drover_provider::{AdoptRequest, Provider};
use drover_provider_plugin::{
    AgentService, Directory, Endpoint, GroupService, Managed, ManagingAgent, Place, PluginName,
    Served, ServedSocket, describe_instances, inspect_groups,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fake::{Fake, Trouble};
use crate::groups::Memory;
use crate::support::{Scope, fleet, request};

pub(crate) fn tags() -> BTreeMap<String, String> {
    BTreeMap::from([("infrakit.group".to_owned(), "workers".to_owned())])
}

pub(crate) fn of_group(fake: &Fake, id: &str) {
    fake.add_stranger(
        id,
        json!({"infrakit.group": "workers", "infrakit.config.hash": "abc"}),
    );
}

pub(crate) fn adopt(handle: &str, number: u64) -> AdoptRequest {
    let made = request(number);
    AdoptRequest {
        fleet: made.fleet,
        group: made.group,
        epoch: made.epoch,
        provider_ref: ProviderRef::parse(handle).unwrap(),
        instance: made.slots[0].instance.clone(),
        token: made.token,
        digests: Digests::of_own_revision(),
        seat: None,
    }
}

async fn strangers(provider: &Arc<dyn Provider>) -> Vec<Stranger> {
    provider.survey(&tags()).await.unwrap().strangers
}

pub(crate) async fn handles(provider: &Arc<dyn Provider>) -> Vec<String> {
    let found = strangers(provider).await.into_iter();
    found.map(|one| one.provider_ref.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_what_has_the_tag_and_nobodys_ownership_whatever_the_plugin_makes_of_its_filter() {
    let scope = Scope::new();
    scope.fake.set_loose_filter();
    of_group(&scope.fake, "i-1");
    of_group(&scope.fake, "i-2");
    scope.fake.add_stranger("i-3", json!({}));
    scope
        .fake
        .add_stranger("i-4", json!({"infrakit.group": "others"}));
    let logical =
        json!({"infrakit.group": "workers", "infrakit.logical_id": "10.0.0.5", "drover.fleet": ""});
    scope.fake.add_stranger("i-5", logical);
    let owned = json!({"infrakit.group": "workers", "drover.fleet": "other"});
    scope.fake.add_stranger("i-6", owned);
    let provider = scope.open();
    let found = strangers(&provider).await;
    let shown: Vec<_> = found
        .iter()
        .map(|one| (one.provider_ref.as_str(), one.member.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            ("i-1", None),
            ("i-2", None),
            ("i-5", Some("10.0.0.5")),
            ("i-6", None)
        ]
    );
    let claims: Vec<_> = found.iter().map(|one| one.claimed_by.as_deref()).collect();
    let other = "the fleet other, which the tag drover.fleet of i-6 names; take its tags that begin with `drover.` off at the provider, unless another fleet takes it over";
    assert_eq!(claims, [None, None, None, Some(other)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn adopts_by_labels_alone_and_hands_back_the_same_way() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let provider = scope.open();
    let request = adopt("i-1", 1);
    provider.adopt(&request).await.unwrap();
    provider.adopt(&request).await.unwrap();
    let labelled = scope.fake.calls("Instance.Label");
    let first = &labelled[0]["Labels"];
    assert_eq!(first, &json!({"drover.fleet": "prod"}), "whose it is to be");
    assert_eq!(labelled.len(), 2);
    assert_eq!(handles(&provider).await, Vec::<String>::new());
    let listing = provider.list(&fleet()).await.unwrap();
    let owner = listing.instances[0].ownership.clone().unwrap();
    assert_eq!(
        (&owner.instance, &owner.token),
        (&request.instance, &request.token)
    );
    // Another owner is refused, and so is another group of the same fleet.
    let other = AdoptRequest {
        instance: adopt("i-1", 2).instance,
        ..request.clone()
    };
    let refused = provider.adopt(&other).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    provider
        .release(&fleet(), &request.provider_ref)
        .await
        .unwrap();
    assert_eq!(handles(&provider).await, ["i-1"]);
    let found = strangers(&provider).await.remove(0);
    assert_eq!(found.tags["infrakit.config.hash"], "abc");
    provider.adopt(&other).await.unwrap();
    assert_eq!(provider.list(&fleet()).await.unwrap().instances.len(), 1);
    for method in ["Instance.Provision", "Instance.Destroy"] {
        assert_eq!(scope.fake.calls(method).len(), 0, "{method}");
    }
    let missing = provider.adopt(&adopt("i-9", 3)).await.unwrap_err();
    assert_eq!(missing.class, ErrorClass::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn adoptions_of_one_pass_share_what_is_asked_for_them() {
    let scope = Scope::new();
    let count = 20;
    for number in 1..=count {
        of_group(&scope.fake, &format!("i-{number}"));
    }
    let neighbour = Fake::start(scope.folder.path(), "group");
    neighbour.set_groups(&["others"]);
    let provider = scope.open();
    let found = handles(&provider).await.into_iter();
    let handles: Vec<String> = found.collect();
    let requests = handles
        .iter()
        .enumerate()
        .map(|(at, handle)| adopt(handle, at as u64 + 1));
    let adopted = requests.map(|request| {
        let provider = Arc::clone(&provider);
        tokio::spawn(async move { provider.adopt(&request).await })
    });
    for adopted in adopted.collect::<Vec<_>>() {
        adopted.await.unwrap().unwrap();
    }
    let unfiltered = || {
        let calls = scope.fake.calls("Instance.DescribeInstances").into_iter();
        let all = |params: &serde_json::Value| {
            params["Tags"]
                .as_object()
                .is_none_or(serde_json::Map::is_empty)
        };
        calls.filter(all).count()
    };
    let inspected = || neighbour.calls("Group.InspectGroups").len();
    // The survey has described them and asked the neighbour.
    assert_eq!((unfiltered(), inspected()), (0, 1));
    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.instances.len(), count);
    // Later everything is asked anew, once.
    for number in [21, 22] {
        of_group(&scope.fake, &format!("i-{number}"));
    }
    neighbour.set_groups(&["others", "workers"]);
    scope.clock.advance(Duration::from_secs(6));
    for number in [21, 22] {
        let refused = provider.adopt(&adopt(&format!("i-{number}"), number)).await;
        assert_eq!(refused.unwrap_err().class, ErrorClass::InvalidSpec);
    }
    assert_eq!((unfiltered(), inspected()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_still_watched_is_said_and_nothing_of_it_is_adopted() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let group = Fake::start(scope.folder.path(), "group-stateless");
    group.set_groups(&["workers", "others"]);
    // A socket that nobody listens on any more, and a plugin that is something else.
    drop(std::os::unix::net::UnixListener::bind(scope.folder.path().join("dead")).unwrap());
    Fake::start(scope.folder.path(), "other").set_handshake(json!({}));
    let provider = scope.open();
    let who = "the InfraKit group workers, which plugin group-stateless still manages; free it with `infrakit group free workers`";
    assert_eq!(
        strangers(&provider).await[0].claimed_by.as_deref(),
        Some(who)
    );
    let refused = provider.adopt(&adopt("i-1", 1)).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    assert!(refused.message.ends_with(who), "{}", refused.message);
    assert_eq!(scope.fake.calls("Instance.Label").len(), 0);
    group.set_groups(&["others"]);
    assert_eq!(strangers(&provider).await[0].claimed_by, None);
    provider.adopt(&adopt("i-1", 1)).await.unwrap();
    assert!(strangers(&provider).await.is_empty());
    // Whoever begins again with what was taken over is told; what another fleet has is not ours to tell of.
    let mut theirs = scope.fake.tags("i-1");
    theirs["drover.fleet"] = json!("other");
    scope.fake.add_stranger("i-2", theirs);
    group.set_groups(&["workers"]);
    let claimed = strangers(&provider).await;
    assert_eq!(
        (claimed.len(), claimed[0].provider_ref.as_str()),
        (1, "i-1")
    );
    assert_eq!(claimed[0].claimed_by.as_deref(), Some(who));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_fleet_has_taken_since_it_was_told_of_is_not_gone() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    of_group(&scope.fake, "i-2");
    let provider = scope.open();
    provider.adopt(&adopt("i-1", 1)).await.unwrap();
    assert_eq!(handles(&provider).await, ["i-2"]);
    let mut theirs = scope.fake.tags("i-1");
    theirs["drover.fleet"] = json!("other");
    theirs["drover.token"] = json!(adopt("i-1", 7).token.to_string());
    for id in ["i-2", "i-3"] {
        scope.fake.add_stranger(id, theirs.clone());
    }
    // It never was one to adopt.
    let found = strangers(&provider).await;
    assert_eq!(handles(&provider).await, ["i-2"]);
    let claimed = found[0].claimed_by.clone().unwrap();
    assert!(claimed.starts_with("the fleet other, which"), "{claimed}");
    let refused = provider.adopt(&adopt("i-2", 2)).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_plugin_that_does_not_answer_may_watch_anything() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let group = Fake::start(scope.folder.path(), "group");
    group.set_groups(&[]);
    for trouble in [
        Trouble::Says("{\"result\": {\"Groups\": 7}}"),
        Trouble::LostReply,
        Trouble::Class("throttled"),
    ] {
        group.trouble("Group.InspectGroups", trouble);
        let provider = scope.open();
        let failed = provider.survey(&tags()).await.unwrap_err();
        assert!(
            failed
                .message
                .starts_with("plugin group: Group.InspectGroups: "),
            "{failed}"
        );
    }
    assert_eq!(handles(&scope.open()).await, ["i-1"]);
}

/// An agent whose groups are served.
#[derive(Debug, Clone)]
struct Agent(Result<Managed, String>);

impl Agent {
    fn of(fleet: &str, groups: &[&str]) -> Self {
        Self(Ok(Managed {
            fleet: fleet.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        }))
    }
}

#[async_trait::async_trait]
impl ManagingAgent for Agent {
    async fn managed(&self) -> Result<Managed, String> {
        self.0.clone()
    }
}

/// Serves the group `workers` as `drover plugin serve group` does, and returns what ends it.
fn serving(scope: &Scope, name: &str, agent: Agent) -> tokio::task::JoinHandle<()> {
    let groups = Memory::of(&["workers"]);
    let served = Served::new(vec![
        Box::new(GroupService::new(groups)),
        Box::new(AgentService::new(agent)),
    ]);
    let socket = ServedSocket::bind(&scope.folder.path().join(name)).unwrap();
    tokio::spawn(async move { match served.serve(&socket).await {} })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_our_own_agent_offers_is_no_other_owner_and_what_another_one_manages_is() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let provider = scope.open();
    let claimed = async || strangers(&provider).await[0].claimed_by.clone();
    let _own = serving(&scope, "group", Agent::of("prod", &["workers"]));
    assert_eq!(claimed().await, None);

    let theirs = serving(&scope, "theirs", Agent::of("test", &["others", "workers"]));
    let who = "the group workers of the fleet test, which plugin theirs offers and its agent still manages; free it with `manage: observe` in its document";
    assert_eq!(claimed().await.as_deref(), Some(who));
    let refused = provider.adopt(&adopt("i-1", 1)).await.unwrap_err();
    assert!(refused.message.ends_with(who), "{refused}");
    theirs.abort();
    assert!(theirs.await.unwrap_err().is_cancelled());

    // An agent that only watches acts on nothing; one that cannot be asked may act.
    let watching = serving(&scope, "theirs", Agent::of("test", &["others"]));
    assert_eq!(claimed().await, None);
    watching.abort();
    assert!(watching.await.unwrap_err().is_cancelled());
    let silent = serving(&scope, "theirs", Agent(Err("no agent runs".to_owned())));
    let failed = provider.survey(&tags()).await.unwrap_err();
    let start = "plugin theirs: Drover.Managed: no agent runs; ";
    assert!(failed.message.starts_with(start), "{failed}");
    silent.abort();
    assert!(silent.await.unwrap_err().is_cancelled());
    provider.adopt(&adopt("i-1", 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hides_behind_an_announcement_that_cannot_be_read() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let other = Fake::start(scope.folder.path(), "other");
    other.set_groups(&["workers"]);
    let announced = |version: &str| {
        let object = json!([{"Name": "."}]);
        let objects = json!({"Group/0.1.1": object, format!("Drover/{version}"): object});
        json!({"Handshake.Hello": {"Objects": objects}})
    };
    // Another version is not understood: then its groups are what it tells as a plugin of InfraKit.
    other.set_handshake(announced("2"));
    let claimed = strangers(&scope.open()).await.remove(0).claimed_by;
    assert!(
        claimed
            .unwrap()
            .contains("which plugin other still manages")
    );
    other.set_handshake(announced("1"));
    for (answer, why) in [
        (r#"{"result": {"Groups": []}}"#, "it has no `Fleet`"),
        (
            r#"{"result": {"Fleet": "", "Groups": []}}"#,
            "it has no `Fleet`",
        ),
        (
            r#"{"result": {"Fleet": "prod"}}"#,
            "`Groups` is no list of names",
        ),
        (
            r#"{"result": {"Fleet": "test", "Groups": [7]}}"#,
            "`Groups` is no list of names",
        ),
    ] {
        other.trouble("Drover.Managed", Trouble::Says(answer));
        let failed = scope.open().survey(&tags()).await.unwrap_err();
        assert!(failed.message.contains(why), "{failed}");
    }
}

/// Refuses to survey and to adopt, and says for which plugin and what to do. With its file gone, all is well.
async fn unasked(scope: &Scope, file: &str, why: &str) {
    let provider = scope.open();
    let path = scope.folder.path().join(file);
    let name = file.strip_suffix(".listen").unwrap_or(file);
    let start = format!("plugin {name}: Handshake.Hello: ");
    let end = format!(
        "; until it answers it may manage any group of InfraKit: start it, or remove {} if it is gone for good",
        path.display()
    );
    let surveyed = provider.survey(&tags()).await.unwrap_err();
    let adopted = provider.adopt(&adopt("i-1", 1)).await.unwrap_err();
    for failed in [surveyed, adopted] {
        assert_eq!(failed.class, ErrorClass::Unknown);
        let message = &failed.message;
        assert!(message.starts_with(&start), "{message}");
        assert!(message.contains(why), "{message}");
        assert!(message.ends_with(&end), "{message}");
    }
    assert_eq!(scope.fake.calls("Instance.Label").len(), 0);
    std::fs::remove_file(path).unwrap();
    assert_eq!(handles(&provider).await, ["i-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_reached_may_watch_anything() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let at = |name: &str| scope.folder.path().join(name);

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", closed.local_addr().unwrap());
    drop(closed);
    std::fs::write(at("remote.listen"), &address).unwrap();
    unasked(&scope, "remote.listen", "cannot connect to 127.0.0.1:").await;

    std::fs::write(at("elsewhere.listen"), "https://127.0.0.1:9000").unwrap();
    unasked(&scope, "elsewhere.listen", "does not hold an address").await;

    // A socket that somebody left hides nobody.
    drop(std::os::unix::net::UnixListener::bind(at("twin")).unwrap());
    std::fs::write(at("twin.listen"), &address).unwrap();
    unasked(&scope, "twin.listen", "cannot connect to 127.0.0.1:").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_too_busy_to_take_a_connection_may_watch_anything() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let socket = scope.folder.path().join("busy");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        match tokio::net::UnixStream::connect(&socket).await {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        assert!(waiting.len() < 10, "a queue of one place is full by now");
    };
    assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
    unasked(&scope, "busy", "cannot connect to ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_answers_as_no_plugin_does_may_watch_anything() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    for status in ["404 Not Found", "405 Method Not Allowed", "415 Unsupported"] {
        let socket = scope.folder.path().join("web");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked).await;
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let said = format!("it answers with HTTP status {}", &status[..3]);
        unasked(&scope, "web", &said).await;
        serving.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fails_at_the_handshake_may_watch_anything_and_is_not_remembered() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let group = Fake::start(scope.folder.path(), "group");
    group.set_groups(&["workers"]);
    let fails = Trouble::Says(
        r#"{"error": {"code": -32000, "message": "failed to list objects: read tcp: i/o timeout"}}"#,
    );
    let says = "plugin group: Handshake.Hello: failed to list objects: read tcp: i/o timeout; until it answers";
    for _ in 0..2 {
        group.trouble("Handshake.Hello", fails.clone());
        let failed = scope.open().survey(&tags()).await.unwrap_err();
        assert!(failed.message.starts_with(says), "{failed}");
    }
    group.trouble("Handshake.Hello", fails.clone());
    let failed = scope.open().adopt(&adopt("i-1", 1)).await.unwrap_err();
    assert!(failed.message.starts_with(says), "{failed}");
    let found = strangers(&scope.open()).await.remove(0);
    assert!(
        found
            .claimed_by
            .unwrap()
            .contains("plugin group still manages")
    );

    // An older one fails at its own question.
    group.set_handshake(json!({}));
    group.trouble("Plugin.Implements", fails);
    let failed = scope.open().survey(&tags()).await.unwrap_err();
    let says = "plugin group: Plugin.Implements: failed to list objects";
    assert!(failed.message.starts_with(says), "{failed}");

    // Who has no such method is no plugin, in InfraKit's words and in those of JSON-RPC.
    let no_method = r#"{"error": {"code": -32601, "message": "Method not found"}}"#;
    for method in [
        "Handshake.Hello",
        "Handshake.Implements",
        "Plugin.Implements",
    ] {
        group.trouble(method, Trouble::Says(no_method));
    }
    assert_eq!(handles(&scope.open()).await, ["i-1"]);
    scope.open().adopt(&adopt("i-1", 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_once_had_no_groups_may_hang_and_nobody_else() {
    let mut scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let plain = Fake::start(scope.folder.path(), "plain");
    assert_eq!(handles(&scope.open()).await, ["i-1"]);
    plain.trouble("Handshake.Hello", Trouble::Hang);
    assert_eq!(handles(&scope.open()).await, ["i-1"]);
    let lose = |fake: &Fake| fake.trouble("Handshake.Hello", Trouble::LostRequest);
    lose(&plain);
    scope.open().adopt(&adopt("i-1", 1)).await.unwrap();

    // Who has groups is asked each time, be they none.
    of_group(&scope.fake, "i-2");
    let group = Fake::start(scope.folder.path(), "group");
    group.set_groups(&[]);
    assert_eq!(handles(&scope.open()).await, ["i-2"]);
    lose(&group);
    let failed = scope.open().survey(&tags()).await.unwrap_err();
    let start = "plugin group: Handshake.Hello: no answer";
    assert!(failed.message.starts_with(start), "{failed}");

    // Somebody else on that name is not known, and to an agent that starts nobody is.
    std::fs::remove_file(&plain.socket).unwrap();
    let other = Fake::start(scope.folder.path(), "plain");
    lose(&other);
    let failed = scope.open().survey(&tags()).await.unwrap_err();
    assert!(failed.message.starts_with("plugin plain: "), "{failed}");
    assert_eq!(handles(&scope.open()).await, ["i-2"]);
    scope.restart();
    lose(&other);
    let failed = scope.open().survey(&tags()).await.unwrap_err();
    assert!(failed.message.starts_with("plugin plain: "), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_asked_at_the_same_time() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let provider = scope.open();
    for number in 0..8 {
        let slow = Fake::start(scope.folder.path(), &format!("slow-{number}"));
        slow.trouble("Handshake.Hello", Trouble::Slow(Duration::from_secs(2)));
    }
    let asked = tokio::time::timeout(Duration::from_secs(8), handles(&provider));
    assert_eq!(asked.await.expect("in 2 s, not in 16 s"), ["i-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_read_may_hold_anybody() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let provider = scope.open();
    let moved = scope.folder.path().with_extension("moved");
    std::fs::rename(scope.folder.path(), &moved).unwrap();
    let failed = provider.survey(&tags()).await.unwrap_err();
    std::fs::rename(&moved, scope.folder.path()).unwrap();
    let start = "cannot read the plugins' folder ";
    assert!(failed.message.starts_with(start), "{failed}");
    assert_eq!(handles(&provider).await, ["i-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_the_first_release_cannot_label_and_says_so() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let first = json!({"APIs": [{"Name": "Instance", "Version": "0.1.0"}]});
    scope
        .fake
        .set_handshake(json!({"Plugin.Implements": first}));
    let provider = scope.open();
    assert_eq!(handles(&provider).await, ["i-1"]);
    let refused = provider.adopt(&adopt("i-1", 1)).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    let why = "plugin fake: it cannot change labels, so its instances cannot be adopted";
    assert_eq!(refused.message, why);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_twice_is_no_whole_survey() {
    let scope = Scope::new();
    let twice = r#"{"result": {"Descriptions": [
        {"ID": "i-1", "Tags": {"infrakit.group": "workers"}},
        {"ID": "i-1", "Tags": {"infrakit.group": "workers"}}]}}"#;
    scope
        .fake
        .trouble("Instance.DescribeInstances", Trouble::Says(twice));
    let survey = scope.open().survey(&tags()).await.unwrap();
    assert!(matches!(
        survey.completeness,
        drover_model::Completeness::Partial { .. }
    ));
    assert_eq!(survey.strangers.len(), 1);
}

pub(crate) fn seat(member: &str, attachments: &[&str]) -> Seat {
    let member = MemberId::parse(member).unwrap();
    let attachments = attachments
        .iter()
        .map(|name| AttachmentName::parse(name).unwrap());
    Seat {
        id: SeatId {
            life: GroupUid::parse("0123456789abcdef").unwrap(),
            member: member.clone(),
        },
        members: vec![member],
        bootstrap: false,
        attachments: attachments.collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_has_its_logical_id_and_its_place_alone() {
    let scope = Scope::new();
    let provider = scope.open();
    let mut first = request(1);
    first.slots[0].seat = Some(Box::new(seat("10-0-0-5", &[])));
    provider.provision(&first).await.unwrap();
    let called = scope.fake.calls("Instance.Provision");
    assert_eq!(called[0]["Spec"]["LogicalID"], "10.0.0.5");
    let listed = provider.list(&fleet()).await.unwrap().instances.remove(0);
    let owner = listed.ownership.unwrap();
    assert_eq!(owner.seat.unwrap().member.as_str(), "10-0-0-5");
    let mut second = request(2);
    second.slots[0].seat = Some(Box::new(seat("10-0-0-5", &[])));
    let refused = provider.provision(&second).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Capacity);
    let mut attached = request(3);
    attached.slots[0].seat = Some(Box::new(seat("m3", &["data"])));
    let refused = provider.provision(&attached).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    assert_eq!(scope.fake.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_their_instances_can_be_asked_for() {
    let scope = Scope::new();
    scope.fake.set_loose_filter();
    of_group(&scope.fake, "i-1");
    scope.fake.add_stranger("i-2", json!({}));
    let group = Fake::start(scope.folder.path(), "group");
    group.set_groups(&["workers"]);
    let place = |fake: &Fake| Place::Fixed(Endpoint::Unix(fake.socket.clone()));
    let name = |text: &str| text.parse::<PluginName>().unwrap();
    let groups = inspect_groups(&place(&group), &name("group"))
        .await
        .unwrap();
    assert_eq!((groups.len(), groups[0].id.as_str()), (1, "workers"));
    let wrong = inspect_groups(&place(&scope.fake), &name("fake"))
        .await
        .unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "plugin fake: it has no interface `Group`"
    );
    let folder = Place::Named(Directory::new(scope.folder.path()));
    let tag = ("infrakit.group", "workers");
    let found = describe_instances(&folder, &name("fake"), tag)
        .await
        .unwrap();
    assert_eq!((found.len(), found[0].id.as_str()), (1, "i-1"));
    let missing = describe_instances(&folder, &name("nobody"), tag)
        .await
        .unwrap_err();
    assert!(
        missing.to_string().contains("there is no socket nobody"),
        "{missing}"
    );
    let other = describe_instances(&folder, &name("group"), tag)
        .await
        .unwrap_err();
    assert!(
        other
            .to_string()
            .contains("does not support interface Instance"),
        "{other}"
    );
    group_of_a_manager(&scope).await;
}

/// A manager has an object for each group, and one for all of them.
async fn group_of_a_manager(scope: &Scope) {
    let manager = Fake::start(scope.folder.path(), "manager");
    manager.set_groups(&["workers"]);
    let objects = json!({"Objects": {"Group/0.1.1": [{"Name": "groups"}, {"Name": "workers"}]}});
    manager.set_handshake(json!({"Handshake.Hello": objects}));
    let place = Place::Fixed(Endpoint::Unix(manager.socket.clone()));
    let name: PluginName = "manager".parse().unwrap();
    inspect_groups(&place, &name).await.unwrap();
    assert_eq!(
        manager.calls("Group.InspectGroups")[0]["Name"],
        "manager/groups"
    );
}

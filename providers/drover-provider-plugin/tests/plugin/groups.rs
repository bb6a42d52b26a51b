//! InfraKit's `Group`, served over groups in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use drover_provider_plugin::{
    GroupChange, GroupService, GroupSpec, Groups, Served, ServedGroup, ServedInstance, Trying,
    Watch, WrittenGroup,
};
use serde_json::{Value as Json, json};

use crate::records::Record;

/// Groups that do as they are told, and that are put into a recorded state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<BTreeMap<String, ServedGroup>>>);

/// Returns a spec with another size.
fn sized(spec: &GroupSpec, size: u64) -> GroupSpec {
    let mut json = serde_json::to_value(spec).unwrap();
    json["Allocation"]["Size"] = json!(size);
    GroupSpec::read(Some(&json)).unwrap()
}

fn instances(json: &Json) -> Vec<ServedInstance> {
    let list = json.as_array().into_iter().flatten();
    let read = |one: &Json| ServedInstance {
        id: one["ID"].as_str().unwrap().to_owned(),
        logical_id: one["LogicalID"].as_str().map(str::to_owned),
        tags: serde_json::from_value(one["Tags"].clone()).unwrap(),
        properties: one.get("Properties").cloned(),
    };
    list.map(read).collect()
}

impl Memory {
    /// Groups of these names.
    pub(crate) fn of(names: &[&str]) -> Self {
        let properties = json!({
            "Instance": {"Plugin": "file", "Properties": {}},
            "Flavor": {"Plugin": "vanilla", "Properties": {}},
            "Allocation": {"Size": 1},
        });
        let group = |name: &&str| {
            let spec = GroupSpec::read(Some(&properties)).unwrap();
            ((*name).to_owned(), group_of((*name).to_owned(), spec))
        };
        Self(Arc::new(Mutex::new(names.iter().map(group).collect())))
    }

    pub(crate) fn served(&self) -> Served {
        Served::new(vec![Box::new(GroupService::new(self.clone()))])
    }

    /// Puts the groups into the state in which a recorded answer found them.
    pub(crate) fn prime(&self, record: &Record) {
        let answer: Json = serde_json::from_str(record.answer.as_ref().unwrap()).unwrap();
        let result = &answer["result"];
        let mut groups = self.0.lock().unwrap();
        let id = result["ID"].as_str().unwrap_or_default();
        match record.method.as_str() {
            "Group.InspectGroups" => {
                let list = result["Groups"].as_array().into_iter().flatten();
                let read = |group: &Json| {
                    let spec = GroupSpec::read(Some(&group["Properties"])).unwrap();
                    let id = group["ID"].as_str().unwrap().to_owned();
                    (id.clone(), group_of(id, spec))
                };
                *groups = list.map(read).collect();
            }
            "Group.DescribeGroup" if !result.is_null() => {
                let group = groups.get_mut(id).unwrap();
                group.instances = instances(&result["Description"]["Instances"]);
                group.converged = result["Description"]["Converged"] == true;
            }
            "Group.Size" if !result.is_null() => {
                let group = groups.get_mut(id).unwrap();
                if group.spec.logical_ids().is_none() {
                    group.spec = sized(&group.spec, result["Size"].as_u64().unwrap());
                }
            }
            _ => {}
        }
    }
}

fn group_of(id: String, spec: GroupSpec) -> ServedGroup {
    ServedGroup {
        id,
        spec,
        instances: Vec::new(),
        converged: true,
        watched: true,
    }
}

#[async_trait]
impl Groups for Memory {
    async fn all(&self) -> Result<Vec<ServedGroup>, String> {
        Ok(self.0.lock().unwrap().values().cloned().collect())
    }

    async fn written(&self, id: &str) -> Result<Option<WrittenGroup>, String> {
        let groups = self.0.lock().unwrap();
        Ok(groups.get(id).map(|group| WrittenGroup {
            spec: group.spec.clone(),
            watched: group.watched,
        }))
    }

    async fn providers(&self) -> Result<Vec<String>, String> {
        Ok(vec!["file".to_owned(), "simulator/compute".to_owned()])
    }

    async fn has_flavor(&self, name: &str) -> Result<bool, String> {
        Ok(name == "swarm/worker")
    }

    async fn change(&self, change: GroupChange, trying: Trying) -> Result<(), String> {
        if trying == Trying::Pretend {
            return Ok(());
        }
        let mut groups = self.0.lock().unwrap();
        match change {
            GroupChange::Create { id, spec } => {
                if id == "full" {
                    return Err("there is no room for full".to_owned());
                }
                groups.insert(id.clone(), group_of(id, spec));
            }
            GroupChange::Edit {
                id,
                size,
                properties,
                watch,
            } => {
                let group = groups.get_mut(&id).unwrap();
                let mut json = serde_json::to_value(&group.spec).unwrap();
                if let Some(size) = size {
                    json["Allocation"]["Size"] = json!(size);
                }
                if let Some(properties) = properties {
                    json["Instance"]["Properties"] = properties;
                }
                group.spec = GroupSpec::read(Some(&json)).unwrap();
                group.watched |= watch != Watch::AsItIs;
            }
            GroupChange::Free { id } => groups.get_mut(&id).unwrap().watched = false,
            GroupChange::Destroy { id } => {
                groups.remove(&id);
            }
            GroupChange::DestroyInstances { id, instances } => {
                let group = groups.get_mut(&id).unwrap();
                group.instances.retain(|one| !instances.contains(&one.id));
                let left = u64::from(group.spec.count()) - instances.len() as u64;
                group.spec = sized(&group.spec, left);
            }
        }
        Ok(())
    }
}

async fn answer(memory: &Memory, method: &str, params: Json) -> Json {
    let method = format!("Group.{method}");
    let request = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1});
    let answer = memory.served().answer(request.to_string().as_bytes()).await;
    serde_json::from_str(&answer).unwrap()
}

fn properties() -> Json {
    json!({
        "Allocation": {"Size": 3},
        "Instance": {"Plugin": "file", "Properties": {"Note": "v1"}},
        "Flavor": {"Plugin": "vanilla", "Properties": {"Init": ["echo hello"]}},
    })
}

async fn commit(memory: &Memory, id: &str, properties: Json) -> Json {
    let spec = json!({"ID": id, "Properties": properties});
    answer(memory, "CommitGroup", json!({"Spec": spec})).await
}

/// Properties with another value at a place.
fn with(path: &str, value: Json) -> Json {
    let mut properties = properties();
    *properties.pointer_mut(path).unwrap() = value;
    properties
}

/// Properties with another field.
fn and(name: &str, value: Json) -> Json {
    let mut properties = properties();
    properties[name] = value;
    properties
}

/// Properties that are refused, and what is said of them.
fn refused() -> Vec<(Json, &'static str)> {
    vec![
        (
            and("Alocation", json!({"Size": 9})),
            "Invalid properties: Alocation: unknown field",
        ),
        (
            with("/Allocation", json!({"Szie": 9})),
            "Invalid properties: Allocation.Szie: unknown field",
        ),
        (
            and("Updating", json!({"SkipBeforeInstanceDestroy": "drian"})),
            "there is only `drain`, not \"drian\"",
        ),
        (
            and("Updating", json!({"Count": -1})),
            "Updating.Count: expected a whole number",
        ),
        (
            and("Updating", json!([])),
            "Invalid properties: Updating: not a map",
        ),
        (json!([]), "Invalid properties: not a map"),
        (
            with("/Allocation", json!({"LogicalIDs": "a"})),
            "Allocation.LogicalIDs: expected a list of texts",
        ),
        (
            with("/Allocation", json!({"LogicalIDs": [1]})),
            "expected a list of texts",
        ),
        (
            with("/Allocation", json!({"LogicalIDs": ["b", "a", "b"]})),
            "Allocation.LogicalIDs: b is in it twice",
        ),
        (
            with("/Allocation", json!({"LogicalIDs": ["a"]})),
            "a group with a size cannot become one of logical IDs",
        ),
        (
            with("/Instance/Plugin", json!("simulator/compute")),
            "Instance.Plugin differs from the group's document",
        ),
        (
            with("/Flavor/Properties", json!({"Init": ["echo other"]})),
            "Flavor differs from the group's document",
        ),
        (
            and("Updating", json!({"Count": 2})),
            "Updating differs from the group's document",
        ),
        (
            with("/Flavor/Properties", json!({"Tags": {"a": 1}})),
            "Flavor.Properties.Tags: the entry \"a\" is not a text",
        ),
    ]
}

#[tokio::test]
async fn what_infrakit_drops_or_breaks_is_refused_in_words() {
    let memory = Memory::default();
    let made = commit(&memory, "web", properties()).await;
    assert_eq!(made["result"]["Details"], "Managing 3 instances");
    for (properties, says) in refused() {
        let answer = commit(&memory, "web", properties).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{says}: {answer}");
    }
}

#[tokio::test]
async fn numbers_that_are_one_to_go_roll_nothing() {
    let memory = Memory::default();
    let sized = |disk: &str| {
        let properties = format!("{{\"disk\": {disk}, \"ports\": [80, {disk}]}}");
        with(
            "/Instance/Properties",
            serde_json::from_str(&properties).unwrap(),
        )
    };
    commit(&memory, "web", sized("1000")).await;
    for same in ["1000.0", "1e3", "1E+3", "10.00e2"] {
        let again = commit(&memory, "web", sized(same)).await;
        assert_eq!(again["result"]["Details"], "Noop", "{same}");
    }
    for other in ["1000.5", "1e4", "-1000", "\"1000\""] {
        let again = commit(&memory, "web", sized(other)).await;
        let rolls = "Performing a rolling update on 3 instances";
        assert_eq!(again["result"]["Details"], rolls, "{other}");
    }
    // Also what a flavor is told, which a commit cannot change.
    let flavored = |count: Json| {
        let flavor = json!({"Plugin": "swarm/worker", "Properties": {"count": count}});
        with("/Flavor", flavor)
    };
    commit(&memory, "swarm", flavored(json!(2))).await;
    let again = commit(&memory, "swarm", flavored(json!(2.0))).await;
    assert_eq!(again["result"]["Details"], "Noop", "{again}");
    let other = commit(&memory, "swarm", flavored(json!(2.5))).await;
    assert!(other["error"]["message"].is_string(), "{other}");
}

#[tokio::test]
async fn calls_that_cannot_be_read_or_done_are_errors() {
    let memory = Memory::default();
    commit(&memory, "web", properties()).await;
    let full = commit(&memory, "full", properties()).await;
    assert_eq!(full["error"]["message"], "there is no room for full");
    let about = |instances: Json| json!({"ID": "web", "Instances": instances});
    let unknown = answer(&memory, "DestroyInstances", about(json!(["x"]))).await;
    assert_eq!(unknown["error"]["message"], "group web has no instance x");
    let one = json!([{"ID": "i-1", "LogicalID": null, "Tags": {}}]);
    memory.0.lock().unwrap().get_mut("web").unwrap().instances = instances(&one);
    let handle = json!("i-1");
    let twice = answer(&memory, "DestroyInstances", about(json!([handle, handle]))).await;
    assert_eq!(
        twice["error"]["message"],
        "instance i-1 of group web is named twice"
    );
    for unread in [json!([1]), json!("i-1"), json!({})] {
        let wrong = answer(&memory, "DestroyInstances", about(unread)).await;
        assert_eq!(wrong["error"]["code"], -32600);
    }
    let missing = answer(&memory, "DestroyInstances", json!({"ID": "web"})).await;
    assert_eq!(missing["error"]["code"], -32600);
    let wrong = answer(&memory, "CommitGroup", json!({"Spec": "web"})).await;
    assert_eq!(wrong["error"]["code"], -32600);
    for method in ["Size", "InspectGroups", "FreeGroup"] {
        let wrong = answer(&memory, method, json!({"ID": 1})).await;
        assert_eq!(wrong["error"]["code"], -32600, "{method}");
    }
    let large = answer(
        &memory,
        "SetSize",
        json!({"ID": "web", "Size": 5_000_000_000_u64}),
    )
    .await;
    assert_eq!(large["error"]["message"], "size is too large");
    let other = answer(&memory, "NoSuch", json!({})).await;
    assert_eq!(
        other["error"]["message"],
        "rpc: can't find method \"Group.NoSuch\""
    );
}

#[tokio::test]
async fn a_size_that_cannot_be_read_is_refused_and_changes_nothing() {
    let memory = Memory::default();
    commit(&memory, "web", properties()).await;
    let beyond: Json = serde_json::from_str("9223372036854775808").unwrap();
    let unread = [json!("5"), json!(2.0), json!(null), json!([4]), beyond];
    let mut asked: Vec<Json> = unread
        .into_iter()
        .map(|size| json!({"ID": "web", "Size": size}))
        .collect();
    asked.push(json!({"ID": "web"}));
    asked.push(json!({"ID": "web", "Siez": 4}));
    for params in asked {
        let refused = answer(&memory, "SetSize", params.clone()).await;
        assert_eq!(refused["error"]["code"], -32600, "{params}");
        let message = "`Size`: expected a whole number";
        assert_eq!(refused["error"]["message"], message, "{params}");
        let size = answer(&memory, "Size", json!({"ID": "web"})).await;
        assert_eq!(size["result"]["Size"], 3, "{params}");
    }
}

#[tokio::test]
async fn only_a_commit_that_is_surely_no_pretence_is_made() {
    let memory = Memory::default();
    commit(&memory, "web", properties()).await;
    let size =
        async || answer(&memory, "Size", json!({"ID": "web"})).await["result"]["Size"].clone();
    let mut asked =
        json!({"Spec": {"ID": "web", "Properties": with("/Allocation/Size", json!(5))}});
    for unread in [json!("true"), json!(1), json!(0), json!({}), json!([true])] {
        asked["Pretend"] = unread;
        let refused = answer(&memory, "CommitGroup", asked.clone()).await;
        assert_eq!(refused["error"]["code"], -32600, "{asked}");
        assert_eq!(size().await, 3, "{asked}");
    }
    asked["Pretend"] = json!(true);
    let pretended = answer(&memory, "CommitGroup", asked.clone()).await;
    assert!(pretended["error"].is_null(), "{pretended}");
    assert_eq!(size().await, 3);
    for (made, count) in [(json!(null), 5), (json!(false), 6)] {
        asked["Pretend"] = made;
        asked["Spec"]["Properties"]["Allocation"]["Size"] = json!(count);
        answer(&memory, "CommitGroup", asked.clone()).await;
        assert_eq!(size().await, count, "{asked}");
    }
}

#[tokio::test]
async fn a_group_may_be_empty_and_what_changes_nothing_is_no_change() {
    let memory = Memory::default();
    commit(&memory, "web", properties()).await;
    let none = answer(&memory, "SetSize", json!({"ID": "web", "Size": 0})).await;
    assert_eq!(none["result"], json!({"Name": "", "ID": "web"}));
    let size = answer(&memory, "Size", json!({"ID": "web"})).await;
    assert_eq!(size["result"]["Size"], 0);
    let again = answer(&memory, "SetSize", json!({"ID": "web", "Size": 0})).await;
    assert!(again["error"].is_null(), "{again}");
    let mut empty = properties();
    empty["Allocation"]["Size"] = json!(0);
    let same = commit(&memory, "web", empty.clone()).await;
    assert_eq!(same["result"]["Details"], "Noop");
    empty["Updating"] = json!({"Duration": "0ms"});
    let same = commit(&memory, "web", empty).await;
    assert_eq!(same["result"]["Details"], "Noop");
}

#[tokio::test]
async fn what_was_freed_is_unknown_until_a_commit_and_keeps_its_rules() {
    let memory = Memory::default();
    commit(&memory, "web", properties()).await;
    let web = json!({"ID": "web"});
    let freed = answer(&memory, "FreeGroup", web.clone()).await;
    assert!(freed["error"].is_null(), "{freed}");
    let sized = json!({"ID": "web", "Size": 4, "Instances": ["i-1"]});
    for (method, says) in [
        ("DescribeGroup", "Group 'web' is not being watched"),
        ("DestroyGroup", "Group 'web' is not being watched"),
        ("DestroyInstances", "Group 'web' is not being watched"),
        ("FreeGroup", "Group 'web' is not being watched"),
        ("Size", "group web not found"),
        ("SetSize", "group not found web"),
    ] {
        let refused = answer(&memory, method, sized.clone()).await;
        assert_eq!(refused["error"]["message"], says, "{method}");
    }
    let listed = answer(&memory, "InspectGroups", json!({})).await;
    assert_eq!(listed["result"]["Groups"], Json::Null);
    let other = with("/Flavor/Properties", json!({"Init": ["echo other"]}));
    let other = commit(&memory, "web", other).await;
    let why = other["error"]["message"].as_str().unwrap_or_default();
    assert!(why.contains("Flavor differs from the group's document"));
    let five = with("/Allocation/Size", json!(5));
    let pretended = json!({"Spec": {"ID": "web", "Properties": five}, "Pretend": true});
    let pretended = answer(&memory, "CommitGroup", pretended).await;
    assert_eq!(pretended["result"]["Details"], "Managing 5 instances");
    let still = answer(&memory, "Size", web.clone()).await;
    assert_eq!(still["error"]["message"], "group web not found");
    let again = commit(&memory, "web", five.clone()).await;
    assert_eq!(again["result"]["Details"], "Managing 5 instances");
    let size = answer(&memory, "Size", web).await;
    assert_eq!(size["result"]["Size"], 5);
    let same = commit(&memory, "web", five).await;
    assert_eq!(same["result"]["Details"], "Noop");
}

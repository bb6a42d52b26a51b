use std::process::Command;

use drover_model::{
    CloudInit, FlavorAnswer, FlavorName, GroupName, InstanceId, PluginFlavor, TemplateParts,
    UserDataPart, Value, Vanilla,
};

use super::*;
use crate::flavor::{finish, prepare};

fn facts() -> Facts {
    Facts {
        instance: InstanceId::parse("web-7").unwrap(),
        group: GroupName::parse("web").unwrap(),
        zone: None,
        address: None,
        seat: None,
        members: None,
    }
}

fn part(content_type: PartType, content: &str, merge_how: Option<&str>) -> UserDataPart {
    UserDataPart {
        content_type,
        content: content.to_owned(),
        merge_how: merge_how.map(str::to_owned),
    }
}

fn template(flavors: Vec<Flavor>) -> Template {
    Template::from(TemplateParts {
        properties: Value::empty_map(),
        flavors,
        flavors_as_written: Value::Null,
        tags: [("team".to_owned(), "shop".to_owned())].into(),
    })
}

fn cloud_init(parts: Vec<UserDataPart>) -> Flavor {
    Flavor::CloudInit(CloudInit { parts })
}

/// Two flavors of parts with init lines between them, as the instance gets it.
fn mixed() -> String {
    let vanilla = Vanilla {
        attachments: Vec::new(),
        init: vec!["echo \"init ${instance.id} $WHO $${WHO}\" >> \"$OUT\"".to_owned()],
        env: [("WHO".to_owned(), "it's ${group.name}".to_owned())].into(),
        tags: [("name".to_owned(), "${instance.id}".to_owned())].into(),
        secrets: std::collections::BTreeMap::new(),
    };
    let template = template(vec![
        cloud_init(vec![part(
            PartType::CloudConfig,
            "#cloud-config\nhostname: ${instance.id}\nruncmd: [first]\n",
            None,
        )]),
        Flavor::Vanilla(vanilla),
        cloud_init(vec![
            part(
                PartType::ShellScript,
                "#!/bin/sh\necho \"grüße ${group.name} $${WHO:-nobody}\" >> \"$${OUT}\"\n",
                None,
            ),
            part(
                PartType::CloudConfig,
                "#cloud-config\nruncmd: [second]\n",
                Some("list(append)+dict(no_replace,recurse_list)+str()"),
            ),
        ]),
    ]);
    let prepared = prepare(&template, &facts()).unwrap();
    assert!(prepared.slot.env.is_empty());
    let finished = finish(
        &prepared.slot,
        &prepared.properties,
        "10.0.0.1",
        &[],
        &crate::Secrets::default(),
    )
    .unwrap();
    let tags = [("name", "web-7"), ("team", "shop")];
    let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(finished.slot.tags, tags.into());
    assert!(is_user_data(&finished.slot.init));
    finished.slot.init.concat()
}

#[test]
fn flavors_become_one_document_in_their_order() {
    let expected = r#"MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="==drover-user-data-1=="

--==drover-user-data-1==
Content-Type: text/cloud-config; charset="us-ascii"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit

#cloud-config
hostname: web-7
runcmd: [first]

--==drover-user-data-1==
Content-Type: text/x-shellscript; charset="us-ascii"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit

#!/bin/sh
set -eu
export WHO='it'\''s web'
echo "init web-7 $WHO ${WHO}" >> "$OUT"

--==drover-user-data-1==
Content-Type: text/x-shellscript; charset="utf-8"
MIME-Version: 1.0
Content-Transfer-Encoding: base64

IyEvYmluL3NoCmVjaG8gImdyw7zDn2Ugd2ViICR7V0hPOi1ub2JvZHl9IiA+PiAiJHtPVVR9Igo=
--==drover-user-data-1==
Content-Type: text/cloud-config; charset="us-ascii"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Merge-Type: list(append)+dict(no_replace,recurse_list)+str()

#cloud-config
runcmd: [second]

--==drover-user-data-1==--
"#;
    assert_eq!(mixed(), expected);
    assert_eq!(mixed(), expected);
}

#[test]
fn the_real_cloud_init_takes_every_part_merges_and_runs_the_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("user-data");
    std::fs::write(&document, mixed()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/user_data/consume.py");
    let output = Command::new("/usr/bin/python3")
        .arg(script)
        .args([document.clone(), folder.path().join("cloud")])
        .env("OUT", folder.path().join("out"))
        .output()
        .expect("python3 starts; install the packages python3 and cloud-init");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "is the package cloud-init installed? {complaints}"
    );
    let expected = r#"["text/cloud-config", "text/x-shellscript", "text/x-shellscript", "text/cloud-config"]
{"hostname": "web-7", "runcmd": ["first", "second"]}
init web-7 it's web it's web
grüße web nobody
"#;
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn it_takes_effect_in_a_boot_of_the_real_cloud_init() {
    let config = |text: &str, merge_how| {
        let text = format!("#cloud-config\n{text}");
        part(PartType::CloudConfig, &text, merge_how)
    };
    let files = "write_files: [{path: /etc/greeting, content: \"grüße ${group.name}\\n\"}]";
    let first = format!(
        "hostname: ${{instance.id}}\n{files}\nruncmd: [\"cat /etc/greeting >> /tmp/out\"]\n"
    );
    let vanilla = Vanilla {
        init: vec!["echo \"init ${instance.id} $WHO\" >> /tmp/out".to_owned()],
        env: [("WHO".to_owned(), "it's ${group.name}".to_owned())].into(),
        ..Vanilla::default()
    };
    let script = "#!/bin/sh\necho \"script $${0##*/}\" >> /tmp/out\n";
    let last = config(
        "runcmd: [[touch, /tmp/never], \"echo last >> /tmp/out\"]\n",
        Some("list(append)+dict(no_replace,recurse_list)+str()"),
    );
    let template = template(vec![
        cloud_init(vec![config(&first, None)]),
        Flavor::Vanilla(vanilla),
        cloud_init(vec![part(PartType::ShellScript, script, None), last]),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let document = user_data(&template, &facts()).unwrap().unwrap();
    std::fs::write(path("user-data"), document).unwrap();
    std::fs::create_dir(path("root")).unwrap();
    let output = Command::new("unshare")
        .args([
            "--mount", "--net", "--uts", "--pid", "--ipc", "--fork", "sh",
        ])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/user_data/boot.sh"
        ))
        .args([path("root"), path("user-data")])
        .output()
        .expect("unshare starts; install the package util-linux");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "is the package cloud-init installed, and may this user mount? {complaints}"
    );
    let expected = "init web-7 it's web\nscript part-003\ngrüße web\nlast\nweb-7\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    // The machine itself is what it was.
    assert!(!std::path::Path::new("/etc/greeting").exists());
}

#[test]
fn a_boundary_that_a_part_holds_is_passed_over() {
    let content = "#cloud-config\n# --==drover-user-data-1==\n";
    let template = template(vec![cloud_init(vec![part(
        PartType::CloudConfig,
        content,
        None,
    )])]);
    let document = user_data(&template, &facts()).unwrap().unwrap();
    assert!(
        document.ends_with("\n--==drover-user-data-2==--\n"),
        "{document}"
    );
}

#[test]
fn names_that_are_known_too_late_and_names_of_nothing_are_refused() {
    for name in ["instance.address", "members", "instance.adress"] {
        let content = format!("#cloud-config\nhostname: ${{{name}}}\n");
        let parts = vec![part(PartType::CloudConfig, &content, None)];
        let error = prepare(&template(vec![cloud_init(parts)]), &facts()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("unknown substitution ${{{name}}}")
        );
    }
}

#[test]
fn init_lines_alone_are_no_user_data() {
    let vanilla = Vanilla {
        init: vec!["echo".to_owned()],
        ..Vanilla::default()
    };
    let prepared = prepare(&template(vec![Flavor::Vanilla(vanilla)]), &facts()).unwrap();
    assert!(!is_user_data(&prepared.slot.init));
}

#[test]
fn a_plugins_script_is_a_part_in_its_place_and_another_interpreters_one_stays_as_it_is() {
    let plugin = |init: &str| {
        Flavor::Plugin(PluginFlavor {
            name: FlavorName::parse("swarm").unwrap(),
            properties: Value::empty_map(),
            answer: Some(Box::new(FlavorAnswer {
                init: init.to_owned(),
                ..FlavorAnswer::default()
            })),
        })
    };
    let env = Vanilla {
        env: [("WHO".to_owned(), "a".to_owned())].into(),
        ..Vanilla::default()
    };
    let template = template(vec![
        plugin("#!/bin/sh -e\necho \"${WHO}\" $${X}"),
        cloud_init(vec![part(PartType::CloudConfig, "#cloud-config\n", None)]),
        plugin(""),
        plugin("#!/usr/bin/python3\nprint('${x}')\n"),
        Flavor::Vanilla(env),
    ]);
    let document = user_data(&template, &facts()).unwrap().unwrap();
    let shell = "\n\n#!/bin/sh\nset -eu\nexport WHO='a'\n#!/bin/sh -e\necho \"${WHO}\" $${X}\n\n--";
    assert!(document.contains(shell), "{document}");
    let python = "\n\n#!/usr/bin/python3\nprint('${x}')\n\n--";
    assert!(
        document.ends_with(&format!("{python}==drover-user-data-1==--\n")),
        "{document}"
    );
    assert_eq!(
        document.matches("MIME-Version").count(),
        1 + 3,
        "{document}"
    );
}

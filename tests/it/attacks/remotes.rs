//! What a remote can do to an agent beside what is in the commit: packs that grow when they are read, and answers that
//! do not end.

use std::time::Duration;

use super::{Entry, Fleet, GOOD, noise};
use crate::http_backend::Pace;
use crate::ssh_server::{Access, SshServer};

/// What a few hundred kilobytes can do to who takes them whole into memory.
#[test]
fn packs_that_grow_when_they_are_read() {
    let fleet = Fleet::new();
    fleet.commit_versions(2, &vec![0; 11 << 20]);
    let name = "two versions of 11 MiB of zeros, as a difference";
    fleet.survives(name, "remote.yaml", "good");

    fleet.forget();
    fleet.commit_versions(60, &noise(2 << 20, 1));
    let name = "60 versions of 2 MiB, each a difference to the one before";
    fleet.survives(name, "remote.yaml", "good");

    fleet.forget();
    fleet.commit_versions(2, &vec![0; 64 << 20]);
    let name = "two versions of 64 MiB of zeros, as a difference";
    fleet.survives(name, "remote.yaml", "bytes as a difference to another one");

    let zeros = vec![0; 32 << 20];
    fleet.commit(b"zeros\n", &[("images/disk.img", Entry::File(&zeros))]);
    fleet.forget();
    fleet
        .sandbox
        .git("fleet.git", &["repack", "-adfq", "--window=0"]);
    fleet.survives("32 MiB of zeros as they are", "remote.yaml", "good");

    let file = fleet.id_of(&format!("base:{GOOD}"));
    let names: Vec<String> = (0..300_000).map(|n| format!("{n:030}.md")).collect();
    let entries: Vec<(&str, &[u8], &str)> = names
        .iter()
        .map(|name| ("100644", name.as_bytes(), file.as_str()))
        .collect();
    let folder = fleet.raw_tree(&entries);
    fleet.commit_tree(&fleet.raw_tree(&[("40000", b"docs", &folder)]));
    fleet.survives(
        "a folder of 300,000 files, 18 MB",
        "remote.yaml",
        "a tree of ",
    );
}

#[test]
fn packs_of_many_objects() {
    let fleet = Fleet::new();
    let texts: Vec<(String, String)> = (0..310_000)
        .map(|n| (format!("docs/{}/{n}.md", n % 1_000), format!("word {n}\n")))
        .collect();
    let entries: Vec<(&str, Entry<'_>)> = texts
        .iter()
        .map(|(path, text)| (path.as_str(), Entry::File(text.as_bytes())))
        .collect();
    let disk = vec![0; 11 << 20];
    fleet.commit(b"some\n", &entries[..290_000]);
    fleet.commit_versions(2, &disk);
    let name = "290,000 files, and a difference of 11 MiB";
    fleet.survives(name, "remote.yaml", "good");
    fleet.forget();
    fleet.commit(b"more\n", &entries);
    fleet.survives("310,000 files", "remote.yaml", "a pack of 31");
}

/// What a pass says that does not wait any longer, as others follow.
const SLOW: &str = "the repository has not answered yet";

/// What one says that waited until the remote had been silent for too long.
const SILENT: &str = "did not answer within 30000 ms";

#[test]
fn packs_that_stall_over_http() {
    let fleet = Fleet::new();
    let content = noise(1 << 20, 1);
    fleet.commit(b"large\n", &[("images/disk.img", Entry::File(&content))]);
    fleet.server.set_pace(Some(Pace::Stalls));
    let name = "half of a pack and then nothing, over http";
    fleet.judge(name, fleet.passes("remote.yaml"), SLOW);
    let name = "half of a pack and then nothing, over http, with a single pass";
    fleet.judge(name, fleet.pass("remote.yaml"), SILENT);
    let pace = Pace::Drips(Duration::from_secs(1));
    fleet.server.set_pace(Some(pace));
    let name = "half of a pack and then a byte a second, over http";
    fleet.judge(name, fleet.passes("remote.yaml"), SLOW);
    fleet.server.set_pace(None);
    fleet.survives("the whole pack, over http", "remote.yaml", "good");
}

#[test]
fn packs_that_stall_over_ssh() {
    let fleet = Fleet::new();
    let content = noise(1 << 20, 1);
    fleet.commit(b"large\n", &[("images/disk.img", Entry::File(&content))]);
    let server = SshServer::start(&fleet.sandbox.path("sshd"));
    let config = |name: &str, access: Access| {
        let key = server.client(name, access);
        let http = std::fs::read_to_string(fleet.sandbox.path("remote.yaml")).unwrap();
        let ssh = http
            .replace(
                &fleet.server.url("fleet.git"),
                &server.url(&fleet.sandbox.path("fleet.git")),
            )
            .replace(
                "interval:",
                &format!(
                    "knownHosts: '{}', interval:",
                    server.known_hosts().display()
                ),
            );
        let ssh = format!(
            "{ssh}credentials: {{source: {{sshKeyFile: '{}'}}}}\n",
            key.display()
        );
        let file = format!("{name}.yaml");
        fleet.sandbox.write(&file, &ssh);
        file
    };
    let stalls = config("stalls", Access::StallsAfter(400_000));
    let name = "half of a pack and then nothing, over ssh";
    fleet.judge(name, fleet.passes(&stalls), SLOW);
    let name = "half of a pack and then nothing, over ssh, with a single pass";
    fleet.judge(name, fleet.pass(&stalls), SILENT);
    let drips = config("drips", Access::DripsAfter(400_000));
    let name = "half of a pack and then a byte a second, over ssh";
    fleet.judge(name, fleet.passes(&drips), SLOW);
    let writes = config("writes", Access::Write);
    fleet.survives("the whole pack, over ssh", &writes, "good");
}

use std::fs;
use std::io::BufRead as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use drover_model::{
    CloudInit, Digests, DrainDone, DrainSpec, Epoch, ErrorClass, Flavor, GroupName, HttpRequest,
    InPlace, InPlaceUpdate, InstanceId, IntentId, IntentKind, IntentState, OnDrainTimeout,
    PartType, ProviderRef, ProviderType, Reason, Settlement, SettlementOutcome, Template,
    TemplateParts, Timestamp, Token, UserDataPart, Value, Vanilla,
};
use redb::StorageBackend;
use redb::backends::FileBackend;

use super::disk::{builder, initialize};
use super::*;

fn web() -> GroupName {
    GroupName::parse("web").unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn instance(number: u64) -> InstanceId {
    InstanceId::new(web(), number)
}

fn token(letter: char) -> Token {
    Token::parse(&letter.to_string().repeat(32)).unwrap()
}

fn handle(text: &str) -> ProviderRef {
    ProviderRef::parse(text).unwrap()
}

fn template() -> Template {
    let properties = [
        ("command".to_owned(), Value::List(vec!["serve".into()])),
        ("big".to_owned(), Value::UInt(u64::MAX)),
        ("count".to_owned(), Value::Int(-3)),
        ("whole".to_owned(), Value::Float(1.0)),
        ("share".to_owned(), Value::Float(0.1 + 0.2)),
        ("nothing".to_owned(), Value::Null),
        ("on".to_owned(), Value::Bool(true)),
        ("env".to_owned(), Value::empty_map()),
    ];
    Template::from(TemplateParts {
        properties: properties.into_iter().collect(),
        flavors: vec![
            Flavor::Vanilla(Vanilla {
                attachments: vec![drover_model::Attachment {
                    id: "vol-${instance.id}".to_owned(),
                    type_: "ebs".to_owned(),
                }],
                init: vec!["echo ${instance.id}".to_owned()],
                env: [("PORT".to_owned(), "80".to_owned())].into(),
                tags: [("team".to_owned(), "ä \"x\"".to_owned())].into(),
                secrets: [(
                    "TOKEN".to_owned(),
                    drover_model::SecretRef::Env("WEB_TOKEN".to_owned()),
                )]
                .into(),
            }),
            Flavor::CloudInit(CloudInit {
                parts: vec![UserDataPart {
                    content_type: PartType::CloudConfig,
                    content: "#cloud-config\n".to_owned(),
                    merge_how: Some("list(append)".to_owned()),
                }],
            }),
        ],
        flavors_as_written: Value::List(vec![Value::empty_map()]),
        tags: [("tier".to_owned(), "front".to_owned())].into(),
    })
}

fn create(numbers: &[u64]) -> IntentKind {
    let kind = ProviderType::parse("simulated").unwrap();
    IntentKind::Create {
        zone: None,
        slots: numbers.iter().copied().map(instance).collect(),
        attempt: 2,
        token: token('a'),
        digests: Digests::of(&kind, &template(), &std::collections::BTreeMap::new()),
        template: template(),
        seat: None,
    }
}

/// A create that takes the place of a member.
fn seated(number: u64) -> IntentKind {
    let member = |id: &str| drover_model::MemberId::parse(id).unwrap();
    let place = drover_model::Seat {
        id: drover_model::SeatId {
            life: drover_model::GroupUid::parse("0123456789abcdef").unwrap(),
            member: member("m2"),
        },
        members: vec![member("m1"), member("m2")],
        bootstrap: true,
        attachments: vec![drover_model::AttachmentName::parse("data").unwrap()],
    };
    match create(&[number]) {
        IntentKind::Create {
            slots,
            attempt,
            token,
            digests,
            zone,
            template,
            ..
        } => IntentKind::Create {
            slots,
            attempt,
            token,
            digests,
            zone,
            template,
            seat: Some(Box::new(place)),
        },
        other => other,
    }
}

#[test]
fn a_place_is_written_down_whole() {
    let dir = tempfile::tempdir().unwrap();
    let journal = RedbJournal::open(dir.path()).unwrap();
    append(&journal, vec![seated(1)]);
    drop(journal);
    let again = RedbJournal::open(dir.path()).unwrap();
    assert_eq!(again.open_intents(&web()).unwrap()[0].kind, seated(1));
}

fn drain() -> IntentKind {
    IntentKind::Drain {
        instance: instance(1),
        provider_ref: handle("i-1"),
        address: Some("10.0.0.1".to_owned()),
        reason: Reason::ScaleIn,
        spec: DrainSpec {
            delay: Duration::from_millis(2_500),
            begin: vec![HttpRequest {
                method: "POST".to_owned(),
                port: 8080,
                path: "/drain?now".to_owned(),
            }],
            done: Some(DrainDone::Http {
                port: 8080,
                path: "/idle".to_owned(),
            }),
            timeout: Duration::from_mins(5),
            unhealthy_timeout: Duration::from_secs(30),
            on_timeout: OnDrainTimeout::Abort,
        },
        deadline: at(300),
        begun: false,
        done: false,
        returns: None,
    }
}

mod adopt;
mod flavors;
mod said;

fn update() -> IntentKind {
    let IntentKind::Create {
        digests, template, ..
    } = create(&[1])
    else {
        unreachable!("a create");
    };
    IntentKind::Update(InPlaceUpdate {
        instance: instance(1),
        provider_ref: handle("i-1"),
        token: token('b'),
        update: token('c'),
        how: InPlace::Restart,
        digests,
        zone: Some("a".to_owned()),
        template,
        grace: Duration::from_secs(30),
    })
}

#[test]
fn a_change_in_place_and_what_a_drain_is_for_are_written_down_whole() {
    let dir = tempfile::tempdir().unwrap();
    let journal = RedbJournal::open(dir.path()).unwrap();
    let mut drained = drain();
    let IntentKind::Drain { returns, .. } = &mut drained else {
        unreachable!("a drain");
    };
    let IntentKind::Update(InPlaceUpdate { digests, .. }) = update() else {
        unreachable!("an update");
    };
    *returns = Some(digests);
    append(&journal, vec![update(), drained.clone()]);
    drop(journal);
    let again = RedbJournal::open(dir.path()).unwrap();
    let open = again.open_intents(&web()).unwrap();
    assert_eq!([&open[0].kind, &open[1].kind], [&update(), &drained]);
}

#[test]
fn a_change_of_a_membership_list_is_written_down_whole() {
    use drover_model::{EntryId, EtcdKeeper, Keeper, RosterChange, RosterStep, SeatId};
    let seat = SeatId {
        life: drover_model::GroupUid::parse("0123456789abcdef").unwrap(),
        member: drover_model::MemberId::parse("m2").unwrap(),
    };
    let large = EntryId(u64::MAX);
    let changes = [
        RosterChange::Add,
        RosterChange::Remove(large),
        RosterChange::Promote(large),
        RosterChange::HandOver {
            from: large,
            to: EntryId(1),
        },
    ];
    let kinds = changes.map(|change| {
        IntentKind::Roster(RosterStep {
            keeper: Keeper::Etcd(EtcdKeeper {
                client_port: 2379,
                peer_port: 2380,
            }),
            at: "10.0.0.1".to_owned(),
            seat: (change != RosterChange::Promote(large)).then(|| seat.clone()),
            change,
        })
    });
    let dir = tempfile::tempdir().unwrap();
    let journal = RedbJournal::open(dir.path()).unwrap();
    append(&journal, kinds.to_vec());
    drop(journal);
    let again = RedbJournal::open(dir.path()).unwrap();
    let open = again.open_intents(&web()).unwrap();
    let found: Vec<_> = open.into_iter().map(|intent| intent.kind).collect();
    assert_eq!(found, kinds);
}

fn destroy() -> IntentKind {
    IntentKind::Destroy {
        instance: instance(1),
        provider_ref: handle("i-1"),
        token: token('b'),
        reason: Reason::Heal,
    }
}

fn settled(id: IntentId) -> Settlement {
    Settlement {
        intent: id,
        outcome: SettlementOutcome::Observed,
    }
}

fn append(journal: &dyn Journal, kinds: Vec<IntentKind>) -> Vec<IntentId> {
    journal.append(&web(), Epoch(1), at(0), kinds).unwrap()
}

/// Runs `check` on both journals: what holds for one holds for the other.
fn on_both(check: impl Fn(&dyn Journal)) {
    check(&MemoryJournal::new());
    let dir = tempfile::tempdir().unwrap();
    check(&RedbJournal::open(dir.path()).unwrap());
}

#[test]
fn shows_open_intents_of_one_group_in_order() {
    on_both(|journal| {
        let ids = append(journal, vec![create(&[1, 2]), drain(), destroy()]);
        let other = GroupName::parse("db").unwrap();
        journal
            .append(&other, Epoch(1), at(1), vec![destroy()])
            .unwrap();
        let open = journal.open_intents(&web()).unwrap();
        assert_eq!(open.iter().map(|intent| intent.id).collect::<Vec<_>>(), ids);
        assert_eq!(open[0].kind, create(&[1, 2]));
        assert!(open.iter().all(|i| i.state == IntentState::Intended));
        assert_eq!(journal.groups().unwrap(), [other, web()].into());
    });
}

#[test]
fn settled_intents_go_and_the_largest_number_stays() {
    on_both(|journal| {
        let ids = append(journal, vec![create(&[7, 3]), create(&[5])]);
        let settled: Vec<_> = ids.iter().copied().map(settled).collect();
        journal.settle(&settled).unwrap();
        journal.settle(&settled).unwrap();
        assert_eq!(journal.open_intents(&web()).unwrap(), vec![]);
        assert!(journal.groups().unwrap().is_empty());
        assert_eq!(journal.last_number(&web()).unwrap(), 7);
        assert!(append(journal, vec![drain()])[0] > ids[1]);
    });
}

#[test]
fn refused_write_leaves_no_trace() {
    on_both(|journal| {
        let ids = append(journal, vec![destroy()]);
        let write = vec![
            JournalChange::Advance {
                id: ids[0],
                state: IntentState::Sent,
            },
            JournalChange::UpdateDrain {
                id: ids[0],
                begun: true,
                done: false,
            },
        ];
        let error = journal.commit(write).unwrap_err();
        assert!(matches!(error, JournalError::NotADrain(id) if id == ids[0]));
        let open = journal.open_intents(&web()).unwrap();
        assert_eq!(open[0].state, IntentState::Intended);
        let missing = IntentId(99);
        let error = journal.advance(missing, IntentState::Sent).unwrap_err();
        assert!(matches!(error, JournalError::UnknownIntent(id) if id == missing));
    });
}

#[test]
fn agent_with_an_older_epoch_cannot_append() {
    on_both(|journal| {
        journal
            .append(&web(), Epoch(4), at(0), vec![destroy()])
            .unwrap();
        let error = journal
            .append(&web(), Epoch(3), at(0), vec![destroy()])
            .unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"group web is held with epoch 4, this agent has epoch 3");
        }
        assert_eq!(journal.open_intents(&web()).unwrap().len(), 1);
    });
}

#[test]
fn blobs_are_stored_listed_and_removed() {
    on_both(|journal| {
        let blob = |key: &str| (key.to_owned(), Some(b"x".to_vec()));
        journal
            .put(&[
                blob("group/a"),
                blob("group/b"),
                blob("groups"),
                blob("epoch"),
            ])
            .unwrap();
        assert_eq!(journal.keys("group/").unwrap(), ["group/a", "group/b"]);
        assert_eq!(journal.get("epoch").unwrap(), Some(b"x".to_vec()));
        journal.put(&[("epoch".to_owned(), None)]).unwrap();
        assert_eq!(journal.get("epoch").unwrap(), None);
    });
}

#[test]
fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let states = [
        IntentState::Sent,
        IntentState::Acked {
            made: [(instance(1), handle("i-1"))].into(),
            at: at(3),
        },
        IntentState::Failed {
            class: ErrorClass::Capacity,
            message: "no room".to_owned(),
            at: at(4),
        },
    ];
    let before = {
        let journal = RedbJournal::open(dir.path()).unwrap();
        let ids = append(
            &journal,
            vec![create(&[1, 12]), drain(), destroy(), destroy()],
        );
        for (id, state) in ids.iter().zip(states) {
            journal.advance(*id, state).unwrap();
        }
        journal.update_drain(ids[1], true, false).unwrap();
        journal
            .put(&[("key".to_owned(), Some(vec![0, 255]))])
            .unwrap();
        journal.settle(&[settled(ids[3])]).unwrap();
        journal.open_intents(&web()).unwrap()
    };
    let journal = RedbJournal::open(dir.path()).unwrap();
    assert_eq!(journal.open_intents(&web()).unwrap(), before);
    assert_eq!(journal.last_number(&web()).unwrap(), 12);
    assert_eq!(journal.get("key").unwrap(), Some(vec![0, 255]));
    assert_eq!(append(&journal, vec![destroy()]), [IntentId(5)]);
}

#[test]
fn second_agent_is_refused_and_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = RedbJournal::open(dir.path()).unwrap();
    let error = RedbJournal::open(dir.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "data directory {} is in use by process {}",
            dir.path().display(),
            std::process::id()
        )
    );
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
    drop(first);
    RedbJournal::open(dir.path()).unwrap();
}

#[test]
fn journal_of_a_newer_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(RedbJournal::open(dir.path()).unwrap());
    let path = dir.path().join("journal.redb");
    {
        let database = builder().open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let table = redb::TableDefinition::<&str, u64>::new("meta");
        transaction
            .open_table(table)
            .unwrap()
            .insert("format", 2)
            .unwrap();
        transaction.commit().unwrap();
    }
    let error = RedbJournal::open(dir.path()).unwrap_err();
    assert!(matches!(
        error,
        JournalError::NewerFormat {
            found: 2,
            supported: 1,
            ..
        }
    ));
    assert!(error.to_string().contains("has format 2"), "{error}");
}

type Damage = fn(&std::path::Path);

/// Ways to damage a journal's file.
fn damages() -> Vec<(&'static str, Damage)> {
    vec![
        ("emptied", |path| fs::write(path, b"").unwrap()),
        ("replaced by text", |path| {
            fs::write(path, b"kind: Group\n".repeat(1000)).unwrap();
        }),
        ("cut in half", |path| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
        ("zeroed behind the header", |path| {
            let file = fs::File::options().write(true).open(path).unwrap();
            let length = file.metadata().unwrap().len() as usize;
            file.write_all_at(&vec![0; length - 4096], 4096).unwrap();
        }),
        ("noise everywhere", |path| {
            let length = fs::metadata(path).unwrap().len();
            let noise: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
            fs::write(path, noise).unwrap();
        }),
        ("a folder", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ]
}

#[test]
fn damaged_journal_is_refused_and_never_replaced() {
    for (name, damage) in damages() {
        let dir = tempfile::tempdir().unwrap();
        append(
            &RedbJournal::open(dir.path()).unwrap(),
            vec![create(&[1]), destroy()],
        );
        let path = dir.path().join("journal.redb");
        damage(&path);
        let before = fs::read(&path).ok();
        let Err(error) = RedbJournal::open(dir.path()) else {
            panic!("{name}: opened");
        };
        assert!(
            error.to_string().contains("journal.redb"),
            "{name}: {error}"
        );
        assert!(
            matches!(
                error,
                JournalError::Damaged { .. } | JournalError::Storage { .. }
            ),
            "{name}: {error:?}"
        );
        let emptied = name == "emptied";
        let after = fs::read(&path).ok();
        assert!(!emptied || before == after, "{name}: re-created");
    }
}

/// Opens the journal of `dir`, and returns what it holds unless that is an error.
fn opened(dir: &std::path::Path) -> Option<Vec<Intent>> {
    let journal = RedbJournal::open(dir).ok()?;
    journal.open_intents(&web()).ok()
}

#[test]
fn single_wrong_byte_is_found_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    append(
        &RedbJournal::open(dir.path()).unwrap(),
        vec![create(&[1]), drain(), destroy()],
    );
    let right = opened(dir.path()).unwrap();
    let path = dir.path().join("journal.redb");
    let sound = fs::read(&path).unwrap();
    let used = sound.iter().rposition(|byte| *byte != 0).unwrap();
    let mut found = 0;
    for position in (0..=used).step_by(used / 150) {
        let mut bytes = sound.clone();
        bytes[position] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        match opened(dir.path()) {
            Some(read) => assert_eq!(read, right, "byte {position}"),
            None => found += 1,
        }
    }
    assert!(found > 0, "no wrong byte was found");
}

/// In the process that is killed: appends intents and prints each one that is durable.
fn append_until_killed(dir: &std::path::Path) -> ! {
    let journal = RedbJournal::open(dir).unwrap();
    for number in 1.. {
        append(&journal, vec![create(&[number])]);
        println!("durable {number}");
    }
    unreachable!()
}

#[test]
fn answered_writes_survive_a_kill_and_the_lock_does_not() {
    const DIR: &str = "DROVER_TEST_JOURNAL_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        append_until_killed(dir.as_ref());
    }
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "answered_writes_survive_a_kill",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(DIR, dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let durable = lines.filter_map(|line| line.unwrap().strip_prefix("durable ")?.parse().ok());
        let last: u64 = durable.take(50).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let journal = RedbJournal::open(dir.path()).unwrap();
        assert!(journal.last_number(&web()).unwrap() >= last);
        let open = journal.open_intents(&web()).unwrap();
        assert!(
            open.len() as u64 >= round * 50,
            "round {round}: {}",
            open.len()
        );
    }
}

#[test]
fn row_that_cannot_be_read_is_damage_and_names_the_intent() {
    let dir = tempfile::tempdir().unwrap();
    let id = append(&RedbJournal::open(dir.path()).unwrap(), vec![destroy()])[0];
    let path = dir.path().join("journal.redb");
    {
        let database = builder().open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let table = redb::TableDefinition::<u64, &[u8]>::new("intents");
        let row: &[u8] = br#"{"group":"Web!"}"#;
        transaction
            .open_table(table)
            .unwrap()
            .insert(id.0, row)
            .unwrap();
        transaction.commit().unwrap();
    }
    let error = RedbJournal::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("is damaged: intent 1: "), "{error}");
}

#[test]
fn half_made_journal_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("journal.redb.new"), b"half").unwrap();
    append(&RedbJournal::open(dir.path()).unwrap(), vec![destroy()]);
}

#[test]
fn directory_that_cannot_be_made_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = RedbJournal::open(&file.join("data")).unwrap_err();
    assert!(error.to_string().starts_with("cannot create "), "{error}");
    assert_eq!(error.disposition(), Disposition::Retry);
}

/// Storage on a disk with a limit, which a test moves.
#[derive(Debug)]
struct Limited {
    file: FileBackend,
    bytes_left: Arc<AtomicU64>,
    flushes: Arc<AtomicUsize>,
}

impl Limited {
    fn take(&self, bytes: u64) -> Result<(), std::io::Error> {
        let taken = self
            .bytes_left
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(bytes)
            });
        taken
            .map(drop)
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::StorageFull))
    }
}

impl StorageBackend for Limited {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.take(data.len() as u64)?;
        self.file.write(offset, data)
    }
}

struct LimitedJournal {
    journal: RedbJournal,
    bytes_left: Arc<AtomicU64>,
    flushes: Arc<AtomicUsize>,
    _dir: tempfile::TempDir,
}

fn limited() -> LimitedJournal {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.redb");
    initialize(&builder().create(&path).unwrap()).unwrap();
    let bytes_left = Arc::new(AtomicU64::new(u64::MAX));
    let flushes = Arc::new(AtomicUsize::new(0));
    let (left, count, file) = (bytes_left.clone(), flushes.clone(), path.clone());
    let open = move || {
        let options = fs::File::options().read(true).write(true).open(&file);
        let backend = Limited {
            file: FileBackend::new(options.unwrap()).unwrap(),
            bytes_left: left.clone(),
            flushes: count.clone(),
        };
        builder()
            .create_with_backend(backend)
            .map_err(|error| lock::storage(Attempted::Open, file.clone(), error))
    };
    LimitedJournal {
        journal: RedbJournal::start(path, Box::new(open), None).unwrap(),
        bytes_left,
        flushes,
        _dir: dir,
    }
}

#[test]
fn full_disk_is_an_error_and_the_journal_recovers_by_itself() {
    let limited = limited();
    let journal = &limited.journal;
    let kept = append(journal, vec![create(&[1])]);
    for bytes in [0, 1, 5_000, 9_000, 20_000] {
        limited.bytes_left.store(bytes, Ordering::SeqCst);
        // Large enough that no limit above holds it.
        let big = ("big".to_owned(), Some(vec![1; 100_000]));
        let error = journal.put(&[big]).unwrap_err();
        assert!(matches!(error, JournalError::Storage { .. }), "{error:?}");
        assert_eq!(error.disposition(), Disposition::Retry);
        assert!(
            journal
                .append(&web(), Epoch(1), at(1), vec![destroy()])
                .is_err()
        );
        assert!(journal.check().is_err(), "{bytes} bytes were enough");
        // What was durable is still shown.
        let open = journal.open_intents(&web()).unwrap();
        assert_eq!(open.iter().map(|i| i.id).collect::<Vec<_>>(), kept);
    }
    limited.bytes_left.store(u64::MAX, Ordering::SeqCst);
    journal.check().unwrap();
    append(journal, vec![destroy()]);
    assert_eq!(journal.get("big").unwrap(), None);
    assert_eq!(journal.open_intents(&web()).unwrap().len(), 2);
}

#[test]
fn each_answered_write_was_flushed() {
    let limited = limited();
    let before = limited.flushes.load(Ordering::SeqCst);
    append(&limited.journal, vec![destroy()]);
    let once = limited.flushes.load(Ordering::SeqCst);
    assert!(once > before);
    limited.journal.check().unwrap();
    assert_eq!(limited.flushes.load(Ordering::SeqCst), once);
}

#[test]
fn waiting_writers_share_a_flush() {
    let limited = limited();
    let before = limited.flushes.load(Ordering::SeqCst);
    let (sender, receiver) = mpsc::channel();
    for number in 1..=1000 {
        let sender = sender.clone();
        let change = JournalChange::Append {
            group: web(),
            epoch: Epoch(1),
            at: at(0),
            intents: vec![(create(&[number]), IntentState::Intended)],
        };
        let reply = move |result: Result<Vec<IntentId>, JournalError>| {
            sender.send(result.unwrap()).unwrap();
        };
        limited.journal.submit(vec![change], Box::new(reply));
    }
    let ids: std::collections::BTreeSet<_> =
        (0..1000).flat_map(|_| receiver.recv().unwrap()).collect();
    assert_eq!(ids.len(), 1000);
    assert_eq!(limited.journal.last_number(&web()).unwrap(), 1000);
    let flushes = limited.flushes.load(Ordering::SeqCst) - before;
    assert!(flushes < 200, "{flushes} flushes for 1,000 writers");
}

#[test]
fn memory_journal_fails_as_told_and_keeps_what_was_durable() {
    let journal = MemoryJournal::new();
    append(&journal, vec![create(&[1])]);
    journal.fail_from(2, FailWrites::Before);
    assert!(
        journal
            .append(&web(), Epoch(1), at(0), vec![destroy()])
            .is_err()
    );
    assert!(journal.check().is_err());
    assert_eq!(journal.crashed().open_intents(&web()).unwrap().len(), 1);
    journal.fail_from(2, FailWrites::After);
    assert!(
        journal
            .append(&web(), Epoch(1), at(0), vec![destroy()])
            .is_err()
    );
    assert_eq!(journal.crashed().open_intents(&web()).unwrap().len(), 2);
    journal.recover();
    journal.check().unwrap();
    assert_eq!(journal.writes(), 5);
}

#[tokio::test]
async fn async_write_answers_with_the_ids() {
    let dir = tempfile::tempdir().unwrap();
    let journal = RedbJournal::open(dir.path()).unwrap();
    let change = JournalChange::Append {
        group: web(),
        epoch: Epoch(1),
        at: at(0),
        intents: vec![(destroy(), IntentState::Intended)],
    };
    assert_eq!(
        write_journal(&journal, vec![change]).await.unwrap(),
        [IntentId(1)]
    );
}

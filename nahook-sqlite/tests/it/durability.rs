//! Acknowledged writes survive, and nothing survives by halves, whatever happens in between.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nahook_core::id::DeliveryId;
use nahook_core::{FailureKind, Outcome, StoreErrorKind};
use nahook_sqlite::{OpenError, SqliteStore};

use crate::support::{
    self, Place, all_failed, all_published, declare, halves, ids, open, publish, queued, server,
};

/// Variable by which a test passes the file on when it starts itself again.
const FILE: &str = "NAHOOK_TEST_FILE";
const FIRST: &str = "NAHOOK_TEST_FIRST";

/// Endpoints of each event.
const WIDTH: usize = 5;

/// Starts this test once more, as a process of its own.
fn again(prepare: impl FnOnce(&mut Command)) -> Command {
    let name = std::thread::current().name().unwrap().to_owned();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", &name, "--nocapture"])
        .stdout(Stdio::piped());
    prepare(&mut command);
    command
}

/// Publishes without end from several tasks, and says which deliveries were acknowledged or definitely refused.
fn publish_for_ever(file: &Path, first: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let store = open(file);
    let numbers = std::sync::Arc::new(AtomicU64::new(first));
    for _ in 0..4 {
        let (store, numbers) = (store.clone(), std::sync::Arc::clone(&numbers));
        runtime.spawn(async move {
            loop {
                let slots = publish(&store, numbers.fetch_add(1, Ordering::SeqCst), WIDTH).await;
                let line = |slot: &nahook_core::Delivery| {
                    let word = match slot.outcome() {
                        Outcome::Published | Outcome::Replayed(_) => "yes",
                        Outcome::Failed(kind) if kind.may_be_queued() => "perhaps",
                        Outcome::Failed(_) => "no",
                    };
                    format!("{word} {}\n", slot.id())
                };
                let lines: Vec<String> = slots.iter().map(line).collect();
                // One call, so that a kill leaves no line by halves.
                if std::io::stdout()
                    .write_all(lines.concat().as_bytes())
                    .is_err()
                {
                    std::process::exit(1);
                }
            }
        });
    }
    runtime.block_on(std::future::pending::<()>());
}

/// Output of a process about its deliveries until it ended or had printed `enough`.
#[derive(Default)]
struct Said {
    yes: BTreeSet<DeliveryId>,
    no: BTreeSet<DeliveryId>,
    perhaps: BTreeSet<DeliveryId>,
}

impl Said {
    fn listen(&mut self, child: &mut Child, mut enough: impl FnMut(&Self) -> bool) {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut is_killed = false;
        for line in lines.map_while(Result::ok) {
            let Some((word, id)) = line.split_once(' ') else {
                continue;
            };
            let Ok(id) = id.parse() else {
                continue;
            };
            match word {
                "yes" => self.yes.insert(id),
                "no" => self.no.insert(id),
                "perhaps" => self.perhaps.insert(id),
                _ => false,
            };
            // Far more than any test wants: whatever it waits for does not come.
            let is_hopeless = self.yes.len() > 100_000;
            if !is_killed && (is_hopeless || enough(self)) {
                // SIGKILL; what is still in the pipe was said before it.
                child.kill().unwrap();
                is_killed = true;
            }
        }
        child.wait().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Some(file) = std::env::var_os(FILE) {
        let first = std::env::var(FIRST).unwrap().parse().unwrap();
        publish_for_ever(Path::new(&file), first);
    }
    let place = Place::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(declare(&place.open(), WIDTH));
    let mut said = Said::default();
    for round in 0..10_u64 {
        let mut command = again(|command| {
            command
                .env(FILE, place.file())
                .env(FIRST, (round * 1_000_000).to_string());
        });
        let before = said.yes.len();
        let wanted = usize::try_from(round * 37 + 1).unwrap();
        said.listen(&mut command.spawn().unwrap(), |said| {
            said.yes.len() - before >= wanted
        });
        assert!(said.yes.len() > before);
    }
    let (_, deliveries, halves) = halves(&place.raw());
    assert_eq!(halves, 0);
    let found = runtime.block_on(queued(&place.open()));
    assert_eq!(i64::try_from(found.len()).unwrap(), deliveries);
    assert!(
        said.yes.is_subset(&found),
        "{} are lost",
        said.yes.difference(&found).count()
    );
    assert!(said.no.is_disjoint(&found));
}

#[test]
fn a_disk_that_refuses_writes_is_told_truly() {
    if let Some(file) = std::env::var_os(FILE) {
        publish_for_ever(Path::new(&file), 0);
    }
    // What a failed commit may have left in the log is written over, if the log has room for that: its limit decides.
    assert!((0..20).any(|more| is_told_truly_and_overwritten(800 + 3 * more)));
}

/// Answers whether a commit failed at the very end and was written over. The process may write no file beyond so many blocks of 512
/// bytes: the log cannot grow, in the middle of commits.
fn is_told_truly_and_overwritten(blocks_max: u32) -> bool {
    let place = Place::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(declare(&place.open(), WIDTH));
    // A shell, because the limit and the ignored signal have to be there before the program starts.
    let command = again(|_| {});
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!(
            "trap '' XFSZ; ulimit -f {blocks_max}; exec \"$0\" \"$@\""
        ))
        .arg(command.get_program())
        .args(command.get_args())
        .env(FILE, place.file())
        .stdout(Stdio::piped());
    let mut said = Said::default();
    said.listen(&mut limited.spawn().unwrap(), |said| {
        !said.yes.is_empty() && said.no.len() + said.perhaps.len() >= 100 * WIDTH
    });
    assert!(!said.yes.is_empty() && said.no.len() + said.perhaps.len() >= 100 * WIDTH);
    assert_eq!(halves(&place.raw()).2, 0);
    let overwrites: i64 = place
        .raw()
        .query_row("SELECT overwrites FROM nahook_catalog_state", [], |row| {
            row.get(0)
        })
        .unwrap();
    let found = runtime.block_on(queued(&place.open()));
    assert!(
        said.yes.is_subset(&found),
        "{} are lost",
        said.yes.difference(&found).count()
    );
    assert!(
        said.no.is_disjoint(&found),
        "{} were refused",
        said.no.intersection(&found).count()
    );
    overwrites > 0
}

#[tokio::test]
async fn a_full_store_refuses_whole_events_and_goes_on_when_there_is_room() {
    let place = Place::new();
    let mut small = server();
    small.pages_max = Some(120);
    let store = SqliteStore::open(place.file(), small).unwrap();
    declare(&store, WIDTH).await;
    let (mut published, mut refused) = (BTreeSet::new(), BTreeSet::new());
    let mut number = 0;
    while refused.len() < 10 * WIDTH {
        number += 1;
        let slots = publish(&store, number, WIDTH).await;
        if all_published(&slots) {
            published.extend(ids(&slots));
        } else {
            assert!(
                all_failed(&slots, FailureKind::QueueUnavailable),
                "{slots:?}"
            );
            refused.extend(ids(&slots));
        }
        assert!(number < 100_000, "the store never fills");
    }
    assert!(!published.is_empty());
    // Reading goes on; writing fails as such.
    assert_eq!(queued(&store).await, published);
    let mut other = nahook_testkit::declare::Workspace::new("ws_other");
    for number in 0..2_000 {
        other = other.event_type(&format!("type.{number}"));
    }
    let manifest = other.manifest();
    let applied =
        nahook_control::Catalog::apply(&store, &manifest, nahook_control::ApplyMode::Commit);
    match applied.await {
        Err(nahook_control::CatalogError::Store(error)) => {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        }
        other => panic!("{} changes", other.unwrap().len()),
    }
    drop(store);
    assert_eq!(halves(&place.raw()).2, 0);

    let roomy = place.open();
    assert_eq!(queued(&roomy).await, published);
    assert!(all_published(&publish(&roomy, 1_000_000, WIDTH).await));
}

#[tokio::test]
async fn one_that_needs_too_much_room_leaves_it_to_the_others() {
    let place = Place::new();
    let mut small = server();
    small.pages_max = Some(160);
    let store = SqliteStore::open(place.file(), small).unwrap();
    declare(&store, 3).await;
    let before = store.writer_stats();
    // Together they do not fit, apart the small ones do.
    let wide = publish_big(&store, 1);
    let narrow = futures_of(&store);
    let (wide, narrow) = tokio::join!(wide, narrow);
    assert!(all_failed(&wide, FailureKind::QueueUnavailable));
    for slots in narrow {
        assert!(all_published(&slots));
    }
    assert!(store.writer_stats().failures > before.failures);
}

/// An event larger than the store.
async fn publish_big(store: &SqliteStore, number: u64) -> Vec<nahook_core::Delivery> {
    let mut event = nahook_testkit::declare::event(
        support::WORKSPACE,
        support::EVENT_TYPE,
        number,
        support::NOW,
    );
    let text = "x".repeat(2_000_000);
    event.payload = nahook_testkit::declare::payload(&format!("{{\"text\":\"{text}\"}}"));
    let mut slots = nahook_testkit::declare::deliveries(&event, &support::first_endpoints(1));
    nahook_core::DeliveryPublisher::publish(store, &event, &mut slots).await;
    slots
}

async fn futures_of(store: &SqliteStore) -> [Vec<nahook_core::Delivery>; 3] {
    let (a, b, c) = tokio::join!(
        publish(store, 2, 1),
        publish(store, 3, 1),
        publish(store, 4, 1)
    );
    [a, b, c]
}

#[tokio::test]
async fn a_lock_that_is_not_to_be_had_is_unavailable() {
    let place = Place::new();
    let mut impatient = server();
    impatient.busy_timeout = Duration::from_millis(20);
    let store = SqliteStore::open(place.file(), impatient).unwrap();
    declare(&store, 1).await;
    let other = place.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(all_failed(
        &publish(&store, 1, 1).await,
        FailureKind::QueueUnavailable
    ));
    // Reading goes on beside a writer of another process.
    assert!(queued(&store).await.is_empty());
    other.execute_batch("ROLLBACK").unwrap();
    assert!(all_published(&publish(&store, 2, 1).await));
    assert_eq!(queued(&store).await.len(), 1);
}

#[test]
fn errors_name_no_path() {
    let place = Place::new();
    let error = SqliteStore::open(place.directory.path().join("no").join("such"), server());
    let text = error.unwrap_err().to_string();
    assert!(!text.contains("such"), "{text}");
    assert!(!OpenError::InUse.to_string().contains('/'));
}

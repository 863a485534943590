use super::*;
use crate::connection::{open_writer, set_up_writer};

const PAGE: u64 = 4_096;
const LENGTHS: Lengths = Lengths { step: 20, max: 200 };

fn len_of(directory: &Path, name: &str) -> u64 {
    std::fs::metadata(directory.join(name)).map_or(0, |file| file.len())
}

fn count(connection: &Connection) -> i64 {
    let statement = "SELECT count(*) FROM word";
    connection
        .query_row(statement, [], |row| row.get(0))
        .unwrap()
}

fn write(connection: &Connection, checkpointer: &Checkpointer) {
    let statement = "INSERT INTO word VALUES (zeroblob(40000))";
    connection.execute(statement, []).unwrap();
    checkpointer.committed(connection);
}

fn opened_with(directory: &Path, lengths: Lengths) -> (Connection, Checkpointer) {
    let path = directory.join("db");
    let settings = SqliteSettings::server();
    let writer = open_writer(&path, &settings).unwrap();
    set_up_writer(&writer, &settings).unwrap();
    writer.execute_batch("CREATE TABLE word (word)").unwrap();
    let checkpointer = Checkpointer::start(&path, &settings, &writer, lengths).unwrap();
    (writer, checkpointer)
}

#[test]
fn thread_checkpoints_beside_the_writer() {
    let directory = tempfile::tempdir().unwrap();
    // The writer itself never does.
    let lengths = Lengths {
        step: 20,
        max: u32::MAX,
    };
    let (writer, checkpointer) = opened_with(directory.path(), lengths);
    let mut written = 0;
    while len_of(directory.path(), "db") < 200 * PAGE {
        assert!(written < 20_000, "nobody puts the log into the file");
        write(&writer, &checkpointer);
        written += 1;
        if written > 40 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
    assert_eq!(count(&writer), written);
    drop(checkpointer);
    writer.close().unwrap();
    assert_eq!(len_of(directory.path(), "db-wal"), 0);
}

#[test]
fn writer_checkpoints_a_wal_that_has_grown_long() {
    let directory = tempfile::tempdir().unwrap();
    // The thread has nothing to do before the writer has.
    let lengths = Lengths {
        step: 200,
        max: 200,
    };
    let (writer, checkpointer) = opened_with(directory.path(), lengths);
    let pages = || checkpointer.log.pages.load(Ordering::Relaxed);
    let mut written = 0;
    while pages() < lengths.max {
        assert_eq!(len_of(directory.path(), "db"), PAGE, "not before");
        write(&writer, &checkpointer);
        written += 1;
    }
    assert!(len_of(directory.path(), "db") > 150 * PAGE);
    // The WAL begins anew.
    write(&writer, &checkpointer);
    assert!(pages() < lengths.max / 2, "{}", pages());
    assert_eq!(count(&writer), written + 1);
}

/// Earlier versions can lose a commit where one connection puts into the file a log that another begins anew.
#[test]
fn the_version_of_sqlite_is_one_that_may_be_used_so() {
    assert!(rusqlite::version_number() >= 3_051_003);
}

#[test]
fn what_the_disk_may_have_forgotten_stays_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, checkpointer) = opened_with(directory.path(), LENGTHS);
    checkpointer.log.is_kept.store(true, Ordering::Release);
    let before = len_of(directory.path(), "db");
    for _ in 0..40 {
        write(&writer, &checkpointer);
    }
    assert_eq!(len_of(directory.path(), "db"), before);
    assert!(checkpointer.log.pages.load(Ordering::Relaxed) > LENGTHS.max);
    assert!(checkpointer.end());
}

/// A checkpointer whose thread is the test.
fn without_thread(directory: &Path) -> (Connection, Checkpointer, Receiver<()>) {
    let settings = SqliteSettings::server();
    let writer = open_writer(&directory.join("db"), &settings).unwrap();
    set_up_writer(&writer, &settings).unwrap();
    writer.execute_batch("CREATE TABLE word (word)").unwrap();
    let (orders, inbox) = sync_channel(1);
    let checkpointer = Checkpointer {
        lengths: LENGTHS,
        log: Arc::default(),
        not_before: Cell::default(),
        orders: Some(orders),
        thread: None,
    };
    (writer, checkpointer, inbox)
}

#[test]
fn thread_is_told_once_so_many_pages_are_new() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, checkpointer, orders) = without_thread(directory.path());
    let log = &checkpointer.log;
    for (pages, done, is_told) in [
        (19, 0, false),
        (20, 0, true),
        (34, 15, false),
        (35, 15, true),
        // The log has begun anew.
        (19, 50, false),
        (20, 50, true),
    ] {
        log.done.store(done, Ordering::Relaxed);
        checkpointer.grown_to(pages, &writer);
        assert_eq!(orders.try_recv().is_ok(), is_told, "{pages} and {done}");
        let expected = if pages < done { 0 } else { done };
        assert_eq!(log.done.load(Ordering::Relaxed), expected);
    }
}

#[test]
fn writer_tries_again_after_a_step_or_when_the_log_has_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, checkpointer, _orders) = without_thread(directory.path());
    let log = &checkpointer.log;
    // A number of pages that no checkpoint here answers.
    let untouched = 150;
    for (pages, is_done) in [
        (199, false),
        (200, true),
        (219, false),
        (220, true),
        (239, false),
        (10, false),
        (200, true),
    ] {
        log.done.store(untouched, Ordering::Relaxed);
        checkpointer.grown_to(pages, &writer);
        let done = log.done.load(Ordering::Relaxed);
        let expected = if pages < untouched { 0 } else { untouched };
        assert_eq!(done != expected, is_done, "{pages} {done}");
    }
}

#[test]
fn thread_says_how_far_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let lengths = Lengths {
        step: 20,
        max: u32::MAX,
    };
    let (writer, checkpointer) = opened_with(directory.path(), lengths);
    let load = |number: &AtomicU32| number.load(Ordering::Relaxed);
    while load(&checkpointer.log.pages) < lengths.step {
        write(&writer, &checkpointer);
    }
    let mut tries = 0;
    while load(&checkpointer.log.done) < lengths.step {
        tries += 1;
        assert!(tries < 30_000, "it never says so");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn failure_is_not_repeated_at_once_and_ends_checkpoints_where_the_disk_may_forget() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, checkpointer, _orders) = without_thread(directory.path());
    let log = &checkpointer.log;
    log.pages.store(70, Ordering::Relaxed);
    // There is no checkpoint within a transaction of one's own.
    writer
        .execute_batch("BEGIN; INSERT INTO word VALUES (1)")
        .unwrap();
    assert_eq!(log.put_into_file(&writer), Some(70));
    assert!(!log.is_kept.load(Ordering::Acquire));
    writer.execute_batch("COMMIT").unwrap();
    assert!(log.put_into_file(&writer).is_some_and(|done| done < 70));

    let fsync = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    let failure = rusqlite::Error::SqliteFailure(fsync, None);
    assert_eq!(log.failed(&failure), None);
    assert_eq!(log.put_into_file(&writer), None);
    assert!(checkpointer.end());
}

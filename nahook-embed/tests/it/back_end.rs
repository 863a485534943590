//! Back ends on a file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use nahook_embed::core::admission::{Caller, Plan, Rate};
use nahook_embed::{Backend, BackendSettings, QueueUrl, StoreUrl};
use nahook_testkit::declare::caller;
use nahook_testkit::run;

async fn open_server(store: &StoreUrl) -> Backend {
    let settings = BackendSettings::default();
    let opening = Backend::open_server(store, &QueueUrl::Store, &settings);
    opening.await.unwrap()
}

#[test]
fn file_and_new_directory_are_for_their_owner_alone() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let made = directory.path().join("made");
        let backend = open_server(&StoreUrl::default_in(&made)).await;
        let rights = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(rights(&made), 0o700);
        // Those that hold secrets.
        for file in ["nahook.db", "nahook.db-wal", "nahook.db-shm"] {
            assert_eq!(rights(&made.join(file)), 0o600, "{file}");
        }
        backend.close().await.unwrap();
    });
}

#[test]
fn store_that_has_to_exist_is_not_made() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("nowhere");
        let store = StoreUrl::default_in(&nowhere);
        Backend::open_existing(&store, None).await.unwrap_err();
        assert!(!nowhere.exists());
    });
}

#[test]
fn spent_tokens_outlive_a_server_and_are_no_tools_business() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let store = StoreUrl::default_in(directory.path());
        let [three, one] = [3, 1].map(|count: u32| count.try_into().unwrap());
        let hourly = Rate::new(one, Duration::from_hours(1), three);
        let caller = Caller {
            plan: Plan {
                key_rate: hourly,
                ..Plan::default()
            },
            ..caller("ws", "key")
        };
        // Spends a token and returns how many are left.
        let spend = async |backend: Backend| {
            backend.limiter.check_dyn(&caller).await.unwrap();
            let left = backend.limiter.peek_dyn(&caller).await.unwrap();
            backend.close().await.unwrap();
            left.remaining
        };
        assert_eq!(spend(open_server(&store).await).await, 2);
        assert_eq!(
            spend(Backend::open_tool(&store, None).await.unwrap()).await,
            2
        );
        assert_eq!(spend(open_server(&store).await).await, 1);
    });
}

#[test]
fn log_is_kept_for_seven_days_unless_said_otherwise() {
    let retention = BackendSettings::default().retention;
    assert_eq!(retention, Duration::from_hours(7 * 24));
}

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const PATIENCE: Duration = Duration::from_mins(1);

fn is_slow(resolver: &SystemResolver, host: &str) -> bool {
    lock(&resolver.shared.slow_hosts).contains(host)
}

#[tokio::test]
async fn slow_hosts_wait_for_one_another_and_for_nobody_else() {
    let resolver = SystemResolver::new();
    let slow = Duration::from_secs(9);
    resolver.shared.took("localhost", slow);
    let taken = Arc::clone(&resolver.shared.slow_lookups);
    let taken = taken.acquire_many(64).await.unwrap();
    let waiting = resolver.resolve("localhost");
    let waited = timeout(Duration::from_millis(50), waiting).await;
    assert!(waited.is_err(), "the slow hosts' lane is full");
    resolver.shared.took("localhost", Duration::ZERO);
    assert!(
        resolver.resolve("localhost").await.is_ok(),
        "it is slow no more"
    );
    drop(taken);
    resolver.shared.took("localhost", slow);
    assert!(resolver.resolve("localhost").await.is_ok());
    assert!(!is_slow(&resolver, "localhost"));
}

#[test]
fn what_is_remembered_of_slow_hosts_has_a_bound() {
    let resolver = SystemResolver::new();
    for host in 0..25_000 {
        let host = host.to_string();
        resolver.shared.took(&host, Duration::from_secs(2));
    }
    let slow = lock(&resolver.shared.slow_hosts);
    assert!(slow.len() <= SystemResolver::SLOW_HOSTS_MAX);
}

#[tokio::test]
async fn localhost_resolves_to_loopback() {
    let found = SystemResolver::new().resolve("localhost").await.unwrap();
    assert!(!found.is_empty());
    assert!(found.iter().all(IpAddr::is_loopback));
}

#[tokio::test]
async fn name_that_cannot_exist_is_an_error() {
    let resolver = SystemResolver::new();
    assert!(resolver.resolve("no such name.invalid").await.is_err());
}

static STALLED: AtomicUsize = AtomicUsize::new(0);

/// Never answers for a host of `stalled`, and knows none of `unknown`.
fn stalling(host: &str) -> Found {
    if host.ends_with("stalled") {
        STALLED.fetch_add(1, Ordering::SeqCst);
        loop {
            thread::park();
        }
    }
    if host.ends_with("unknown") {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    }
    Ok(vec![[127, 0, 0, 1].into()])
}

#[test]
fn stalled_look_ups_hold_up_neither_other_hosts_nor_the_end() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let resolver = SystemResolver::over(stalling);
        let resolve = |host: &'static str| {
            let resolver = resolver.clone();
            tokio::spawn(async move { resolver.resolve(host).await })
        };
        // More than there are places: they share one.
        let waiting: Vec<_> = (0..300).map(|_| resolve("one.stalled")).collect();
        let others: Vec<_> = (0..300).map(|_| resolve("fine")).collect();
        for other in others {
            let found = timeout(PATIENCE, other).await.expect("it goes on");
            assert_eq!(found.unwrap().unwrap().len(), 1);
        }
        assert_eq!(STALLED.load(Ordering::SeqCst), 1);
        while !is_slow(&resolver, "one.stalled") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for waiting in waiting {
            waiting.abort();
        }
        let blocking = tokio::task::spawn_blocking(|| ());
        let free = timeout(PATIENCE, blocking).await;
        free.expect("no thread of the runtime is taken").unwrap();
    });
    // Does not wait for the threads that are stalled.
    drop(runtime);
}

#[tokio::test]
async fn look_up_whose_first_caller_gave_up_is_begun_by_the_next() {
    let resolver = SystemResolver::new();
    let lookups = Arc::clone(&resolver.shared.lookups);
    let taken = lookups.acquire_many(256).await.unwrap();
    let first = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolver.resolve("localhost").await }
    });
    while lock(&resolver.shared.under_way).is_empty() {
        tokio::task::yield_now().await;
    }
    let second = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolver.resolve("localhost").await }
    });
    tokio::task::yield_now().await;
    first.abort();
    drop(taken);
    let found = timeout(PATIENCE, second).await.expect("it is looked up");
    assert!(found.unwrap().is_ok());
}

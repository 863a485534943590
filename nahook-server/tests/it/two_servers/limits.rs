//! One limit for both.

use std::time::Instant;

use serde_json::json;

use super::two;
use crate::support::manifest::{EVENT_TYPE, shop};
use crate::support::server::Server;

/// Two servers with a limit of so many triggers an hour for the key, all of which may come at once.
async fn limited(count: u32) -> [Server; 2] {
    let mut manifest = shop(vec![]);
    manifest["workspaces"][0]["plan"] =
        json!({ "key_rate": { "count": count, "period_secs": 3_600 } });
    two(&manifest).await
}

/// Returns how many of the triggers were admitted, by both in turn; the others have to be refused as over the limit.
async fn admitted(servers: &[Server; 2], triggers: usize) -> u32 {
    let apis = servers.each_ref().map(Server::api);
    let mut admitted = 0;
    for number in 0..triggers {
        let answer = apis[number % 2].trigger(EVENT_TYPE, "{}").await;
        if answer.status == 202 {
            admitted += 1;
        } else {
            answer.assert_error(429, "rate_limited");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
    }
    admitted
}

/// Returns the upper bound on what has come back of `count` an hour since then.
fn come_back(count: u32, since: Instant) -> u32 {
    let seconds = u32::try_from(since.elapsed().as_secs()).unwrap();
    count * (seconds + 1) / 3_600 + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_limit_is_kept_exactly() {
    let servers = limited(20).await;
    let since = Instant::now();
    let admitted = admitted(&servers, 100).await;
    let most = 20 + come_back(20, since);
    assert!(
        (20..=most).contains(&admitted),
        "{admitted} of at most {most}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_limit_is_kept_within_a_sixteenth_for_each() {
    let servers = limited(640).await;
    let since = Instant::now();
    let admitted = admitted(&servers, 1_000).await;
    let most = 640 + 2 * 640 / 16 + come_back(640, since);
    assert!(
        (640..=most).contains(&admitted),
        "{admitted} of at most {most}"
    );
    // That is one limit for both, unless it took an hour.
    assert!(most < 1_000, "it took {:?}", since.elapsed());
}

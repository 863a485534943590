//! Rows of the workspace that the suites name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::receiver::Receiver;
use crate::support::server::Server;

const KEY: &str = "nhk_us_testfixture_aaaa1111bbbb2222";
const DISABLED_KEY: &str = "nhk_us_testfixture_disabled33334444";
const TOKEN: &str = "nhm_testfixture_cccc5555dddd6666";
const ENDPOINT: &str = "ep_integration_test_001";
const EVENT_TYPE: &str = "order.created";

/// A workspace, and a receiver that takes everything, so that no delivery but the fixture's own fails.
pub(crate) struct Fixture {
    pub(crate) manifest: Value,
    _receiver: Receiver,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let receiver = Receiver::start().await;
        let manifest = json!({ "workspaces": [{
            "id": "ws_fixture",
            "name": "Fixture",
            "event_types": [
                { "id": "evt_order_created", "name": EVENT_TYPE },
                { "name": "event.type.nobody.subscribed.to" },
            ],
            "endpoints": [{ "id": ENDPOINT, "url": receiver.url("/hook"), "event_types": [EVENT_TYPE] }],
            "api_keys": [
                { "name": "fixture", "key": KEY },
                { "name": "disabled", "key": DISABLED_KEY, "disabled": true },
            ],
            "management_tokens": [{ "name": "fixture", "token": TOKEN }],
        }] });
        Self {
            manifest,
            _receiver: receiver,
        }
    }

    /// Brings the deliveries along that the suites look for.
    pub(crate) async fn import(&self, server: &Server) {
        let lines = [
            json!({
                "id": "del_fixture_001", "endpointId": ENDPOINT, "eventTypeId": "evt_order_created",
                "idempotencyKey": "fixture-1", "status": "delivered", "createdAt": ago(300),
                "deliveredAt": ago(299), "payload": { "orderId": "ord_1", "amount": 49.99 },
                "attempts": [{ "responseStatusCode": 200, "responseTimeMs": 120, "createdAt": ago(299) }],
            }),
            json!({
                "id": "del_fixture_002", "endpointId": ENDPOINT, "status": "failed", "createdAt": ago(200),
                "attempts": [
                    { "responseStatusCode": 502, "responseTimeMs": 80, "errorMessage": "Bad Gateway", "createdAt": ago(199) },
                    { "responseStatusCode": 503, "responseTimeMs": 80, "createdAt": ago(150) },
                    { "errorMessage": "no answer in time", "createdAt": ago(120) },
                ],
            }),
            // Under way where the suites come from, which an import would give up; they want a single one that failed.
            json!({
                "id": "del_fixture_003", "endpointId": ENDPOINT, "status": "pending", "createdAt": ago(10),
            }),
        ];
        let path = server.dir().join("history.jsonl");
        std::fs::write(&path, lines.map(|line| line.to_string()).join("\n")).unwrap();
        let imported = server.tool("import", &[path.to_str().unwrap()]).await;
        assert!(imported.success, "{}", imported.stderr);
        assert_eq!(imported.stdout, "3 deliveries imported");
    }
}

/// Returns the environment variables that the suites read.
pub(crate) fn settings(server: &Server) -> [(&'static str, String); 7] {
    [
        ("NAHOOK_TEST_API_URL", format!("http://{}", server.address)),
        ("NAHOOK_TEST_API_KEY", KEY.to_owned()),
        ("NAHOOK_TEST_DISABLED_API_KEY", DISABLED_KEY.to_owned()),
        ("NAHOOK_TEST_ENDPOINT_ID", ENDPOINT.to_owned()),
        ("NAHOOK_TEST_EVENT_TYPE", EVENT_TYPE.to_owned()),
        ("NAHOOK_TEST_MGMT_TOKEN", TOKEN.to_owned()),
        ("NAHOOK_TEST_WORKSPACE_ID", "ws_fixture".to_owned()),
    ]
}

/// Returns the number of requests that the server has answered.
pub(crate) async fn asked(server: &Server) -> u64 {
    let text = server.metrics().await;
    let lines = text.lines();
    let counted = lines.filter(|line| line.starts_with("nahook_http_requests_total"));
    counted
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// The instant so many seconds ago.
fn ago(seconds: u64) -> String {
    let at = SystemTime::now() - Duration::from_secs(seconds);
    let since = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let days = i64::try_from(since / 86_400).unwrap();
    // Howard Hinnant's civil_from_days, for days after 1970.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (since / 3_600 % 24, since / 60 % 60, since % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

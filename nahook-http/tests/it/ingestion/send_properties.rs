//! Whatever is sent to one endpoint or in a batch, the answer is a documented one, and what is queued is what was sent.

use std::collections::HashMap;

use axum::http::StatusCode;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

use crate::ingestion::properties::{is_documented, json, object, runtime};
use crate::ingestion::support::{Answer, Bench, KEY, ask, post};

const TO_ONE: &str = "/api/ingest/ep_1";
const SENDS: &str = "/api/ingest/batch";
const TRIGGERS: &str = "/api/ingest/event/batch";
/// Codes that an item may be refused with.
const ITEM_CODES: [&str; 4] = [
    "endpoint_disabled",
    "not_found",
    "payload_too_large",
    "validation_error",
];

/// An item of a batch as it is spelled, with its payload if it is in order.
#[derive(Clone, Debug)]
struct Item {
    text: String,
    payload: Option<String>,
}

/// Generates payloads in all sorts of spellings.
fn payload() -> impl Strategy<Value = String> {
    let huge = "-?[1-9][0-9]{0,400}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,9})?";
    prop_oneof![
        3 => object(json()),
        1 => "\\[[ \t\r\n]{0,3}\\]",
        1 => huge.prop_map(|number| format!("{{\"n\":{number},\"n\" : {number}}}")),
        1 => (1_usize..3_000)
            .prop_map(|deep| format!("{{\"a\":{}{}}}", "[".repeat(deep), "]".repeat(deep))),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let blank = "[ \t\r\n]{0,3}";
    // Both paths take it: each ignores the field that it does not know.
    let fine = (payload(), blank, any::<bool>()).prop_map(|(payload, gap, before)| {
        let whom = r#""endpointId":"ep_3","eventType":"order.paid""#;
        let text = if before {
            format!("{{{gap}{whom},\"payload\":{gap}{payload}{gap}}}")
        } else {
            format!("{{\"payload\" {gap}:{payload},{whom}{gap}}}")
        };
        let payload = Some(payload);
        Item { text, payload }
    });
    let field = prop_oneof![
        Just("endpointId".to_owned()),
        Just("eventType".to_owned()),
        Just("payload".to_owned()),
        Just("metadata".to_owned()),
        Just("idempotencyKey".to_owned()),
        "[a-z]{0,3}",
    ];
    let value = prop_oneof![
        json(),
        Just(r#""ep_1""#.to_owned()),
        Just(r#""ep_off""#.to_owned()),
        Just(r#""order.paid""#.to_owned()),
        payload(),
    ];
    // Wrong types, fields that are missing, and fields that are there twice; now and then nothing is wrong.
    let odd = proptest::collection::vec((field, value), 0..6).prop_map(|fields| {
        let fields: Vec<_> = fields.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
        format!("{{{}}}", fields.join(","))
    });
    let odd = prop_oneof![odd, json(), payload()].prop_map(|text| Item {
        text,
        payload: None,
    });
    prop_oneof![fine, odd]
}

fn batch(items: &[Item]) -> String {
    let items: Vec<_> = items.iter().map(|item| &*item.text).collect();
    format!("{{\"items\":[{}]}}", items.join(","))
}

/// Returns the queued payloads by delivery id.
async fn queued(bench: &Bench) -> HashMap<String, Vec<u8>> {
    let queued = bench.queued().await.into_iter();
    queued
        .map(|held| {
            let payload = held.payload.as_bytes().to_vec();
            (held.lease.delivery.to_string(), payload)
        })
        .collect()
}

/// The ids that each item was accepted with, in order; none for one that was refused. Every item has its documented form.
fn accepted(answer: &Answer) -> Result<Vec<Option<Vec<String>>>, TestCaseError> {
    let json = answer.json();
    let items = json["items"].as_array().cloned().unwrap_or_default();
    prop_assert_eq!(json.as_object().map(serde_json::Map::len), Some(1));
    let mut accepted = Vec::new();
    for (index, item) in items.iter().enumerate() {
        prop_assert_eq!(&item["index"], &Value::from(index));
        if item.get("error").is_some() {
            let code = item["error"]["code"].as_str().unwrap_or_default();
            prop_assert!(ITEM_CODES.contains(&code), "{item}");
            prop_assert!(item["error"]["message"].is_string(), "{item}");
            accepted.push(None);
            continue;
        }
        prop_assert_eq!(&item["status"], "accepted", "{}", item);
        let one = item["deliveryId"].as_str();
        let many = item["deliveryIds"].as_array().into_iter().flatten();
        let ids = one.into_iter().chain(many.filter_map(Value::as_str));
        accepted.push(Some(ids.map(str::to_owned).collect()));
    }
    let is_whole = accepted.iter().all(Option::is_some);
    prop_assert_eq!(answer.status == StatusCode::ACCEPTED, is_whole);
    Ok(accepted)
}

/// The payload as it is delivered: to the byte, but an empty array is an empty object.
fn as_delivered(payload: &str) -> &str {
    let inner = payload
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_empty = inner.is_some_and(|inner| inner.trim_ascii().is_empty());
    if is_empty { "{}" } else { payload }
}

fn is_answered_item_by_item(answer: &Answer) -> bool {
    matches!(
        answer.status,
        StatusCode::ACCEPTED | StatusCode::MULTI_STATUS
    )
}

fn is_part_of(payload: &[u8], sent: &[u8]) -> bool {
    // An empty array, and what no payload was given for, is an empty object.
    payload == b"{}" || sent.windows(payload.len()).any(|part| part == payload)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_json_is_refused_or_arrives_to_the_byte(any in prop_oneof![json(), payload()], gap in "[ \t\r\n]{0,3}") {
        runtime().block_on(async {
            let bench = Bench::new().await;
            let body = format!("{gap}{{\"payload\":{gap}{any}{gap},\"later\":{any}}}");
            let answer = ask(&bench.router(), post(TO_ONE, KEY, body)).await;
            prop_assert!(is_documented(&answer), "{answer:?}");
            let is_payload = as_delivered(&any).starts_with('{');
            prop_assert_eq!(answer.status == StatusCode::ACCEPTED, is_payload, "{:?}", answer);
            let held: Vec<_> = queued(&bench).await.into_iter().collect();
            if is_payload {
                let id = answer.json()["deliveryId"].as_str().unwrap_or_default().to_owned();
                prop_assert_eq!(held, [(id, as_delivered(&any).as_bytes().to_vec())]);
            } else {
                prop_assert_eq!(held, []);
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_batch_is_answered_item_by_item(items in proptest::collection::vec(item(), 0..26), sends: bool) {
        runtime().block_on(async {
            let bench = Bench::new().await;
            let (path, body) = (if sends { SENDS } else { TRIGGERS }, batch(&items));
            let answer = ask(&bench.router(), post(path, KEY, body)).await;
            let mut held = queued(&bench).await;
            if !(1..=20).contains(&items.len()) {
                prop_assert_eq!(answer.error(), (400, "validation_error".to_owned()));
                prop_assert!(held.is_empty());
                return Ok(());
            }
            prop_assert!(is_answered_item_by_item(&answer), "{answer:?}");
            let accepted = accepted(&answer)?;
            prop_assert_eq!(accepted.len(), items.len());
            let mut seen = HashMap::new();
            for (item, ids) in items.iter().zip(accepted) {
                let Some(ids) = ids else {
                    prop_assert_eq!(&item.payload, &None, "refused: {}", item.text);
                    continue;
                };
                if item.payload.is_some() {
                    prop_assert_eq!(ids.len(), if sends { 1 } else { 2 });
                }
                for id in ids {
                    // A repeated key is answered with what came first.
                    let Some(payload) = held.remove(&id).or_else(|| seen.get(&id).cloned()) else {
                        return Err(TestCaseError::fail(format!("{id} is not queued")));
                    };
                    match &item.payload {
                        Some(sent) => prop_assert_eq!(&payload, as_delivered(sent).as_bytes()),
                        None if seen.contains_key(&id) => {}
                        None => prop_assert!(is_part_of(&payload, item.text.as_bytes())),
                    }
                    seen.insert(id, payload);
                }
            }
            prop_assert!(held.is_empty(), "queued without being answered: {held:?}");
            Ok(())
        })?;
    }

    #[test]
    fn any_damaged_batch_is_answered(
        items in proptest::collection::vec(item(), 1..6),
        at in any::<prop::sample::Index>(),
        damage in prop_oneof![Just(None), any::<u8>().prop_map(Some), Just(Some(0xff))],
        sends: bool,
    ) {
        let mut body = batch(&items).into_bytes();
        let at = at.index(body.len());
        match damage {
            Some(byte) => body[at] = byte,
            None => body.truncate(at),
        }
        runtime().block_on(async {
            let bench = Bench::new().await;
            let path = if sends { SENDS } else { TRIGGERS };
            let answer = ask(&bench.router(), post(path, KEY, body.clone())).await;
            let held = queued(&bench).await;
            if is_answered_item_by_item(&answer) {
                let ids = accepted(&answer)?.into_iter().flatten().flatten();
                let ids: std::collections::HashSet<_> = ids.collect();
                prop_assert_eq!(held.keys().cloned().collect::<std::collections::HashSet<_>>(), ids);
            } else {
                prop_assert_eq!(answer.error(), (400, "validation_error".to_owned()));
                prop_assert!(held.is_empty());
            }
            for payload in held.values() {
                prop_assert!(is_part_of(payload, &body));
            }
            Ok(())
        })?;
    }
}

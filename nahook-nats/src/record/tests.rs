use std::sync::Arc;

use bytes::Bytes;
use nahook_core::id::DeliveryId;
use nahook_core::{Event, Timestamp};
use nahook_testkit::declare;

use super::*;

fn event(payload: &str) -> Event {
    let now = Timestamp::from_nanos(1_712_345_678_901_234_567);
    let mut event = declare::event("ws_shop", "order.paid", 7, now);
    event.payload = declare::payload(payload);
    event.metadata = declare::metadata(&[("", ""), ("quote\"\\\n\0", "\u{1f980}")]);
    event
}

fn items(event: &Event, count: u32) -> Vec<Item> {
    (0..count)
        .map(|ordinal| Item {
            delivery: DeliveryId::nth(event.id, ordinal),
            endpoint: declare::nth_endpoint_id(ordinal as usize),
            attempts: ordinal,
            due_at: (ordinal % 2 == 1).then_some(event.accepted_at),
        })
        .collect()
}

fn record(entries: &[Entry]) -> (Bytes, Vec<Part>, Vec<usize>) {
    let parts: Vec<_> = entries
        .iter()
        .map(|entry| part_of(&entry.event, &entry.items))
        .collect();
    let (body, offsets) = body(&parts);
    (Bytes::from(body), parts, offsets)
}

#[test]
fn what_is_written_is_read() {
    let entries: Vec<_> = [
        "{}".to_owned(),
        "{ \"b\" : 1.0e+02,\n\t\"a\":12345678901234567890123 ,\"a\":\"\\u0041\\/\" }".to_owned(),
        format!("{{\"deep\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000)),
    ]
    .iter()
    .map(|payload| {
        let event = event(payload);
        let items = items(&event, 4);
        Entry {
            event: Arc::new(event),
            items,
        }
    })
    .collect();
    let (body, parts, _) = record(&entries);
    assert_eq!(read(&body).expect("a record"), entries);
    for (part, entry) in parts.iter().zip(&entries) {
        assert!(part.json.len() <= part_len(&entry.event, entry.items.len()));
    }
}

#[test]
fn the_headers_tell_where_the_payloads_are() {
    let entries = ["{\"a\":1}", "{ \"b\" : 2 }"].map(|payload| {
        let event = event(payload);
        let items = items(&event, 2);
        Entry {
            event: Arc::new(event),
            items,
        }
    });
    let (body, parts, offsets) = record(&entries);
    let headers = headers(parts.iter().zip(offsets));
    let told = headers
        .get("Nahook-Payloads")
        .expect("a header")
        .to_string();
    for (range, entry) in told.split(',').zip(&entries) {
        let (at, len) = range.split_once('+').expect("an offset and a length");
        let (at, len): (usize, usize) = (at.parse().expect("a number"), len.parse().expect("one"));
        assert_eq!(body.slice(at..at + len), entry.event.payload.as_bytes());
    }
    assert_eq!(
        headers.get("Nahook-Deliveries").map(ToString::to_string),
        Some("4".to_owned())
    );
}

/// The format is what other programs read: it changes only with its number.
#[test]
fn the_format_stays_as_it_is() {
    let mut event = event("{\"a\": 1}");
    event.metadata = declare::metadata(&[("k", "v")]);
    let entry = Entry {
        items: items(&event, 2),
        event: Arc::new(event),
    };
    let (body, ..) = record(&[entry]);
    let expected = concat!(
        r#"{"format":1,"events":[{"message":"msg_01htqw311n000000001r000000","workspace":"ws_shop","#,
        r#""event_type":"evt_ws_shop_order_paid","event_type_name":"order.paid","accepted_at":1712345678901234567,"#,
        r#""metadata":{"k":"v"},"payload":{"a": 1},"deliveries":[["del_01htqw311n000000001r000001","ep_000000"],"#,
        r#"["del_01htqw311n000000001r000002","ep_000001",1,1712345678901234567]]}]}"#
    );
    assert_eq!(std::str::from_utf8(&body), Ok(expected));
}

#[test]
fn record_without_events_is_a_record() {
    let (body, parts, offsets) = record(&[]);
    assert_eq!(body, r#"{"format":1,"events":[]}"#);
    assert_eq!(read(&body).expect("a record"), []);
    let headers = headers(parts.iter().zip(offsets));
    let header = |name: &str| headers.get(name).map(ToString::to_string);
    assert_eq!(header("Nahook-Payloads").as_deref(), Some(""));
    assert_eq!(header("Nahook-Deliveries").as_deref(), Some("0"));
    assert_eq!(header("Nahook-Message"), None);
}

/// A direct delivery has no event type, and may have a key of any characters.
#[test]
fn a_direct_delivery_has_no_event_type_and_its_key() {
    let mut direct = event("{\"a\": 1}");
    direct.event_type = None;
    direct.idempotency_key = Some(declare::idempotency_key("k\0\"é"));
    let entries = [direct, event("{}")].map(|event| Entry {
        items: items(&event, 1),
        event: Arc::new(event),
    });
    let (body, ..) = record(&entries);
    let text = std::str::from_utf8(&body).expect("text");
    assert!(
        text.contains(r#""idempotency_key":"k\u0000\"é","accepted_at""#),
        "{text}"
    );
    assert_eq!(read(&body).expect("a record"), entries);
    let part = part_of(&entries[0].event, &entries[0].items);
    assert!(part.json.len() <= part_len(&entries[0].event, 1));
}

#[test]
fn what_is_unknown_is_skipped_and_what_is_newer_refused() {
    let event = event("{}");
    let entry = Entry {
        items: items(&event, 1),
        event: Arc::new(event),
    };
    let (body, ..) = record(std::slice::from_ref(&entry));
    let text = String::from_utf8(body.to_vec()).expect("text");
    let more = text
        .replace("\"events\"", "\"later\":[1],\"events\"")
        .replace("\"ep_000000\"]", "\"ep_000000\",0,null,\"later\"]");
    assert_ne!(more, text);
    assert_eq!(read(&Bytes::from(more)).expect("a record"), [entry]);
    let newer = text.replace("\"format\":1", "\"format\":2");
    assert!(matches!(
        read(&Bytes::from(newer)),
        Err(Malformed::Newer(2))
    ));
    for broken in [
        "",
        "{}",
        "[]",
        "{\"format\":1}",
        &text[..text.len() - 1],
        &text.replace("del_", "del-"),
    ] {
        assert!(read(&Bytes::from(broken.to_owned())).is_err(), "{broken:?}");
    }
}

#[test]
fn half_an_event_type_is_no_event_type() {
    let event = event("{}");
    let entry = Entry {
        items: items(&event, 1),
        event: Arc::new(event),
    };
    let (body, ..) = record(&[entry]);
    let text = String::from_utf8(body.to_vec()).expect("text");
    for member in [
        r#""event_type":"evt_ws_shop_order_paid","#,
        r#""event_type_name":"order.paid","#,
    ] {
        let half = text.replace(member, "");
        assert_ne!(half, text);
        let read = read(&Bytes::from(half));
        assert!(matches!(read, Err(Malformed::Value)), "{read:?}");
    }
}

#[test]
fn headers_name_the_first_64_events() {
    let event = event("{}");
    let parts: Vec<_> = (0..65)
        .map(|_| part_of(&event, &items(&event, 1)))
        .collect();
    let (_, offsets) = body(&parts);
    let headers = headers(parts.iter().zip(offsets));
    let count = |name: &str| headers.get_all(name).count();
    assert_eq!(count("Nahook-Message"), 64);
    assert_eq!(count("Nahook-Workspace"), 64);
    let payloads = headers.get("Nahook-Payloads").expect("a header");
    assert_eq!(payloads.as_str().split(',').count(), 65);
}

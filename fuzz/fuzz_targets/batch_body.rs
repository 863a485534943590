//! Any body of a batch is refused, or has 1 to 20 items, each of which is refused or has a payload that stands in it byte for
//! byte.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nahook_fuzz::stands_in;
use nahook_http::wire::{ITEMS_MAX, parse_batch, parse_send_item, parse_trigger_item};

const LEN_MAX: usize = 1_024;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let Ok(items) = parse_batch(&body) else {
        return;
    };
    assert!((1..=ITEMS_MAX).contains(&items.len()));
    for item in items {
        let text = item.get().as_bytes();
        if let Ok(send) = parse_send_item(item, &body, LEN_MAX) {
            assert!(send.body.payload.len() <= LEN_MAX);
            stands_in(send.body.payload.as_bytes(), text);
        }
        if let Ok(trigger) = parse_trigger_item(item, &body, LEN_MAX) {
            assert!(trigger.body.payload.len() <= LEN_MAX);
            assert!(trigger.body.metadata.as_map().len() <= 5);
            stands_in(trigger.body.payload.as_bytes(), text);
        }
    }
});

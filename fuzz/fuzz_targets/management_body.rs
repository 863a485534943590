//! Whatever is in a body, the answer is one that the document knows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nahook_fuzz::routes;

/// Everything that takes a body and makes nothing that stays.
const OPERATIONS: [(&str, &str); 6] = [
    ("PATCH", "/endpoints/ep_1"),
    ("PATCH", "/event-types/evt_1"),
    ("POST", "/endpoints/ep_1/subscriptions"),
    ("POST", "/endpoints/ep_1/deliveries/retry"),
    ("PUT", "/environments/env_none/event-types/evt_1/visibility"),
    ("PATCH", "/applications/app_none"),
];

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else {
        return;
    };
    let (method, path) = OPERATIONS[usize::from(*first) % OPERATIONS.len()];
    routes().ask(method, path, body);
});

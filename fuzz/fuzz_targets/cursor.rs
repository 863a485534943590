//! No text but one that was made is a cursor.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nahook_fuzz::routes;

fuzz_target!(|data: &[u8]| {
    let escaped: String = data.iter().map(|byte| format!("%{byte:02x}")).collect();
    let status = routes().ask(
        "GET",
        &format!("/endpoints/ep_1/deliveries?cursor={escaped}"),
        b"",
    );
    assert_eq!(status, 400);
});

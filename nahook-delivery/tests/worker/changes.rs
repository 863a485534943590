//! A change of an endpoint holds for its next request.

use nahook_control::EndpointSpec;
use nahook_core::id::EndpointId;
use nahook_delivery::{Signer, WorkerSettings};
use nahook_queue::DeliveryStatus;

use crate::support::{Arrival, Rig, SECRET, payload};

const NEW_SECRET: &str = "whsec_YW5vdGhlciBzaWduaW5nIGtleSBvZiAzMiBieXRlcw==";

fn spec(change: impl FnOnce(&mut EndpointSpec)) -> Vec<EndpointSpec> {
    let mut spec = EndpointSpec {
        id: EndpointId::new("ep_a").ok(),
        url: "http://first.test/".to_owned(),
        secret: Some(SECRET.to_owned()),
        ..EndpointSpec::default()
    };
    change(&mut spec);
    vec![spec]
}

/// Returns true if a request is signed with `secret`.
fn is_signed(arrival: &Arrival, secret: &str) -> bool {
    let timestamp = arrival.header("webhook-timestamp").parse().unwrap();
    let signer = Signer::new([secret]).unwrap();
    let id = arrival.header("webhook-id");
    let signature = signer.sign(id, timestamp, payload().as_bytes());
    let mut signatures = arrival.header("webhook-signature").split(' ');
    signatures.any(|candidate| candidate == signature)
}

#[tokio::test(start_paused = true)]
async fn request_behind_a_change_is_made_of_the_endpoint_as_it_is_now() {
    let rig = Rig::new(&[]).await;
    rig.apply(spec(|_| {})).await;
    let worker = rig.start(WorkerSettings::default());
    let mut sent = Vec::new();
    for change in [
        (|_| {}) as fn(&mut EndpointSpec),
        |spec| spec.secret = Some(NEW_SECRET.to_owned()),
        |spec| spec.url = "http://second.test/".to_owned(),
        |spec| {
            spec.auth_username = Some("Aladdin".to_owned());
            spec.auth_password = Some("sesame".to_owned());
        },
        |_| {},
    ] {
        rig.apply(spec(change)).await;
        let ids = rig.publish(&["ep_a"]).await;
        rig.until(&ids, DeliveryStatus::Delivered).await;
        sent.push(rig.arrivals().pop().unwrap());
    }
    worker.stop().await;
    assert!(is_signed(&sent[0], SECRET) && !is_signed(&sent[0], NEW_SECRET));
    assert!(is_signed(&sent[1], NEW_SECRET), "as after a rotation");
    let urls: Vec<_> = sent.iter().map(|arrival| arrival.url.as_str()).collect();
    let (first, second) = ("http://first.test/", "http://second.test/");
    assert_eq!(urls, [first, first, second, first, first]);
    let has_auth = |arrival: &Arrival| arrival.headers.contains_key("authorization");
    let with_auth: Vec<_> = sent.iter().map(has_auth).collect();
    assert_eq!(with_auth, [false, false, false, true, true]);
    assert!(is_signed(&sent[4], SECRET));
}

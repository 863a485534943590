//! Bodies of a Trigger.

use super::wire::{Wire, request};
use crate::support::manifest::{endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::Server;

const PATH: &str = "/api/ingest/event/order.paid";

#[tokio::test(flavor = "multi_thread")]
async fn unusual_but_right_bodies_are_taken() {
    let receiver = Receiver::start().await;
    let server = Server::with(&shop(vec![endpoint("ep_1", &receiver.url("/1"))])).await;
    let mut wire = Wire::connect(server.address).await;
    for (number, (body, payload)) in [
        // PHP encodes an empty map as an empty array.
        ("{\"payload\":[]}", "{}"),
        ("{\"payload\":{\"a\":[]},\"metadata\":[]}", "{\"a\":[]}"),
        ("{\"payload\":{},\"metadata\":null}", "{}"),
        ("{\"payload\":{},\"metadata\":{}}", "{}"),
        (
            "{\"idempotencyKey\":\"x\",\"payload\":{},\"later\":{\"payload\":1}}",
            "{}",
        ),
        (
            " \r\n{ \"payload\" : { \"a\" : 1 } , \"x\" : null } \n",
            "{ \"a\" : 1 }",
        ),
        (
            "{\"metadata\":{\"k\":\"v\"},\"\\u0070ayload\":{\"a\":1}}",
            "{\"a\":1}",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        wire.exchange(request("POST", PATH, &[], body))
            .await
            .assert_accepted(1);
        assert_eq!(
            receiver.wait_for(number + 1).await[number].body,
            payload,
            "{body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bodies_are_refused_and_the_connection_lives_on() {
    let receiver = Receiver::start().await;
    let server = Server::with(&shop(vec![endpoint("ep_1", &receiver.url("/1"))])).await;
    let mut wire = Wire::connect(server.address).await;
    let six: Vec<_> = (0..6).map(|n| format!("\"{n}\":\"\"")).collect();
    let too_many = format!("{{\"payload\":{{}},\"metadata\":{{{}}}}}", six.join(","));
    for body in [
        "",
        " ",
        "null",
        "[]",
        "{}",
        "{\"payload\":null}",
        "{\"payload\":\"{}\"}",
        "{\"payload\":[1]}",
        "{\"payload\":7}",
        "{\"payload\":{}",
        "{\"payload\":{}}}",
        "{\"payload\":{\"a\":01}}",
        "{\"Payload\":{}}",
        "{\"payload\":{},\"metadata\":{\"a\":1}}",
        "{\"payload\":{},\"metadata\":{\"a\":null}}",
        "{\"payload\":{},\"metadata\":[1]}",
        "{\"payload\":{},\"metadata\":\"a\"}",
        &too_many,
    ] {
        let answer = wire.exchange(request("POST", PATH, &[], body)).await;
        answer.assert_error(400, "validation_error");
    }
    receiver.exactly(0).await;
}

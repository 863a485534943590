//! The worker with the real transport and real sockets: what arrives, and what bad receivers cost good ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use nahook_control::{ApplyMode, Catalog, EndpointSpec, Manifest, WorkspaceSpec};
use nahook_core::id::{DeliveryId, EndpointId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{
    Clock, Delivery, DeliveryPublisher, Event, EventTypeName, IdSource, Metadata, NewEvent,
    Payload, RandomIds, SystemClock,
};
use nahook_delivery::{AddressPolicy, HttpTransport, TransportSettings, Worker};
use nahook_memory::MemoryStore;
use nahook_queue::{DeliveryLog, DeliveryStatus};
use standardwebhooks::Webhook;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";
/// A loaded machine is slow, but not that slow.
const GENEROUS: Duration = Duration::from_mins(1);

/// A request as it came over the wire.
struct Arrival {
    request_line: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Listens, and does `serve` with every connection.
async fn receiver<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// A receiver that takes every request and passes it on.
async fn taking() -> (SocketAddr, mpsc::UnboundedReceiver<Arrival>) {
    let (taken, arrivals) = mpsc::unbounded_channel();
    let serve = move |mut stream: TcpStream| {
        let taken = taken.clone();
        async move {
            while let Some(arrival) = read(&mut stream).await {
                let _ = taken.send(arrival);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
    };
    (receiver(serve).await, arrivals)
}

/// Reads one request; `None` once the connection ends.
async fn read(stream: &mut TcpStream) -> Option<Arrival> {
    let mut bytes = Vec::new();
    let head_len = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8(bytes[..head_len].to_vec()).unwrap();
    let mut lines = head.lines();
    let request_line = lines.next().unwrap().to_owned();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.insert(
            http::HeaderName::try_from(name).unwrap(),
            value.parse().unwrap(),
        );
    }
    let body_len: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    while bytes.len() < head_len + body_len {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    Some(Arrival {
        request_line,
        headers,
        body: bytes.split_off(head_len),
    })
}

fn workspace() -> WorkspaceId {
    WorkspaceId::new("ws_1").unwrap()
}

fn endpoint(nth: usize) -> EndpointId {
    EndpointId::new(&format!("ep_{nth}")).unwrap()
}

/// A back end with an endpoint for each address.
async fn store_with(addresses: &[SocketAddr]) -> MemoryStore {
    let store = MemoryStore::default();
    let endpoints = addresses
        .iter()
        .enumerate()
        .map(|(nth, address)| EndpointSpec {
            id: Some(endpoint(nth)),
            url: format!("http://{address}/hooks?from=nahook"),
            secret: Some(SECRET.to_owned()),
            ..EndpointSpec::default()
        });
    let workspace = WorkspaceSpec {
        id: Some(workspace()),
        name: "acme".to_owned(),
        endpoints: endpoints.collect(),
        ..WorkspaceSpec::default()
    };
    let manifest = Manifest::from(workspace);
    store.apply(&manifest, ApplyMode::Commit).await.unwrap();
    store
}

/// Queues one event for the first `width` endpoints.
async fn publish(store: &MemoryStore, width: usize, payload: &'static [u8]) -> Vec<DeliveryId> {
    let now = SystemClock.now();
    let message = MessageId::from_parts(now, RandomIds.random());
    let event = NewEvent {
        event_type: EventTypeName::new("order.paid").unwrap(),
        payload: Payload::new(Bytes::from_static(payload)).unwrap(),
        metadata: Metadata::default(),
    };
    let event_type = EventTypeId::new("evt_1").unwrap();
    let event = Event::new(event, message, event_type, workspace(), now);
    let slots = (0..).zip(0..width);
    let mut deliveries: Vec<_> = slots
        .map(|(ordinal, nth)| Delivery::new(message, ordinal, endpoint(nth)))
        .collect();
    store.publish(&event, &mut deliveries).await;
    deliveries.iter().map(Delivery::id).collect()
}

async fn until(store: &MemoryStore, id: DeliveryId, status: DeliveryStatus) {
    let begun = Instant::now();
    loop {
        let record = store.delivery(id, &workspace()).await.unwrap().unwrap();
        if record.status == status {
            return;
        }
        assert!(begun.elapsed() < GENEROUS, "{id} is {:?}", record.status);
        sleep(Duration::from_millis(5)).await;
    }
}

fn transport() -> HttpTransport {
    let policy = AddressPolicy::new().allow_range("127.0.0.0/8".parse().unwrap());
    HttpTransport::new(policy, &TransportSettings::default()).unwrap()
}

#[tokio::test]
async fn the_payload_arrives_to_the_byte_and_the_reference_library_verifies_it() {
    let (address, mut arrivals) = taking().await;
    let store = store_with(&[address]).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = Worker::new(store.clone(), store.clone(), transport());
    let worker = tokio::spawn(worker.run(async {
        let _ = stopped.await;
    }));
    let payload = "{ \"b\" : 1.0e+02,\n\"a\":\"caf\u{e9}\\u0041\", \"a\":12345678901234567890123 }";
    let ids = publish(&store, 1, payload.as_bytes()).await;
    let arrival = timeout(GENEROUS, arrivals.recv()).await.unwrap().unwrap();

    assert_eq!(arrival.request_line, "POST /hooks?from=nahook HTTP/1.1");
    assert_eq!(arrival.body, payload.as_bytes());
    let verified = Webhook::new(SECRET)
        .unwrap()
        .verify(&arrival.body, &arrival.headers);
    assert!(verified.is_ok(), "{verified:?}");
    assert_eq!(arrival.headers["content-type"], "application/json");
    assert_eq!(arrival.headers["nahook-delivery-id"], ids[0].to_string());
    assert_eq!(arrival.headers["nahook-attempt"], "1");
    let mut tampered = arrival.body.clone();
    tampered[0] = b' ';
    assert!(
        Webhook::new(SECRET)
            .unwrap()
            .verify(&tampered, &arrival.headers)
            .is_err()
    );

    until(&store, ids[0], DeliveryStatus::Delivered).await;
    stop.send(()).unwrap();
    let report = timeout(GENEROUS, worker).await.unwrap().unwrap();
    assert_eq!((report.delivered, report.unsettled), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_that_hang_fail_close_or_never_end_cost_seventeen_healthy_ones_nothing() {
    let mut addresses = Vec::new();
    let mut healthy = Vec::new();
    for _ in 0..17 {
        let (address, arrivals) = taking().await;
        addresses.push(address);
        healthy.push(arrivals);
    }
    let hangs = receiver(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    });
    let fails = receiver(|mut stream| async move {
        while read(&mut stream).await.is_some() {
            let answer = b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    let closes = receiver(|mut stream| async move {
        let _ = read(&mut stream).await;
    });
    let never_ends = receiver(|mut stream| async move {
        let _ = read(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 500 Oops\r\n\r\n").await;
        while stream.write_all(&[b'x'; 16_384]).await.is_ok() {}
    });
    addresses.extend([hangs.await, fails.await, closes.await, never_ends.await]);
    let store = store_with(&addresses).await;

    let (stop, stopped) = oneshot::channel::<()>();
    let worker = Worker::new(store.clone(), store.clone(), transport());
    let worker = tokio::spawn(worker.run(async {
        let _ = stopped.await;
    }));
    // All of this is over before the first attempt at the receiver that hangs is.
    let hanging_ends = Instant::now() + Duration::from_secs(14);
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(publish(&store, addresses.len(), b"{\"order\":1}").await);
        for arrivals in &mut healthy {
            let arrived = tokio::time::timeout_at(hanging_ends, arrivals.recv()).await;
            assert!(arrived.is_ok_and(|arrival| arrival.is_some()));
        }
    }
    for ids in &all {
        for id in &ids[..17] {
            until(&store, *id, DeliveryStatus::Delivered).await;
        }
        // These answered, so they were attempted and wait for a retry.
        for id in &ids[18..] {
            let attempts = store.attempts(*id, &workspace()).await.unwrap().unwrap();
            assert!(
                attempts
                    .iter()
                    .all(|attempt| attempt.attempt.error.is_some())
            );
        }
    }
    until(&store, all[0][18], DeliveryStatus::ScheduledRetry).await;
    until(&store, all[0][19], DeliveryStatus::ScheduledRetry).await;
    until(&store, all[0][20], DeliveryStatus::ScheduledRetry).await;
    drop(stop);
    worker.abort();
}

#[tokio::test]
async fn a_back_end_chosen_at_run_time_works_as_well() {
    use nahook_control::EndpointDirectory;

    use nahook_queue::DeliveryQueue;
    let (address, mut arrivals) = taking().await;
    let store = store_with(&[address]).await;
    let queue: Arc<dyn DeliveryQueue> = Arc::new(store.clone());
    let directory: Arc<dyn EndpointDirectory> = Arc::new(store.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(Worker::new(queue, directory, transport()).run(async {
        let _ = stopped.await;
    }));
    publish(&store, 1, b"{}").await;
    assert!(timeout(GENEROUS, arrivals.recv()).await.unwrap().is_some());
    stop.send(()).unwrap();
    assert_eq!(
        timeout(GENEROUS, worker).await.unwrap().unwrap().delivered,
        1
    );
}

//! The loop that accepts connections.

use std::sync::Arc;
use std::time::Duration;

use nahook_http::ServeSettings;
use nahook_supervision::{Death, Loop};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Server, held_back};

const SOON: Duration = Duration::from_mins(1);
const ASK: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

#[tokio::test]
async fn dead_accept_loop_is_replaced_and_open_connections_live_on() {
    for death in Death::ALL {
        let (reached, released) = <(Arc<Notify>, Arc<Notify>)>::default();
        let mut server =
            Server::start(held_back(&reached, &released), ServeSettings::default()).await;
        let (mut busy, mut idle) = (server.connect().await, server.connect().await);
        idle.send("GET /none HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(idle.status().await, Some(404));
        busy.send(ASK).await;
        reached.notified().await;

        server.supervisor.kill(Loop::HttpAccept, *death);
        let failed = async {
            while server.supervisor.loops()[0].failures == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, failed).await.unwrap();
        assert_eq!(server.supervisor.down(), ["http_accept"], "{death:?}");

        let mut new = server.connect().await;
        new.send("GET /none HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(
            timeout(SOON, new.status()).await,
            Ok(Some(404)),
            "{death:?}"
        );
        idle.send("GET /none HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(idle.status().await, Some(404), "{death:?}");
        released.notify_one();
        assert_eq!(busy.status().await, Some(200), "{death:?}");

        // It still stops as it should.
        server.begin_to_stop();
        timeout(SOON, &mut server.serving).await.unwrap().unwrap();
        assert!(server.supervisor.loops()[0].wanted == 0);
        assert_eq!(timeout(SOON, idle.status()).await, Ok(None), "{death:?}");
    }
}

#[tokio::test]
async fn dropping_the_server_cuts_every_connection() {
    let (reached, released) = <(Arc<Notify>, Arc<Notify>)>::default();
    let server = Server::start(held_back(&reached, &released), ServeSettings::default()).await;
    let mut client = server.connect().await;
    client.send(ASK).await;
    reached.notified().await;
    server.serving.abort();
    assert_eq!(timeout(SOON, client.status()).await, Ok(None));
    let refused = async {
        while tokio::net::TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, refused).await.unwrap();
}

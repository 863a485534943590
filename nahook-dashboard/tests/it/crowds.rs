//! Browsers where connections run out.

use std::time::Duration;

use nahook_http::{ServeSettings, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::shop::Shop;

/// Asks for a page and reads all of the answer. Returns its status; `None` if the connection has been closed.
async fn ask(stream: &mut TcpStream, path: &str, cookie: &str) -> Option<String> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\ncookie: {cookie}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let len = lines.find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= len.unwrap().parse::<usize>().unwrap() {
                return head.get(9..12).map(str::to_owned);
            }
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

#[tokio::test]
async fn signed_in_browser_keeps_its_connection_where_strangers_crowd() {
    let shop = Shop::open().await;
    let browser = shop.operator(&shop.ours).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = ServeSettings {
        connections_max: 4,
        connections_per_address_max: Some(4),
        head_timeout: Duration::from_mins(1),
        ..ServeSettings::default()
    };
    let (router, never) = (shop.router.clone(), std::future::pending());
    let serving = tokio::spawn(serve(listener, router, settings, <_>::default(), never));
    let mut known = TcpStream::connect(address).await.unwrap();
    let system = "/dashboard/system";
    assert_eq!(
        ask(&mut known, system, &browser.cookie).await.as_deref(),
        Some("200")
    );
    let mut crowd = Vec::new();
    for _ in 0..12 {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        let answer = ask(&mut stranger, "/dashboard/sign-in", "a=b").await;
        assert_eq!(answer.as_deref(), Some("200"));
        crowd.push(stranger);
    }
    assert_eq!(
        ask(&mut known, system, &browser.cookie).await.as_deref(),
        Some("200")
    );
    serving.abort();
}

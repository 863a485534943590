//! Something between a store and its server that can cut the line.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    pub(crate) url: String,
    is_mute: Arc<AtomicBool>,
    cut: watch::Sender<u64>,
}

impl Proxy {
    pub(crate) async fn to(url: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (start, rest) = url.split_once("127.0.0.1:").unwrap();
        let (server_port, path) = rest.split_once('/').unwrap();
        let server = format!("127.0.0.1:{server_port}");
        let is_mute = Arc::<AtomicBool>::default();
        let (cut, _) = watch::channel(0);
        let proxy = Self {
            url: format!("{start}127.0.0.1:{port}/{path}"),
            is_mute: Arc::clone(&is_mute),
            cut: cut.clone(),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else {
                    continue;
                };
                let (mut cut, is_mute) = (cut.subscribe(), Arc::clone(&is_mute));
                tokio::spawn(async move {
                    let (client_reads, client_writes) = client.into_split();
                    let (server_reads, server_writes) = server.into_split();
                    let never = Arc::default();
                    tokio::select! {
                        _ = cut.changed() => {}
                        () = carry(client_reads, server_writes, never) => {}
                        () = carry(server_reads, client_writes, is_mute) => {}
                    }
                });
            }
        });
        proxy
    }

    /// From now on the server's answers are swallowed, or not.
    pub(crate) fn mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::SeqCst);
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_mute: Arc<AtomicBool>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        if !is_mute.load(Ordering::SeqCst) && to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}

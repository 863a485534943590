//! A line to a server that can be cut.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    pub(crate) url: String,
    is_cut: watch::Sender<bool>,
}

impl Proxy {
    /// A line to the first of these servers.
    pub(crate) async fn to(url: &str) -> Self {
        let first = url.split(',').next().unwrap();
        let server = first.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_cut, _) = watch::channel(false);
        let cut = is_cut.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut cut = cut.subscribe();
                if *cut.borrow() {
                    continue;
                }
                let Ok(mut server) = TcpStream::connect(&server).await else {
                    continue;
                };
                let _ = client.set_nodelay(true);
                let _ = server.set_nodelay(true);
                tokio::spawn(async move {
                    tokio::select! {
                        _ = cut.wait_for(|is_cut| *is_cut) => {}
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                    }
                });
            }
        });
        Self {
            url: format!("nats://127.0.0.1:{port}"),
            is_cut,
        }
    }

    /// Ends every connection, and makes no more.
    pub(crate) fn cut_off(&self) {
        self.is_cut.send_replace(true);
    }

    /// Makes connections again.
    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

//! Against real sockets on loopback, which each policy here has to open first.

mod addresses;
mod answers;
mod bodies;
mod connecting;
mod heads;
mod hostile;
mod receiver;
mod tls;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use super::*;
use crate::transport::{LocalCause, RetryAfter, TlsFault};

/// Answers from a script: each look-up of a name takes the next of its answers, the last one stays.
#[derive(Default)]
struct Names(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

impl Names {
    fn of(name: &str, answers: &[&[&str]]) -> Self {
        let parse = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let answers = answers.iter().rev().map(parse).collect();
        Self(Mutex::new(HashMap::from([(name.to_owned(), answers)])))
    }
}

impl Resolver for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let answers = names.get_mut(host).ok_or(io::ErrorKind::NotFound)?;
        match answers.len() {
            1 => Ok(answers[0].clone()),
            _ => Ok(answers.pop().unwrap()),
        }
    }
}

fn loopback() -> AddressPolicy {
    AddressPolicy::new().allow_range("127.0.0.0/8".parse().unwrap())
}

/// Time-outs short enough to be waited for.
fn hasty() -> TransportSettings {
    TransportSettings {
        connect_timeout: Duration::from_millis(300),
        total_timeout: Duration::from_millis(600),
        ..TransportSettings::default()
    }
}

fn open() -> HttpTransport<Names> {
    transport(loopback(), &TransportSettings::default(), Names::default())
}

fn transport(
    policy: AddressPolicy,
    settings: &TransportSettings,
    names: Names,
) -> HttpTransport<Names> {
    HttpTransport::with_resolver(policy, settings, names).unwrap()
}

fn request(url: impl AsRef<str>) -> OutboundRequest {
    OutboundRequest {
        url: url.as_ref().parse().unwrap(),
        headers: http::HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
    }
}

fn at(socket: SocketAddr) -> OutboundRequest {
    request(format!("http://{socket}/hook"))
}

/// Posts and leaves the answer's body out, which decides nothing.
trait PostHead {
    async fn head(&self, request: OutboundRequest) -> Result<OutboundResponse, TransportError>;
}

impl<T: Transport> PostHead for T {
    async fn head(&self, request: OutboundRequest) -> Result<OutboundResponse, TransportError> {
        let answer = self.post(request).await;
        answer.map(|answer| OutboundResponse {
            body: Bytes::new(),
            ..answer
        })
    }
}

fn status(status: u16) -> OutboundResponse {
    OutboundResponse {
        status,
        retry_after: None,
        body: Bytes::new(),
    }
}

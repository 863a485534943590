//! `nahook listen`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use axum::http::StatusCode;
use clap::Args;
use nahook_receive::Verifier;

use crate::inbox::{Arrival, Inbox};
use crate::output::{Printer, briefly};
use crate::signals::Signals;
use crate::{ServerError, text_file};

/// Arguments of `nahook listen`.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct ListenArgs {
    /// The address to listen on.
    #[arg(long, env = "NAHOOK_LISTEN_INBOX", default_value = "127.0.0.1:3002")]
    pub listen: SocketAddr,
    /// The endpoint's signing secret, whsec_…; may be repeated. Without one, signatures are not checked.
    #[arg(
        long,
        env = "NAHOOK_SIGNING_SECRET",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub secret: Vec<String>,
    /// A file with signing secrets, one a line; what is given by --secret goes before it.
    #[arg(long, env = "NAHOOK_SIGNING_SECRET_FILE", value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// The status to answer with.
    #[arg(long, default_value = "204")]
    pub status: u16,
}

impl ListenArgs {
    /// Checks signatures with the secrets that are given; none if neither they nor a file are.
    fn verifier(&self) -> Result<Option<Verifier>, ServerError> {
        let (name, secrets) = match &self.secret_file {
            Some(path) if self.secret.is_empty() => {
                let text = text_file::read_secret(path)?;
                let lines = text.lines().map(|line| line.trim().to_owned());
                (
                    "--secret-file",
                    lines.filter(|line| !line.is_empty()).collect(),
                )
            }
            None if self.secret.is_empty() => return Ok(None),
            _ => ("--secret", self.secret.clone()),
        };
        let verifier = Verifier::new(&secrets).map_err(|error| ServerError::Setting {
            name,
            reason: error.to_string(),
        })?;
        Ok(Some(verifier))
    }
}

/// Receives webhooks, checks their signatures and prints what arrives, until stopped.
pub async fn run(args: ListenArgs) -> Result<ExitCode, ServerError> {
    let status = StatusCode::from_u16(args.status)
        .map_err(|_| ServerError::Usage("--status takes 100 to 999".to_owned()))?;
    let verifier = args.verifier()?;
    let (printer, ended) = Printer::start()?;
    let welcome = printer.clone();
    let on_arrival = move |arrival: &Arrival| {
        if printer.print(describe(arrival)) {
            status
        } else {
            // It was shown to nobody: let the sender try again.
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let inbox = Inbox::bind(args.listen, verifier, Box::new(on_arrival))
        .await
        .map_err(|source| ServerError::Listen {
            address: args.listen,
            source,
        })?;
    welcome.print(format!("listening on http://{}\n", inbox.address()?));
    drop(welcome);
    let mut signals = Signals::catch()?;
    let mut ended = std::pin::pin!(ended.wait());
    tokio::select! {
        served = inbox.serve(async move { signals.stop().await }) => served?,
        // Nobody reads any more.
        result = &mut ended => return result.map(|()| ExitCode::SUCCESS),
    }
    briefly(ended).await?;
    Ok(ExitCode::SUCCESS)
}

/// An arrival for people: what it is on one line, its body on the next.
pub(crate) fn describe(arrival: &Arrival) -> String {
    let header = |name| {
        arrival
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    format!(
        "{} {}  attempt {}  signature {}  {}\n    {}\n",
        arrival.path,
        header("nahook-event-type").unwrap_or("-"),
        header("nahook-attempt").unwrap_or("-"),
        arrival.signature,
        header("webhook-id").unwrap_or("-"),
        printable(&arrival.body),
    )
}

/// The body as text in which nothing can move the cursor or pass for a line of ours.
fn printable(body: &[u8]) -> String {
    let shown = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    String::from_utf8_lossy(body).chars().map(shown).collect()
}

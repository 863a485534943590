//! `nahook demo`: the whole of it in a few seconds.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::http::StatusCode;
use nahook_control::{
    ApiKeySpec, ApplyMode, Catalog as _, EndpointSpec, EventTypeSpec, Manifest, Record, SecretText,
    WorkspaceSpec,
};
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_core::{EventTypeName, Metadata, Payload};
use nahook_queue::{DeliveryLog as _, DeliveryRecord, DeliveryStatus};
use nahook_receive::Verifier;
use nahook_supervision::Supervisor;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::client::Access;
use crate::inbox::{Arrival, Inbox};
use crate::listen::describe;
use crate::output::Printer;
use crate::serve::Server;
use crate::settings::{OperationsListen, Pages, PressureSettings, Role, Settings};
use crate::{ServerError, client, trigger};
use nahook_embed::{QueueUrl, StoreUrl};

/// Upper bound on the wait for deliveries.
const PATIENCE: Duration = Duration::from_secs(10);
const EVENT_TYPE: &str = "order.paid";
const PAYLOAD: &str = r#"{"order_id":"ord_123","amount":49.99}"#;
/// A secret for receivers that live for seconds.
const SECRET: &str = "whsec_bmFob29rX2RlbW9fc2lnbmluZ19rZXlfMzJieXRlcyE=";
/// The receivers, and what each answers.
const RECEIVERS: [(&str, u16); 3] = [("ep_billing", 204), ("ep_mail", 204), ("ep_broken", 500)];

/// The part of a receipt that the demo reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    delivery_ids: Vec<String>,
}

/// Runs a server on a temporary file, three receivers, one of them failing, and one trigger; shows what happens; stops.
pub async fn run() -> Result<ExitCode, ServerError> {
    let dir = tempfile::tempdir()?;
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = Settings {
        listen: any_port,
        operations_listen: OperationsListen::Off,
        tls: None,
        client_connections: 64,
        trusted_proxies: Vec::new(),
        store: StoreUrl::default_in(dir.path()),
        data_dir: dir.path().to_owned(),
        secret_keys: None,
        queue: QueueUrl::Store,
        role: Role::All,
        hold_deliveries: false,
        allow_endpoint_ranges: vec![std::net::IpAddr::from([127, 0, 0, 1]).into()],
        allow_endpoint_ports: Vec::new(),
        create_unknown_event_types: false,
        limiter_down: nahook_core::admission::LimiterDown::Admit,
        retention: Duration::from_hours(24),
        pages: Pages::default(),
        portal_url: None,
        log_format: None,
        sample: false,
        pressure: PressureSettings::default(),
        disk_free_min: None,
        postgres: nahook_postgres::PostgresSettings::default(),
        nats: nahook_nats::NatsSettings::default(),
    };
    let verifier = Verifier::new([SECRET]).map_err(|error| usage(&error))?;
    let (printer, ended) = Printer::start()?;
    let shown_by = printer.clone();
    let on_arrival = move |arrival: &Arrival| answer(arrival, &shown_by);
    let inbox = Inbox::bind(any_port, Some(verifier), Box::new(on_arrival)).await?;
    let receiver = inbox.address()?;
    let inbox = tokio::spawn(async move { inbox.serve(std::future::pending()).await });
    let server = Server::start(settings, Supervisor::new()).await?;
    printer.print(format!(
        "server     http://{}, on a temporary file\n\
         receivers  http://{receiver}: two that take what comes, one that answers 500\n\n",
        server.address()
    ));
    let shown = show(&server, receiver, &printer).await;
    server.stop().await;
    inbox.abort();
    let _ = inbox.await;
    shown?;
    printer.print("\nThe failing endpoint would be tried again for days. The demo ends here.\n");
    drop(printer);
    ended.wait().await?;
    Ok(ExitCode::SUCCESS)
}

async fn show(server: &Server, receiver: SocketAddr, printer: &Printer) -> Result<(), ServerError> {
    let manifest = manifest(receiver)?;
    let changes = server
        .backend()
        .catalog
        .apply(&manifest, ApplyMode::Commit)
        .await?;
    let mut workspace = None;
    let mut key = None;
    for change in changes {
        match change.record {
            Record::Workspace(row) => workspace = Some(row.id),
            Record::ApiKey(_) => key = change.drawn_secret,
            _ => {}
        }
    }
    let (Some(workspace), Some(key)) = (workspace, key) else {
        return Err(ServerError::Request("the manifest made no key".to_owned()));
    };
    printer.print(format!(
        "POST /api/ingest/event/{EVENT_TYPE}  {PAYLOAD}\n\n"
    ));
    let delivery_ids = trigger_event(server, &key, printer).await?;
    let records = attempted(server, &delivery_ids, &workspace).await?;
    printer.print("\ndeliveries after a first attempt\n");
    for record in records {
        let next = record.next_retry_at.map_or(String::new(), |at| {
            let wait = at.saturating_since(record.updated_at).as_secs_f32();
            format!(", again in {wait:.0} s")
        });
        let (status, attempts) = (record.status.as_str(), record.attempts);
        printer.print(format!(
            "    {}  {:12}{status} after {attempts} attempt{next}\n",
            record.id, record.endpoint
        ));
    }
    Ok(())
}

async fn trigger_event(
    server: &Server,
    key: &SecretText,
    printer: &Printer,
) -> Result<Vec<DeliveryId>, ServerError> {
    let event_type = EventTypeName::new(EVENT_TYPE).map_err(|error| usage(&error))?;
    let payload = Payload::new(PAYLOAD).map_err(|error| usage(&error))?;
    let body = trigger::body(&payload, &Metadata::default())?;
    let access = Access {
        base_url: format!("http://{}", server.address()),
        secret: key.clone(),
    };
    let (status, body) = client::trigger(&access, &event_type, body).await?;
    let text = String::from_utf8_lossy(&body);
    printer.print(format!("{status}\n    {text}\n\n"));
    let answer: Answer = serde_json::from_slice(&body).map_err(|error| usage(&error))?;
    Ok(answer
        .delivery_ids
        .iter()
        .filter_map(|id| id.parse().ok())
        .collect())
}

/// Waits until each delivery has been attempted.
async fn attempted(
    server: &Server,
    ids: &[DeliveryId],
    workspace: &WorkspaceId,
) -> Result<Vec<DeliveryRecord>, ServerError> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let mut records = Vec::new();
        for id in ids {
            records.extend(server.backend().log.delivery(*id, workspace).await?);
        }
        let is_attempted = |record: &DeliveryRecord| {
            record.attempts > 0 && record.status != DeliveryStatus::Delivering
        };
        if records.len() == ids.len() && records.iter().all(is_attempted) {
            return Ok(records);
        }
        if Instant::now() >= give_up {
            return Err(ServerError::Request(
                "the deliveries were not attempted in time".to_owned(),
            ));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn answer(arrival: &Arrival, printer: &Printer) -> StatusCode {
    let receiver = RECEIVERS
        .iter()
        .find(|(id, _)| arrival.path.trim_start_matches('/') == *id);
    let status = receiver.and_then(|(_, status)| StatusCode::from_u16(*status).ok());
    let status = status.unwrap_or(StatusCode::NOT_FOUND);
    printer.print(format!("{}    answers {status}\n", describe(arrival)));
    status
}

fn manifest(receiver: SocketAddr) -> Result<Manifest, ServerError> {
    let event_type = EventTypeName::new(EVENT_TYPE).map_err(|error| usage(&error))?;
    let mut endpoints = Vec::new();
    for (id, _) in RECEIVERS {
        endpoints.push(EndpointSpec {
            id: Some(EndpointId::new(id).map_err(|error| usage(&error))?),
            url: format!("http://{receiver}/{id}"),
            secret: Some(SECRET.to_owned()),
            event_types: Some(vec![event_type.clone().into()]),
            ..EndpointSpec::default()
        });
    }
    let workspace = WorkspaceSpec {
        name: "Demo".to_owned(),
        event_types: vec![EventTypeSpec::named(event_type)],
        endpoints,
        api_keys: vec![ApiKeySpec {
            name: "demo".to_owned(),
            ..ApiKeySpec::default()
        }],
        ..WorkspaceSpec::default()
    };
    Ok(Manifest::from(workspace))
}

fn usage(error: &dyn std::error::Error) -> ServerError {
    ServerError::Usage(error.to_string())
}

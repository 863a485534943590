//! The composition that keeps nothing: the core's in-memory adapters behind the same HTTP front end and worker.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use nahook_control::{ApplyMode, Catalog as _, Manifest};
use nahook_core::{
    Admission, DynDeliveryPublisher, DynRateLimiter, DynSubscriptionStore, FanOut, GcraLimiter,
    SystemClock,
};
use nahook_delivery::{AddressPolicy, HttpTransport, TransportSettings, Worker};
use nahook_http::{Ingestion, IngestionEngine, ServeSettings, ingestion_router, with_fallbacks};
use nahook_memory::MemoryStore;
use tokio::net::TcpListener;

use crate::Failure;

/// Options: the number of rows that exist.
#[derive(Args)]
pub(crate) struct MemoryArgs {
    manifest: PathBuf,
    /// Deliver nothing.
    #[arg(long)]
    hold_deliveries: bool,
}

/// Serves until it is killed.
pub(crate) fn serve(args: &MemoryArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let store = MemoryStore::default();
        let manifest: Manifest = toml::from_str(&fs::read_to_string(&args.manifest)?)?;
        store.apply(&manifest, ApplyMode::Commit).await?;
        let policy = AddressPolicy::new().allow_range("127.0.0.0/8".parse()?);
        let transport = HttpTransport::new(policy, &TransportSettings::default())?;
        let worker = Worker::new(store.clone(), store.clone(), transport);
        if !args.hold_deliveries {
            tokio::spawn(worker.run(std::future::pending()));
        }
        let handle = || Arc::new(store.clone());
        let fan_out = FanOut::new(
            handle() as Arc<dyn DynSubscriptionStore>,
            handle() as Arc<dyn DynDeliveryPublisher>,
        );
        let limiter: Arc<dyn DynRateLimiter> = Arc::new(GcraLimiter::new(Arc::new(SystemClock)));
        let engine: IngestionEngine = Admission::new(fan_out, limiter);
        let ingestion = Ingestion::new(Arc::new(engine), handle());
        let router = ingestion_router(ingestion);
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!("listening on {}", listener.local_addr()?);
        let settings = ServeSettings::default();
        nahook_http::serve(
            listener,
            with_fallbacks(router),
            settings,
            nahook_supervision::Supervisor::new(),
            std::future::pending(),
        )
        .await;
        Ok(())
    })
}

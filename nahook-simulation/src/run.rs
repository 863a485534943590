//! One run: servers at work, steps at random times, then a calm in which everything has to come to its end.

use std::sync::Arc;
use std::time::Duration;

use nahook_control::{
    Actor, ApplyMode, Catalog, EndpointSpec, EventTypeSpec, Management, Manifest, WorkspaceSpec,
};
use nahook_core::id::{EndpointId, EventTypeId, WorkspaceId};
use nahook_core::{
    DynDeliveryPublisher, EventTypeName, EventTypeSelector, FanOut, IdempotencyKey, Metadata,
    NewEvent, NewSend, Payload, SendError,
};
use nahook_delivery::{Worker, WorkerSettings};
use nahook_memory::MemoryStore;
use nahook_queue::{DeliveryLog, DeliveryQueue};
use nahook_testkit::SeededIds;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::plan::{Faults, Plan};
use crate::ports::Ports;
use crate::receivers::{Receivers, url};
use crate::records::{Database, RecordQueue};
use crate::wire::{Life, Wire};
use crate::world::{JumpingClock, World};

const WORKSPACES: u64 = 2;
const EVENT_TYPES: [&str; 2] = ["order.paid", "order.refunded"];
const SECRET: &str = "whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh";

/// Time in which everything that is queued ends in the calm.
const CALM: Duration = Duration::from_mins(20);
/// Time after which nothing of the faults is left, such as a pause of an endpoint.
const REST: Duration = Duration::from_secs(70);
/// Time in which a delivery ends when nothing else happens.
const PROMPT: Duration = Duration::from_millis(900);

/// Result of a run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Violations: events that must not have happened.
    pub violations: Vec<String>,
    /// A number that any difference between two runs changes.
    pub hash: u64,
    /// Number of faults.
    pub faults: u64,
    /// Number of deliveries that were queued.
    pub deliveries: u64,
    /// Number of requests that arrived.
    pub arrivals: u64,
    /// The course of events, if it was asked for.
    pub trace: Vec<String>,
}

/// Runs a plan. `is_told` keeps the lines of the trace.
///
/// # Panics
/// If no runtime can be had.
pub fn run(plan: &Plan, is_told: bool) -> Report {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let world = World::new(plan, is_told);
        let mut town = Town::new(&world);
        town.settle_in().await;
        town.live().await;
        town.calm_down().await;
        let (hash, trace) = world.trace();
        world.with(|state| {
            let (deliveries, arrivals) = state.oracle.counts();
            Report {
                violations: state.oracle.violations().to_vec(),
                hash,
                faults: state.faults,
                deliveries: deliveries as u64,
                arrivals,
                trace,
            }
        })
    })
}

/// A server that is running.
struct Running {
    wire: Wire,
    clock: JumpingClock,
    fan_out: Arc<FanOut<Ports, Ports>>,
    stop: Option<oneshot::Sender<()>>,
}

/// A server, running or not.
struct Server {
    running: Option<Running>,
    starts_at: Instant,
}

/// The servers, and what they share.
struct Town {
    world: Arc<World>,
    store: MemoryStore,
    management: Management<MemoryStore>,
    clock: JumpingClock,
    /// The store of the deliveries, where they are kept as records.
    database: Option<Arc<Database>>,
    servers: Vec<Server>,
    lives: u64,
    endpoints: u64,
    clients: Vec<JoinHandle<()>>,
}

fn workspace(number: u64) -> WorkspaceId {
    WorkspaceId::from_bits(u128::from(number) + 1)
}

fn endpoint(number: u64) -> EndpointId {
    EndpointId::from_bits(u128::from(number) + 1)
}

fn event_type(number: usize) -> EventTypeName {
    #[expect(clippy::expect_used, reason = "written above")]
    EventTypeName::new(EVENT_TYPES[number]).expect("a name")
}

impl Town {
    fn new(world: &Arc<World>) -> Self {
        let clock = JumpingClock::new(world);
        let seed = world.plan.seed;
        let store = MemoryStore::new(Arc::new(clock.clone()), Arc::new(SeededIds::new(seed)));
        let management = Management::new(store.clone())
            .with_clock(clock.clone())
            .with_ids(SeededIds::new(!seed));
        let database = world.plan.has_records;
        let database = database.then(|| Database::new(store.clone(), clock.clone()));
        let now = Instant::now();
        let servers = 0..world.plan.servers;
        Self {
            world: Arc::clone(world),
            store,
            management,
            clock,
            database,
            servers: servers
                .map(|_| Server {
                    running: None,
                    starts_at: now,
                })
                .collect(),
            lives: 0,
            endpoints: 0,
            clients: Vec::new(),
        }
    }

    async fn settle_in(&mut self) {
        for number in 0..WORKSPACES {
            let event_types = EVENT_TYPES.iter().enumerate().map(|(at, _)| EventTypeSpec {
                id: Some(EventTypeId::from_bits(
                    u128::from(number) * 10 + at as u128 + 1,
                )),
                ..EventTypeSpec::named(event_type(at))
            });
            self.apply(WorkspaceSpec {
                id: Some(workspace(number)),
                name: format!("w{number}"),
                event_types: event_types.collect(),
                ..WorkspaceSpec::default()
            })
            .await;
        }
        for _ in 0..self.world.plan.endpoints {
            self.add_endpoint().await;
        }
        for at in 0..self.servers.len() {
            self.start(at);
        }
    }

    async fn apply(&self, spec: WorkspaceSpec) {
        let manifest = Manifest::from(spec);
        if let Err(error) = self.store.apply(&manifest, ApplyMode::Commit).await {
            self.world
                .with(|state| state.oracle.complain(error.to_string()));
        }
    }

    async fn add_endpoint(&mut self) {
        let number = self.endpoints;
        self.endpoints += 1;
        self.declare(number, true).await;
    }

    /// Makes an endpoint, or enables or disables it.
    async fn declare(&self, number: u64, is_active: bool) {
        let id = endpoint(number);
        let of = number % WORKSPACES;
        // Most have both.
        let types: &[usize] = if number % 5 == 4 { &[0] } else { &[0, 1] };
        let spec = EndpointSpec {
            id: Some(id),
            url: url(id),
            secret: Some(SECRET.to_owned()),
            is_active: Some(is_active),
            event_types: Some(
                types
                    .iter()
                    .map(|at| EventTypeSelector::Name(event_type(*at)))
                    .collect(),
            ),
            ..EndpointSpec::default()
        };
        self.apply(WorkspaceSpec {
            id: Some(workspace(of)),
            name: format!("w{of}"),
            endpoints: vec![spec],
            ..WorkspaceSpec::default()
        })
        .await;
        let of = usize::try_from(of).unwrap_or_default();
        self.world
            .note("endpoint", &[number.into(), is_active.into()]);
        self.world
            .with(|state| state.oracle.endpoint(id, of, types, is_active));
    }

    fn start(&mut self, at: usize) {
        self.lives += 1;
        let life = Life::new(self.lives);
        let (world, number) = (Arc::clone(&self.world), self.lives);
        world.note("started", &[at as u128, number.into()]);
        let wire = Wire { world, life };
        let ids = SeededIds::new(self.world.plan.seed.rotate_left(20) ^ number);
        let publisher: Arc<dyn DynDeliveryPublisher> = match &self.database {
            Some(database) => Arc::clone(database) as _,
            None => Arc::new(self.store.clone()),
        };
        let ports = Ports {
            wire: wire.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            publisher,
        };
        let queue: Arc<dyn DeliveryQueue> = match self.database.clone() {
            Some(database) => Arc::new(RecordQueue::new(wire.clone(), database)),
            None => Arc::new(ports.clone()),
        };
        let clock = JumpingClock::new(&self.world);
        let receivers = Receivers {
            wire: wire.clone(),
            clock: self.clock.clone(),
        };
        let worker = Worker::new(queue, ports.clone(), receivers)
            .with_clock(clock.clone())
            .with_ids(ids.clone())
            .with_settings(WorkerSettings {
                in_flight_max: self.world.plan.slots,
                lease_duration: self.world.plan.lease,
                schedule: self.world.with(|state| state.oracle.schedule.clone()),
                ..WorkerSettings::default()
            });
        let (stop, stopped) = oneshot::channel::<()>();
        let (own, database) = (wire.clone(), self.database.clone());
        let running = tokio::spawn(async move {
            worker
                .run(async {
                    let _ = stopped.await;
                })
                .await;
            // It exits.
            own.kill();
            if let Some(database) = database {
                database.forget(own.life.number);
            }
        });
        wire.life.keep(running.abort_handle());
        let fan_out = FanOut::new(ports.clone(), ports)
            .with_clock(clock.clone())
            .with_ids(ids);
        self.servers[at].running = Some(Running {
            wire,
            clock,
            fan_out: Arc::new(fan_out),
            stop: Some(stop),
        });
    }

    /// Starts the servers whose time has come.
    fn start_some(&mut self) {
        for at in 0..self.servers.len() {
            let server = &mut self.servers[at];
            let is_over = |running: &Running| running.wire.life.is_over();
            if server.running.as_ref().is_some_and(is_over) {
                server.running = None;
                server.starts_at = Instant::now() + self.world.time(Duration::from_secs(20));
            }
            let is_calm = self.world.with(|state| state.is_calm);
            if server.running.is_none() && (is_calm || Instant::now() >= server.starts_at) {
                self.start(at);
            }
        }
    }

    async fn live(&mut self) {
        for _ in 0..self.world.plan.steps {
            let gap = self.world.time(Duration::from_secs(4));
            sleep(gap).await;
            self.start_some();
            let at = self
                .world
                .with(|state| state.random.below(self.servers.len() as u64));
            let at = usize::try_from(at).unwrap_or_default();
            if self.world.strikes(Faults::CHANGE, 6) {
                self.change().await;
            } else if self.world.strikes(Faults::KILL, 12) {
                if let Some(running) = &self.servers[at].running {
                    running.wire.kill();
                }
            } else if self.world.strikes(Faults::STOP, 12) {
                if let Some(running) = &mut self.servers[at].running
                    && let Some(stop) = running.stop.take()
                {
                    self.world.note("stops", &[at as u128]);
                    let _ = stop.send(());
                }
            } else if self.world.strikes(Faults::CLOCK, 6) {
                self.jump(at);
            } else {
                let (of, event_type) = self
                    .world
                    .with(|state| (state.random.below(WORKSPACES), state.random.below(3).min(1)));
                if self.world.with(|state| state.random.one_in(5)) {
                    self.send(at, of);
                } else {
                    self.trigger(at, of, usize::try_from(event_type).unwrap_or_default());
                }
            }
        }
        for client in self.clients.drain(..) {
            let _ = client.await;
        }
    }

    /// The delivery log tells the truth about everything.
    async fn read_the_log(&self) {
        for (id, of) in self.world.with(|state| state.oracle.all()) {
            let of = workspace(of as u64);
            let record = self.store.delivery(id, &of).await.unwrap_or_default();
            let attempts = self.store.attempts(id, &of).await.unwrap_or_default();
            let listed = attempts.map_or(0, |attempts| attempts.len());
            let record = record.as_ref();
            self.world
                .with(|state| state.oracle.logged(id, record, listed));
        }
    }

    fn jump(&self, at: usize) {
        let millis = self.world.with(|state| state.random.below(4_001));
        let millis = i64::try_from(millis).unwrap_or_default() - 2_000;
        self.world
            .note("clock", &[at as u128, u128::from(millis.unsigned_abs())]);
        match &self.servers[at].running {
            Some(running) if millis % 3 != 0 => running.clock.jump(millis),
            _ => {
                self.world.with(|state| state.oracle.excuse_leased(None));
                self.clock.jump(millis);
            }
        }
    }

    async fn change(&mut self) {
        let (what, number) = self
            .world
            .with(|state| (state.random.below(4), state.random.below(self.endpoints)));
        match what {
            0 => self.add_endpoint().await,
            1 => self.declare(number, false).await,
            2 => self.declare(number, true).await,
            _ => {
                let id = endpoint(number);
                let of = workspace(number % WORKSPACES);
                let deleted = self
                    .management
                    .delete_endpoint(&of, &Actor::operator(), id)
                    .await;
                self.world
                    .note("deleted", &[number.into(), deleted.is_ok().into()]);
                self.world.with(|state| state.oracle.endpoint_ends(id));
            }
        }
    }

    /// Has a client trigger an event at a server, if that runs.
    fn trigger(&mut self, at: usize, of: u64, event_type_at: usize) {
        let Some(running) = &self.servers[at].running else {
            return;
        };
        if running.wire.life.is_over() || running.stop.is_none() {
            return;
        }
        let (world, fan_out) = (Arc::clone(&self.world), Arc::clone(&running.fan_out));
        let workspace_at = usize::try_from(of).unwrap_or_default();
        let number = world.with(|state| state.oracle.trigger(workspace_at, event_type_at));
        world.note("triggers", &[number as u128, at as u128]);
        let client = tokio::spawn(async move {
            let payload = world.with(|state| state.oracle.payload(number));
            let Ok(payload) = Payload::new(payload) else {
                return;
            };
            let event = NewEvent {
                event_type: event_type(event_type_at),
                payload,
                metadata: Metadata::default(),
            };
            let answer = fan_out.trigger(event, workspace(of)).await;
            let told = answer
                .as_ref()
                .map_or(0, |receipt| 1 + receipt.delivery_ids().count());
            world.note("answered", &[number as u128, told as u128]);
            world.with(|state| state.oracle.answer(number, &answer));
        });
        running.wire.life.keep(client.abort_handle());
        self.clients.push(client);
    }

    /// Has a client send something to an endpoint with a key, and again until it knows what became of it.
    fn send(&mut self, at: usize, of: u64) {
        let running = self.servers.iter().filter_map(|it| it.running.as_ref());
        let running = running.filter(|it| !it.wire.life.is_over() && it.stop.is_some());
        let mut servers: Vec<_> = running.map(|it| Arc::clone(&it.fan_out)).collect();
        if servers.is_empty() {
            return;
        }
        let first = at % servers.len();
        servers.rotate_left(first);
        let world = Arc::clone(&self.world);
        let to = world.with(|state| state.random.below(self.endpoints)) / WORKSPACES * WORKSPACES;
        let to = endpoint(to + of);
        let of_at = usize::try_from(of).unwrap_or_default();
        let number = world.with(|state| state.oracle.send(of_at));
        world.note("sends", &[number as u128, at as u128]);
        self.clients.push(tokio::spawn(async move {
            let payload = world.with(|state| state.oracle.payload(number));
            let (Ok(payload), Ok(key)) = (
                Payload::new(payload),
                IdempotencyKey::new(&format!("key-{number}")),
            ) else {
                return;
            };
            let mut is_unclear = false;
            for fan_out in servers.iter().cycle().take(4) {
                let begun = Instant::now();
                let send = NewSend {
                    endpoint: to,
                    payload: payload.clone(),
                    idempotency_key: Some(key.clone()),
                };
                let answer = fan_out.send(send, workspace(of)).await;
                world.note("sent", &[number as u128, u128::from(answer.is_ok())]);
                world.with(|state| {
                    let took = begun.elapsed();
                    let oracle = &mut state.oracle;
                    oracle.answer_send(number, to, &answer, took, is_unclear);
                });
                is_unclear |= matches!(answer, Err(SendError::Unconfirmed { .. }));
                if answer.is_ok() {
                    return;
                }
                sleep(world.time(Duration::from_secs(2))).await;
                world.with(|state| state.oracle.ask_again(number));
            }
        }));
    }

    /// Without further faults everything comes to its end, and then everything is as prompt as ever.
    async fn calm_down(&mut self) {
        self.world.with(|state| state.is_calm = true);
        self.clock.jump(0);
        for running in self.servers.iter().filter_map(|it| it.running.as_ref()) {
            running.clock.jump(0);
        }
        let begun = Instant::now();
        loop {
            sleep(Duration::from_secs(5)).await;
            self.start_some();
            let open = self.world.with(|state| state.oracle.open());
            if open.is_empty() {
                break;
            }
            if begun.elapsed() > CALM {
                let complaint = format!("{open:?} never ended");
                return self.world.with(|state| state.oracle.complain(complaint));
            }
        }
        sleep(REST).await;
        self.start_some();
        for at in 0..self.servers.len() {
            let number = self.world.with(|state| state.random.below(WORKSPACES));
            self.trigger(at, number, 0);
            sleep(PROMPT).await;
            let open = self.world.with(|state| state.oracle.open());
            if !open.is_empty() {
                let complaint = format!("{open:?} took longer than {PROMPT:?} in the calm");
                self.world.with(|state| state.oracle.complain(complaint));
            }
        }
        if self.database.is_none() {
            self.read_the_log().await;
        }
        for server in &mut self.servers {
            if let Some(stop) = server.running.as_mut().and_then(|it| it.stop.take()) {
                let _ = stop.send(());
            }
        }
        sleep(Duration::from_secs(1)).await;
        let is_over = |it: &Server| it.running.as_ref().is_none_or(|it| it.wire.life.is_over());
        if !self.servers.iter().all(is_over) {
            let complaint = "a server without work does not stop within a second".to_owned();
            self.world.with(|state| state.oracle.complain(complaint));
        }
    }
}

//! Promises of the servers while loops die.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::composition::Running;
use crate::dying::RECOVERY;
use crate::support::receiver::Arrival;

/// The triggers so far and the deliveries that their answers promise.
#[derive(Default)]
pub(crate) struct Promises {
    triggers: AtomicUsize,
    promised: Mutex<BTreeSet<String>>,
}

impl Promises {
    /// Triggers an event. Answers whether it was accepted.
    pub(crate) async fn trigger(&self, running: &Running) -> bool {
        let number = self.triggers.fetch_add(1, Ordering::Relaxed);
        let promised = running.stir(number).await;
        let is_accepted = promised.is_some();
        self.promised.lock().unwrap().extend(promised);
        is_accepted
    }

    /// Waits until everything that was promised has arrived.
    pub(crate) async fn all_arrive(self, running: &Running) {
        let give_up = Instant::now() + RECOVERY;
        let promised = self.promised.into_inner().unwrap();
        loop {
            let arrived = arrived(running);
            if promised.is_subset(&arrived) {
                return;
            }
            let lost: Vec<_> = promised.difference(&arrived).collect();
            let count = promised.len();
            assert!(Instant::now() < give_up, "lost {lost:?} of {count}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn arrived(running: &Running) -> BTreeSet<String> {
    let arrivals = running.receiver.arrivals();
    let id = |arrival: &Arrival| arrival.header("nahook-delivery-id").to_owned();
    arrivals.iter().map(id).collect()
}

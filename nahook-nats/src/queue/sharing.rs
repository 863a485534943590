//! Fair shares between processes.
//!
//! A process takes what there is, so that it can be fair between endpoints, and one that starts later would find nothing. So
//! the processes tell each other every second how much they hold. A process that holds more than its share releases the records
//! it has not started.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use futures_util::StreamExt as _;
use nahook_supervision::Exit;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::hub::Hub;

/// Interval at which a process tells how much it holds.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time for which that counts.
const MEMORY: Duration = Duration::from_millis(3_500);
/// Smallest surplus that is worth releasing.
const SLACK: usize = 64;

/// Message of a process to the others.
#[derive(Debug, Deserialize, Serialize)]
struct Load {
    process: u64,
    /// Number of its deliveries that nobody has leased.
    waiting: usize,
}

pub(super) async fn run(hub: Arc<Hub>) -> Exit {
    let subject = hub.names.workers();
    let client = hub.connection.client.clone();
    let Ok(mut messages) = client.subscribe(subject.clone()).await else {
        return Exit::failed("the other workers' subject cannot be subscribed to");
    };
    #[expect(clippy::cast_possible_truncation, reason = "64 random bits are enough")]
    let process = hub.settings.ids.random() as u64;
    let mut others: HashMap<u64, (Instant, usize)> = HashMap::new();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => learn(&mut others, process, &message),
                None => return Exit::failed("the subscription of the other workers' subject has ended"),
            },
            _ = ticks.tick() => {
                let waiting = hub.state().scheduler.waiting_len();
                hub.release_surplus(surplus(waiting, &current(&mut others))).await;
                let told = serde_json::to_vec(&Load { process, waiting }).unwrap_or_default();
                if hub.connection.is_up() {
                    let _ = client.publish(subject.clone(), Bytes::from(told)).await;
                }
            }
        }
    }
}

fn learn(others: &mut HashMap<u64, (Instant, usize)>, process: u64, message: &Message) {
    if let Ok(told) = serde_json::from_slice::<Load>(&message.payload)
        && told.process != process
    {
        others.insert(told.process, (Instant::now(), told.waiting));
    }
}

/// Forgets processes that have not been heard of for long. Returns how much each of the others holds.
fn current(others: &mut HashMap<u64, (Instant, usize)>) -> Vec<usize> {
    others.retain(|_, (at, _)| at.elapsed() < MEMORY);
    others.values().map(|(_, waiting)| *waiting).collect()
}

/// Number of unleased deliveries that a process has over its share, or 0 if it is too small to matter.
fn surplus(waiting: usize, others: &[usize]) -> usize {
    let total = others.iter().sum::<usize>() + waiting;
    let surplus = waiting.saturating_sub(total / (others.len() + 1));
    if surplus > waiting / 4 && surplus > SLACK {
        surplus
    } else {
        0
    }
}

impl Hub {
    async fn release_surplus(&self, surplus: usize) {
        if surplus == 0 {
            return;
        }
        let acks: Vec<_> = {
            let mut state = self.state();
            let keys = state.untouched(surplus);
            keys.into_iter()
                .filter_map(|key| state.let_go(key))
                .collect()
        };
        if !acks.is_empty() {
            tracing::debug!(records = acks.len(), "given back for others to take");
            self.send_nak(acks).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(process: u64, waiting: usize) -> Message {
        let load = Load { process, waiting };
        let payload = Bytes::from(serde_json::to_vec(&load).expect("numbers"));
        Message {
            subject: "nahook.workers".into(),
            reply: None,
            length: payload.len(),
            payload,
            headers: None,
            status: None,
            description: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn process_counts_the_others_that_still_speak() {
        let mut others = HashMap::new();
        for (process, waiting) in [(1, 900), (2, 10), (3, 20), (2, 30)] {
            learn(&mut others, 1, &told(process, waiting));
        }
        let mut heard = current(&mut others);
        heard.sort_unstable();
        assert_eq!(heard, [20, 30], "its own word does not count");
        tokio::time::advance(Duration::from_secs(3)).await;
        learn(&mut others, 1, &told(3, 40));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(current(&mut others), [40], "2 has been silent for 4 s");
        tokio::time::advance(Duration::from_millis(2_500)).await;
        assert!(current(&mut others).is_empty(), "and now 3 for 3.5 s");
    }

    #[test]
    fn small_surplus_is_kept() {
        assert_eq!(surplus(10_000, &[]), 0);
        assert_eq!(surplus(64, &[0]), 0);
        assert_eq!(surplus(128, &[0]), 0, "half of it is no more than 64");
        assert_eq!(surplus(130, &[0]), 65);
        assert_eq!(surplus(1_000, &[900]), 0, "much the same");
        assert_eq!(surplus(400, &[200]), 0, "100 are no more than a quarter");
        assert_eq!(surplus(404, &[200]), 102);
        assert_eq!(surplus(0, &[10_000]), 0);
    }

    #[test]
    fn large_surplus_is_released() {
        assert_eq!(surplus(10_000, &[0]), 5_000);
        assert_eq!(surplus(9_000, &[0, 0]), 6_000);
        assert_eq!(surplus(9_000, &[3_000, 0]), 5_000);
    }
}

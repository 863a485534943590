//! A log that cannot be written changes nothing of what is delivered. In a process of its own, as the tests of what is logged.

#![cfg(test)]

#[path = "worker/faulty.rs"]
#[expect(dead_code, reason = "the tests of the worker use more of it")]
mod faulty;
#[path = "worker/support.rs"]
#[expect(dead_code, reason = "the tests of the worker use more of it")]
mod support;

use std::io::{self, Write};
use std::time::Duration;

use nahook_delivery::{LocalCause, TransportError, WorkerSettings};
use nahook_queue::DeliveryStatus;
use tokio::time::sleep;

use crate::faulty::{Fault, Faulty};
use crate::support::{Act, Rig};

/// Panics whenever something is written.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        panic!("a planted panic")
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn log_writer_that_panics_changes_no_delivery() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(|| Broken)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let rig = Rig::new(&["ep_a", "ep_gone"]).await;
    rig.always("ep_gone", Act::Answer(410));
    rig.script("ep_a", |nth| match nth {
        0 => Act::Answer(500),
        1 => Act::Break(TransportError::Local(LocalCause::Descriptors)),
        _ => Act::Answer(200),
    });
    let mut settled = 0;
    let queue = Faulty::new(&rig.store).settle(move |_| {
        settled += 1;
        if settled % 2 == 1 {
            Fault::Unavailable
        } else {
            Fault::None
        }
    });
    let worker = rig.start_over(queue, rig.store.clone(), WorkerSettings::default());
    let ids = rig.publish(&["ep_a", "ep_gone"]).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.status(ids[0]).await, DeliveryStatus::Delivered);
    assert_eq!(rig.status(ids[1]).await, DeliveryStatus::Failed);
    assert!(!rig.target("ep_gone").await.is_active);
    let report = worker.stop().await;
    assert_eq!((report.attempts, report.unsettled), (3, 0));
    assert_eq!(rig.arrivals().len(), 4);
}

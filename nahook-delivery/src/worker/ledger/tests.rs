use nahook_core::id::{EndpointId, MessageId, WorkspaceId};
use nahook_core::{Event, Payload, Timestamp};
use nahook_queue::LeaseToken;

use super::*;

const SOON: Duration = Duration::from_secs(1);

fn delivery(token: u64, attempts: u32) -> LeasedDelivery {
    let message = MessageId::from_bits(7);
    let lease = Lease {
        delivery: DeliveryId::nth(message, 0),
        token: LeaseToken(token),
    };
    let (payload, workspace) = (Payload::new("{}").unwrap(), WorkspaceId::from_bits(1));
    let event = Event::direct(payload, message, workspace, None, Timestamp::default());
    LeasedDelivery::new(lease, &event, EndpointId::new("ep_1").unwrap(), attempts)
}

fn admitted(ledger: &mut Ledger, token: u64, attempts: u32) -> Admission {
    ledger.admit(delivery(token, attempts), Instant::now() + SOON)
}

fn new(ledger: &mut Ledger, token: u64) -> Hold {
    match admitted(ledger, token, 0) {
        Admission::New(hold) => hold,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_leased_again_with_nothing_recorded_goes_on_under_the_new_lease() {
    let mut ledger = Ledger::default();
    let hold = new(&mut ledger, 1);
    let attempt = tokio::spawn(std::future::pending::<()>());
    ledger.attempting(hold, attempt.abort_handle());
    assert!(matches!(admitted(&mut ledger, 2, 0), Admission::Adopted));
    tokio::task::yield_now().await;
    assert!(!attempt.is_finished() && ledger.is_attempting(hold.number));
    let lease = ledger.settling(hold).unwrap();
    assert_eq!(lease.token, LeaseToken(2));
    assert_eq!(ledger.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_leased_again_after_somebody_settled_an_attempt_begins_anew() {
    let mut ledger = Ledger::default();
    let old = new(&mut ledger, 1);
    let attempt = tokio::spawn(std::future::pending::<()>());
    ledger.attempting(old, attempt.abort_handle());
    let Admission::Replaced(hold) = admitted(&mut ledger, 2, 1) else {
        panic!("the old hold is obsolete");
    };
    assert!(attempt.await.unwrap_err().is_cancelled());
    // Nothing that comes of the old hold touches the new one.
    assert_eq!(ledger.settling(old), None);
    assert!(ledger.remove(old).is_none());
    assert!(ledger.get_mut(hold).is_some());
    assert!(ledger.remove(hold).is_some() && ledger.is_empty());
}

#[tokio::test(start_paused = true)]
async fn leases_are_extended_until_they_are_lost() {
    let mut ledger = Ledger::default();
    let hold = new(&mut ledger, 1);
    let now = Instant::now();
    let lease = delivery(1, 0).lease;
    assert_eq!(ledger.ending(now + SOON), []);
    assert_eq!(ledger.ending(now + 2 * SOON), [lease]);
    assert!(!ledger.extended(lease, Some((now, 5 * SOON))));
    assert_eq!(ledger.ending(now + 2 * SOON), []);
    assert!(ledger.extended(lease, None), "it is lost");
    assert!(!ledger.extended(lease, None), "that is known");
    assert_eq!(ledger.ending(now + 9 * SOON), []);
    assert!(
        !ledger.extended(delivery(9, 0).lease, None),
        "another lease's"
    );
    ledger.remove(hold);
    assert!(!ledger.extended(lease, None), "over");
}

#[tokio::test(start_paused = true)]
async fn lease_that_is_taken_anew_is_extended_again() {
    let mut ledger = Ledger::default();
    new(&mut ledger, 1);
    assert!(ledger.extended(delivery(1, 0).lease, None), "it is lost");
    let begun = Instant::now();
    tokio::time::advance(5 * SOON).await;
    assert!(matches!(admitted(&mut ledger, 2, 0), Admission::Adopted));
    let anew = delivery(2, 0).lease;
    assert_eq!(ledger.ending(begun + 6 * SOON), [], "not before its end");
    assert_eq!(ledger.ending(begun + 7 * SOON), [anew]);
    assert!(ledger.extended(anew, None), "it may be lost as well");
}

#[tokio::test(start_paused = true)]
async fn cutting_off_spares_what_is_being_settled() {
    let mut ledger = Ledger::default();
    let hold = new(&mut ledger, 1);
    let attempt = tokio::spawn(std::future::pending::<()>());
    ledger.attempting(hold, attempt.abort_handle());
    assert_eq!(ledger.cut_off_all(), [hold]);
    assert!(attempt.await.unwrap_err().is_cancelled());
    ledger.settling(hold);
    assert_eq!(ledger.cut_off_all(), []);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_runs_from_its_start_until_it_is_settled_or_given_up() {
    let mut ledger = Ledger::default();
    let hold = new(&mut ledger, 1);
    assert!(!ledger.is_attempting(hold.number));
    let attempt = || tokio::spawn(std::future::pending::<()>()).abort_handle();
    ledger.attempting(hold, attempt());
    assert!(ledger.is_attempting(hold.number));
    assert!(!ledger.is_attempting(hold.number + 1));
    ledger.settling(hold);
    assert!(!ledger.is_attempting(hold.number));
    ledger.attempting(hold, attempt());
    ledger.remove(hold);
    assert!(!ledger.is_attempting(hold.number));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_while_it_is_settled_is_no_news() {
    let mut ledger = Ledger::default();
    let hold = new(&mut ledger, 1);
    ledger.settling(hold);
    assert!(!ledger.extended(delivery(1, 0).lease, None));
}

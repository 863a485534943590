//! Rights that the NATS user lacks: from the start, and from some moment on.

use std::time::Duration;

use nahook_core::{Clock as _, SystemClock};
use nahook_nats::{ConnectError, Nats, NatsSettings, NotPublishable, connect};
use nahook_queue::{DeliveryQueue as _, Next};
use nahook_testkit::run;
use nahook_testserver::{NatsOptions, NatsServer};
use tokio::time::Instant;

use crate::support::{self, lease_some, outcomes, publish, published, settlement};

const PATIENCE: Duration = Duration::from_mins(1);
const DELIVERIES: &str = "nahook.deliveries";

/// A server with a user that has all rights but these.
fn denying(publish: &[&str], subscribe: &[&str]) -> NatsOptions {
    let list = |subjects: &[&str]| {
        let quoted: Vec<_> = subjects.iter().map(|name| format!("{name:?}")).collect();
        quoted.join(", ")
    };
    NatsOptions::new().settings(&format!(
        r#"authorization {{ users: [
            {{ user: admin, password: admin }},
            {{ user: shop, password: shop, permissions: {{
                publish: {{ allow: ">", deny: [{}] }}, subscribe: {{ allow: ">", deny: [{}] }} }} }} ] }}"#,
        list(publish),
        list(subscribe)
    ))
}

fn settings() -> NatsSettings {
    let mut settings = NatsSettings::default();
    settings.log = true;
    settings.ack_wait = Duration::from_secs(2);
    // Far longer than what is refused at once takes on a busy machine.
    settings.publish_patience = Duration::from_mins(5);
    settings
}

async fn connected(server: &NatsServer) -> Nats {
    connected_with(server, settings()).await
}

async fn connected_with(server: &NatsServer, settings: NatsSettings) -> Nats {
    let connected = connect(&server.url_with("shop:shop"), settings).await;
    connected.unwrap()
}

/// Takes the rights to publish these from the user from now on, and no others.
fn deny(server: &NatsServer, publish: &[&str]) {
    tokio::task::block_in_place(|| server.reload(&denying(publish, &[])));
}

async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every right that is missing when connecting is named, whether or not it would have been needed soon.
#[test]
fn missing_right_is_named_when_connecting() {
    let publish = [
        // First, as long as there is no such stream.
        "$JS.API.STREAM.CREATE.NAHOOK_LOG",
        "nahook.deliveries",
        "nahook.progress",
        "nahook.dead_letters",
        "nahook.retries.due",
        "nahook.retries.scheduled.*",
        "nahook.log",
        "nahook.workers",
        "$JS.API.STREAM.INFO.NAHOOK_DELIVERIES",
        "$JS.API.CONSUMER.CREATE.NAHOOK_PROGRESS.>",
        "$JS.API.CONSUMER.MSG.NEXT.NAHOOK_PROGRESS.*",
        "$JS.API.CONSUMER.MSG.NEXT.NAHOOK_DELIVERIES.workers",
        "$JS.API.CONSUMER.MSG.NEXT.NAHOOK_RETRIES.workers",
        "$JS.API.CONSUMER.MSG.NEXT.NAHOOK_LOG.recorders",
        "$JS.ACK.NAHOOK_DELIVERIES.>",
        "$JS.ACK.NAHOOK_LOG.>",
    ];
    let subscribe = ["_INBOX.>", "nahook.workers"];
    run(async {
        let first = denying(&[], &[]);
        let server = first.start();
        for (denied, is_publish) in (publish.iter().map(|denied| (denied, true)))
            .chain(subscribe.iter().map(|denied| (denied, false)))
        {
            let options = if is_publish {
                denying(&[denied], &[])
            } else {
                denying(&[], &[denied])
            };
            tokio::task::block_in_place(|| server.reload(&options));
            let refused = connect(&server.url_with("shop:shop"), settings()).await;
            let Err(ConnectError::Forbidden { missing }) = refused else {
                panic!("{denied}: {refused:?}");
            };
            let named = denied.trim_end_matches(['*', '>']);
            assert!(missing.contains(named), "{denied}: {missing}");
            assert_eq!(missing.starts_with("publish"), is_publish, "{missing}");
        }
    });
}

/// A process that only publishes needs no right to deliver, and the other way about.
#[test]
fn process_needs_the_rights_of_its_role_only() {
    run(async {
        let server = denying(&[], &[]).start();
        // The streams are there.
        drop(connected(&server).await);
        let of_workers = [
            "nahook.progress",
            "$JS.API.CONSUMER.MSG.NEXT.>",
            "$JS.ACK.>",
        ];
        deny(&server, &of_workers);
        let mut publishing = settings();
        publishing.delivers = false;
        let nats = connected_with(&server, publishing).await;
        assert_eq!(nats.check_publishable().await, Ok(()));
        assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["published"]);
        deny(&server, &[DELIVERIES]);
        let mut delivering = settings();
        delivering.publishes = false;
        let nats = connected_with(&server, delivering).await;
        assert_eq!(nats.check_publishable().await, Ok(()));
        assert_eq!(lease_some(&nats.queue, 1, PATIENCE).await.len(), 1);
    });
}

/// What docs/nats.md says that a process of each role needs, and not a right more.
#[test]
fn documented_rights_of_a_role_are_enough_and_no_more() {
    const STREAMS: [&str; 5] = ["DELIVERIES", "RETRIES", "DEAD_LETTERS", "PROGRESS", "LOG"];
    let each = |format: fn(&str) -> String| STREAMS.iter().map(move |stream| format(stream));
    let looks: Vec<String> = each(|stream| format!("$JS.API.STREAM.INFO.NAHOOK_{stream}"))
        .chain(each(|stream| {
            format!("$JS.API.CONSUMER.INFO.NAHOOK_{stream}.*")
        }))
        .collect();
    let works: Vec<String> = each(|stream| format!("$JS.ACK.NAHOOK_{stream}.>"))
        .chain(each(|stream| {
            format!("$JS.API.CONSUMER.MSG.NEXT.NAHOOK_{stream}.*")
        }))
        .collect();
    let of_worker = [
        "$JS.API.CONSUMER.CREATE.NAHOOK_PROGRESS.>",
        "nahook.progress",
        "nahook.dead_letters",
        "nahook.retries.>",
        "nahook.log",
        "nahook.workers",
    ];
    let list = |subjects: Vec<&str>| {
        let quoted: Vec<_> = subjects.iter().map(|name| format!("{name:?}")).collect();
        quoted.join(", ")
    };
    let looks = || looks.iter().map(String::as_str);
    let ingest = list(looks().chain(["nahook.deliveries"]).collect());
    let works = works.iter().map(String::as_str);
    let worker = list(looks().chain(works).chain(of_worker).collect());
    let options = NatsOptions::new().settings(&format!(
        r#"authorization {{ users: [
            {{ user: admin, password: admin }},
            {{ user: ingest, password: ingest, permissions: {{
                publish: {{ allow: [{ingest}] }}, subscribe: {{ allow: ["_INBOX.>"] }} }} }},
            {{ user: worker, password: worker, permissions: {{
                publish: {{ allow: [{worker}] }}, subscribe: {{ allow: ["_INBOX.>", "nahook.workers"] }} }} }} ] }}"#
    ));
    run(async {
        let server = options.start();
        // Who may make the streams has made them.
        drop(connect(&server.url_with("admin:admin"), settings()).await);
        let of_role = |publishes, delivers| {
            let mut settings = settings();
            (settings.publishes, settings.delivers) = (publishes, delivers);
            settings
        };
        let (ingest, worker) = (
            server.url_with("ingest:ingest"),
            server.url_with("worker:worker"),
        );
        let publishing = connect(&ingest, of_role(true, false)).await.unwrap();
        assert_eq!(outcomes(&publish(&publishing, 1, 1).await), ["published"]);
        let delivering = connect(&worker, of_role(false, true)).await.unwrap();
        let leased = lease_some(&delivering.queue, 1, PATIENCE).await;
        support::settle(&delivering.queue, &leased, Next::Delivered).await;
        delivering.close().await;
        // The notes as well: a process that has just started waits for them.
        let mut settings = of_role(false, true);
        settings.answer_timeout = 5 * PATIENCE;
        let next = connect(&worker, settings).await.unwrap();
        assert_eq!(outcomes(&publish(&publishing, 2, 1).await), ["published"]);
        assert_eq!(lease_some(&next.queue, 1, PATIENCE).await.len(), 1);
        for (url, publishes) in [(&ingest, false), (&worker, true)] {
            // A busy machine may not answer in time, which is another error.
            until("it is forbidden", || async {
                match connect(url, of_role(publishes, !publishes)).await {
                    Err(ConnectError::Forbidden { .. }) => true,
                    Err(_) => false,
                    Ok(_) => panic!("it has a right more"),
                }
            })
            .await;
        }
    });
}

/// The right to publish is withdrawn and granted again while the process runs.
#[test]
fn withdrawn_right_to_publish_is_told_at_once() {
    run(async {
        let server = denying(&[], &[]).start();
        let nats = connected(&server).await;
        assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["published"]);
        assert_eq!(nats.check_publishable().await, Ok(()));
        deny(&server, &[DELIVERIES]);
        for number in 10..13 {
            let began = Instant::now();
            let slots = publish(&nats, number, 600).await;
            let outcomes = outcomes(&slots);
            assert_eq!(outcomes, ["queue_unavailable"; 600]);
            assert!(began.elapsed() < PATIENCE, "at once");
            let ready = nats.check_publishable().await;
            assert_eq!(ready, Err(NotPublishable::Forbidden));
        }
        deny(&server, &[]);
        assert_eq!(outcomes(&publish(&nats, 20, 1).await), ["published"]);
        assert_eq!(nats.check_publishable().await, Ok(()));
        assert_eq!(server.messages("NAHOOK_DELIVERIES"), Some(2));
    });
}

/// Records that were taken before the right was withdrawn are told as published, those after as refused, whatever was under
/// way in between.
#[test]
fn records_under_way_when_the_right_is_withdrawn_are_told_truly() {
    run(async {
        let server = denying(&[], &[]).start();
        let nats = connected(&server).await;
        let publishing: Vec<_> = (0..8_u64)
            .map(|task| {
                let nats = nats.clone();
                tokio::spawn(async move {
                    let mut slots = Vec::new();
                    let mut refused = 0;
                    for number in 0.. {
                        let some = publish(&nats, (task << 20) + number, 3).await;
                        if outcomes(&some)[0] == "queue_unavailable" {
                            refused += 1;
                        }
                        slots.extend(some);
                        if refused > 20 {
                            return slots;
                        }
                    }
                    slots
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        deny(&server, &[DELIVERIES]);
        let mut slots = Vec::new();
        for task in publishing {
            slots.extend(task.await.unwrap());
        }
        let unclear = outcomes(&slots)
            .into_iter()
            .filter(|outcome| !["published", "queue_unavailable"].contains(outcome));
        assert_eq!(unclear.count(), 0, "all of it is certain");
        let held =
            support::reader::held(&server.url_with("admin:admin"), "NAHOOK_DELIVERIES").await;
        let mut held: Vec<_> = held.iter().map(|held| held.delivery).collect();
        held.sort();
        assert_eq!(held, published(&slots));
    });
}

/// Without its inbox a process would never learn that a record is stored: it sends none until it is heard again.
#[test]
fn withdrawn_right_to_the_inbox_stops_publishing_until_it_is_granted() {
    run(async {
        let server = denying(&[], &[]).start();
        let mut settings = settings();
        // A record waits that long for the right.
        settings.publish_patience = Duration::from_secs(2);
        let nats = connected_with(&server, settings).await;
        assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["published"]);
        let denied = denying(&[], &["_INBOX.>"]);
        tokio::task::block_in_place(|| server.reload(&denied));
        until("it is noticed", || async {
            nats.check_publishable().await == Err(NotPublishable::NoConnection)
        })
        .await;
        let before = server.messages("NAHOOK_DELIVERIES");
        assert_eq!(outcomes(&publish(&nats, 2, 1).await), ["queue_unavailable"]);
        assert_eq!(server.messages("NAHOOK_DELIVERIES"), before);
        deny(&server, &[]);
        until("it recovers", || async {
            nats.check_publishable().await == Ok(())
        })
        .await;
        assert_eq!(outcomes(&publish(&nats, 3, 1).await), ["published"]);
        let leased = lease_some(&nats.queue, 2, PATIENCE).await;
        assert_eq!(leased.len(), 2);
    });
}

/// The right to pull is withdrawn while a worker runs: its loop is down, and goes on once the right is there again.
#[test]
fn withdrawn_right_to_pull_is_reported_until_it_is_granted() {
    run(async {
        let server = denying(&[], &[]).start();
        let settings = settings();
        let supervisor = settings.supervisor.clone();
        let nats = connect(&server.url_with("shop:shop"), settings)
            .await
            .unwrap();
        publish(&nats, 1, 1).await;
        assert_eq!(lease_some(&nats.queue, 1, PATIENCE).await.len(), 1);
        let pull = "$JS.API.CONSUMER.MSG.NEXT.NAHOOK_DELIVERIES.workers";
        deny(&server, &[pull]);
        // A request is under way that was made with the right: what it brings makes the next.
        let mut number = 2;
        until("it is reported", || {
            number += 1;
            let (nats, supervisor) = (nats.clone(), supervisor.clone());
            async move {
                publish(&nats, number, 1).await;
                let _ = nats.queue.lease(&support::request(1, 100)).await;
                supervisor.down().contains(&"nats_intake")
            }
        })
        .await;
        deny(&server, &[]);
        until("it is up", || async { supervisor.down().is_empty() }).await;
        let slots = publish(&nats, 1_000, 3).await;
        let end = Instant::now() + PATIENCE;
        let mut came = Vec::new();
        while !published(&slots).iter().all(|id| came.contains(id)) {
            assert!(Instant::now() < end, "they do not come");
            came.extend(support::ids(
                &lease_some(&nats.queue, 100, Duration::from_millis(200)).await,
            ));
        }
    });
}

/// Settling without the right to write notes fails at once, and holds the leases.
#[test]
fn settling_without_the_right_to_note_fails_at_once() {
    run(async {
        let server = denying(&[], &[]).start();
        let nats = connected(&server).await;
        publish(&nats, 1, 1).await;
        let leased = lease_some(&nats.queue, 1, PATIENCE).await;
        deny(&server, &["nahook.progress"]);
        let began = Instant::now();
        let settlements = [settlement(&leased[0], Next::Delivered)];
        assert!(nats.queue.settle(&settlements).await.is_err());
        assert!(began.elapsed() < PATIENCE, "at once");
        deny(&server, &[]);
        support::settle(&nats.queue, &leased, Next::Delivered).await;
        let left =
            support::reader::records(&server.url_with("admin:admin"), "NAHOOK_DELIVERIES").await;
        assert!(left.is_empty());
    });
}

/// A retry or a dead letter that could not be stored stays in its record, for the next process as well.
#[test]
fn retry_and_dead_letter_that_are_not_stored_are_not_settled() {
    run(async {
        let server = denying(&[], &[]).start();
        let mut settings = settings();
        settings.keep_retries_for = Duration::ZERO;
        let url = server.url_with("shop:shop");
        let nats = connect(&url, settings.clone()).await.unwrap();
        publish(&nats, 1, 3).await;
        let leased = lease_some(&nats.queue, 3, PATIENCE).await;
        deny(
            &server,
            &["nahook.retries.scheduled.*", "nahook.dead_letters"],
        );
        let due_at = SystemClock.now().saturating_add(Duration::from_secs(1));
        let nexts = [Next::Delivered, Next::Retry(due_at), Next::DeadLetter];
        for (leased, next) in leased.iter().zip(nexts).skip(1) {
            let alone = nats.queue.settle(&[settlement(leased, next)]).await;
            assert!(alone.is_err(), "{next:?}");
        }
        let settlements = leased.iter().zip(nexts);
        let settlements: Vec<_> = settlements.map(|(of, next)| settlement(of, next)).collect();
        assert!(nats.queue.settle(&settlements).await.is_err());
        drop(nats);
        deny(&server, &[]);
        let other = connect(&url, settings).await.unwrap();
        let again = lease_some(&other.queue, 2, PATIENCE).await;
        assert_eq!(support::ids(&again), support::ids(&leased[1..]));
    });
}

/// A retry is stored, and its settlement fails after that: whatever it is settled together with later is stored as well.
#[test]
fn retry_that_is_settled_beside_a_repeated_one_is_stored() {
    run(async {
        let server = denying(&[], &[]).start();
        let mut settings = settings();
        settings.keep_retries_for = Duration::ZERO;
        let nats = connected_with(&server, settings).await;
        publish(&nats, 1, 3).await;
        let leased = lease_some(&nats.queue, 3, PATIENCE).await;
        let due_at = SystemClock.now().saturating_add(Duration::from_secs(2));
        let retry = |nth: usize| settlement(&leased[nth], Next::Retry(due_at));
        deny(&server, &["nahook.progress"]);
        assert!(nats.queue.settle(&[retry(0), retry(1)]).await.is_err());
        deny(&server, &[]);
        support::settle(&nats.queue, &leased[1..2], Next::Delivered).await;
        let others = [retry(0), retry(2)];
        until("they are settled", || async {
            nats.queue.settle(&others).await.is_ok()
        })
        .await;
        // The delivered one may come again with the first of them: it was stored, too.
        let mut came = Vec::new();
        let end = Instant::now() + PATIENCE;
        while ![0, 2]
            .iter()
            .all(|nth: &usize| came.contains(&leased[*nth].lease.delivery))
        {
            assert!(Instant::now() < end, "they do not come back");
            came.extend(support::ids(
                &lease_some(&nats.queue, 1, Duration::from_millis(200)).await,
            ));
        }
    });
}

/// A record that cannot be read stays in the stream until the dead letters have it.
#[test]
fn unreadable_record_stays_while_it_cannot_be_set_aside() {
    run(async {
        let server = denying(&[], &[]).start();
        let nats = connected(&server).await;
        deny(&server, &["nahook.dead_letters"]);
        let broken = r#"{"format":1,"events":7}"#;
        support::reader::send(&server.url_with("admin:admin"), DELIVERIES, broken).await;
        // The next record comes after the broken one was taken.
        publish(&nats, 1, 1).await;
        let leased = lease_some(&nats.queue, 1, PATIENCE).await;
        support::settle(&nats.queue, &leased, Next::Delivered).await;
        deny(&server, &[]);
        until("it is a dead letter", || async {
            server.messages("NAHOOK_DEAD_LETTERS") == Some(1)
        })
        .await;
        until("it is gone", || async {
            server.messages("NAHOOK_DELIVERIES") == Some(0)
        })
        .await;
    });
}

/// Deliveries that should make room for others and cannot be stored elsewhere are delivered from here.
#[test]
fn what_cannot_be_put_off_is_delivered_all_the_same() {
    run(async {
        let server = denying(&[], &[]).start();
        let mut settings = settings();
        settings.window_len_max = 100;
        let nats = connected_with(&server, settings).await;
        for number in 0..100 {
            publish(&nats, number, 1).await;
        }
        let scheduled = "nahook.retries.scheduled.*";
        deny(&server, &[scheduled]);
        nats.queue.caught_up().await.unwrap();
        until("it is tried", || async {
            server.log().contains("nahook.retries.scheduled.retry-")
        })
        .await;
        assert_eq!(lease_some(&nats.queue, 100, PATIENCE).await.len(), 100);
    });
}

/// A record that no stream takes is sent again for its patience, and then told as not queued.
#[test]
fn stream_that_may_not_be_made_again_refuses_in_the_end() {
    run(async {
        let server = denying(&[], &[]).start();
        let mut settings = settings();
        settings.publish_patience = Duration::from_secs(2);
        let nats = connected_with(&server, settings).await;
        let create = "$JS.API.STREAM.CREATE.NAHOOK_DELIVERIES";
        deny(&server, &[create]);
        let admin = support::reader::client(&server.url_with("admin:admin")).await;
        let jetstream = async_nats::jetstream::new(admin);
        jetstream.delete_stream("NAHOOK_DELIVERIES").await.unwrap();
        assert_eq!(outcomes(&publish(&nats, 1, 1).await), ["queue_unavailable"]);
    });
}

/// A retry that an earlier version left stays where it is until it is stored as a scheduled message.
#[test]
fn left_over_retry_that_cannot_be_scheduled_is_kept() {
    run(async {
        let server = denying(&[], &[]).start();
        let nats = connected(&server).await;
        let slots = publish(&nats, 1, 1).await;
        let admin = server.url_with("admin:admin");
        let record = support::reader::records(&admin, "NAHOOK_DELIVERIES").await;
        support::reader::send(&admin, "nahook.retries.at.1", record[0].body.clone()).await;
        let scheduled = "nahook.retries.scheduled.*";
        deny(&server, &[scheduled]);
        let leased = lease_some(&nats.queue, 1, PATIENCE).await;
        support::settle(&nats.queue, &leased, Next::Delivered).await;
        until("it is tried", || async {
            server.log().contains("nahook.retries.scheduled.due-")
        })
        .await;
        nats.close().await;
        deny(&server, &[]);
        let other = connected(&server).await;
        let again = lease_some(&other.queue, 1, PATIENCE).await;
        assert_eq!(support::ids(&again), published(&slots));
    });
}

/// Loops that lack a right they need all along are down until it is granted.
#[test]
fn loop_without_its_right_is_down() {
    run(async {
        let server = denying(&[], &[]).start();
        let settings = settings();
        let supervisor = settings.supervisor.clone();
        let nats = connected_with(&server, settings).await;
        publish(&nats, 1, 1).await;
        // While it is held, signs of life are sent.
        assert_eq!(lease_some(&nats.queue, 1, PATIENCE).await.len(), 1);
        for (right, down) in [
            ("nahook.workers", "nats_sharing"),
            ("$JS.ACK.NAHOOK_DELIVERIES.>", "nats_intake"),
        ] {
            deny(&server, &[right]);
            until(down, || async { supervisor.down().contains(&down) }).await;
            deny(&server, &[]);
            until("it is up", || async { supervisor.down().is_empty() }).await;
        }
    });
}

/// A process that has just started hands out nothing before it has read the notes: the server may have lost acknowledgements.
#[test]
fn first_records_wait_for_the_notes() {
    run(async {
        let server = denying(&[], &[]).start();
        let mut settings = settings();
        settings.ack_wait = PATIENCE;
        settings.answer_timeout = 5 * PATIENCE;
        let noting = connected_with(&server, settings.clone()).await;
        publish(&noting, 1, 1).await;
        let leased = lease_some(&noting.queue, 1, PATIENCE).await;
        support::settle(&noting.queue, &leased, Next::Delivered).await;
        noting.close().await;
        let nats = connected_with(&server, settings).await;
        let slots = publish(&nats, 2, 1).await;
        deny(&server, &["$JS.API.CONSUMER.CREATE.NAHOOK_PROGRESS.>"]);
        let early = lease_some(&nats.queue, 1, Duration::from_secs(1)).await;
        assert_eq!(early, []);
        deny(&server, &[]);
        let leased = lease_some(&nats.queue, 1, PATIENCE).await;
        assert_eq!(support::ids(&leased), published(&slots));
    });
}

/// While the notes cannot be read, a process waits for them once for all records that came together, and not once for each.
#[test]
fn unreadable_notes_delay_records_once() {
    const RECORDS: u64 = 40;
    run(async {
        let server = denying(&[], &[]).start();
        let settings = settings();
        let patience = settings.answer_timeout;
        let noting = connected(&server).await;
        publish(&noting, 1, 1).await;
        let leased = lease_some(&noting.queue, 1, PATIENCE).await;
        support::settle(&noting.queue, &leased, Next::Delivered).await;
        noting.close().await;
        let nats = connected_with(&server, settings).await;
        for number in 0..RECORDS {
            publish(&nats, 10 + number, 1).await;
        }
        let read_notes = "$JS.API.CONSUMER.CREATE.NAHOOK_PROGRESS.>";
        deny(&server, &[read_notes]);
        let began = Instant::now();
        let leased = lease_some(&nats.queue, 40, PATIENCE).await;
        assert_eq!(leased.len(), 40);
        // Once for the first of them, and once for those that came meanwhile.
        assert!(began.elapsed() < 5 * patience, "{:?}", began.elapsed());
    });
}

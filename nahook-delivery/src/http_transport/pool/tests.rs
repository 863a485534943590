use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::advance;

use super::*;
use crate::transport::OutboundUrl;

/// Shorter than the least interval of the sweep, which therefore takes no part in what is over sooner than that.
const IDLE_TIMEOUT: Duration = Duration::from_millis(50);
/// A nanosecond less.
const JUST_BEFORE: Duration = Duration::from_nanos(49_999_999);

fn pool(connections_max: usize) -> Arc<Pool> {
    Pool::new(&TransportSettings {
        idle_timeout: IDLE_TIMEOUT,
        idle_per_host_max: 2,
        connections_max,
        ..TransportSettings::default()
    })
}

fn origin(url: &str) -> Origin {
    let url: OutboundUrl = url.parse().unwrap();
    url.origin().clone()
}

fn a() -> Origin {
    origin("http://a.test/")
}

fn b() -> Origin {
    origin("http://b.test/")
}

/// A connection that takes one of the pool's places.
async fn connection(pool: &Pool) -> Box<Connection> {
    let place = pool.place(Duration::ZERO).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = listener.local_addr().unwrap();
    let stream = TcpStream::connect(socket).await.unwrap();
    let stream = MaybeHttpsStream::Http(TokioIo::new(stream));
    Connection::start(stream, place).await.unwrap()
}

/// Keeps a new connection, and answers what tells it from others.
async fn put(pool: &Arc<Pool>, origin: &Origin) -> *const Connection {
    let connection = connection(pool).await;
    let which = std::ptr::from_ref(&*connection);
    pool.put(origin, connection);
    which
}

fn taken(pool: &Pool, origin: &Origin) -> Option<*const Connection> {
    let connection = pool.take(origin)?;
    Some(std::ptr::from_ref(&*connection))
}

#[tokio::test(start_paused = true)]
async fn connection_that_was_used_last_is_taken_first() {
    let pool = pool(9);
    let (first, second) = (put(&pool, &a()).await, put(&pool, &a()).await);
    assert_eq!(taken(&pool, &a()), Some(second));
    assert_eq!(taken(&pool, &a()), Some(first));
    assert_eq!(taken(&pool, &a()), None);
}

#[tokio::test(start_paused = true)]
async fn origin_keeps_no_more_than_its_bound_and_others_as_many() {
    let pool = pool(9);
    let kept = [put(&pool, &a()).await, put(&pool, &a()).await];
    put(&pool, &a()).await;
    let other = put(&pool, &b()).await;
    assert_eq!(pool.places.available_permits(), 6, "one is closed");
    assert_eq!(taken(&pool, &a()), Some(kept[1]));
    assert_eq!(taken(&pool, &a()), Some(kept[0]));
    assert_eq!(taken(&pool, &a()), None);
    assert_eq!(taken(&pool, &b()), Some(other));
}

#[tokio::test(start_paused = true)]
async fn connection_belongs_to_its_scheme_host_and_port() {
    let pool = pool(9);
    let kept = put(&pool, &origin("https://a.test/hook")).await;
    for url in [
        "http://a.test/hook",
        "http://a.test:443/hook",
        "https://a.test:444/hook",
        "https://b.test/hook",
        "https://a.test.b.test/hook",
    ] {
        assert_eq!(taken(&pool, &origin(url)), None, "{url}");
    }
    let same = origin("https://A.test:443/another?query");
    assert_eq!(taken(&pool, &same), Some(kept));
}

#[tokio::test(start_paused = true)]
async fn connection_is_taken_until_it_has_been_idle_for_too_long() {
    for (age, is_taken) in [(JUST_BEFORE, true), (IDLE_TIMEOUT, false)] {
        let pool = pool(9);
        put(&pool, &a()).await;
        advance(age).await;
        assert!(pool.has_idle(&a()), "it was not swept away");
        assert_eq!(taken(&pool, &a()).is_some(), is_taken, "{age:?}");
        assert_eq!(pool.places.available_permits(), 9);
    }
}

#[tokio::test(start_paused = true)]
async fn sweep_takes_out_what_has_been_idle_for_too_long_and_nothing_else() {
    let pool = pool(9);
    let start = Instant::now();
    let later = Duration::from_millis(10);
    put(&pool, &a()).await;
    advance(later).await;
    put(&pool, &a()).await;
    put(&pool, &b()).await;
    let swept = |at: Duration| {
        let (over, is_any_left) = pool.sweep(start + at);
        (over.len(), is_any_left)
    };
    assert_eq!(swept(JUST_BEFORE), (0, true));
    assert_eq!(swept(IDLE_TIMEOUT), (1, true));
    assert_eq!(swept(JUST_BEFORE + later), (0, true));
    assert_eq!(swept(IDLE_TIMEOUT + later), (2, false));
}

#[tokio::test(start_paused = true)]
async fn whatever_is_kept_is_swept_away_in_time() {
    let pool = pool(9);
    // The sweep ends when nothing is left, and begins again.
    for _ in 0..2 {
        put(&pool, &a()).await;
        tokio::time::sleep(Duration::from_millis(101)).await;
        assert!(!pool.has_idle(&a()));
        assert_eq!(pool.places.available_permits(), 9);
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_has_been_idle_for_longest_makes_room() {
    let pool = pool(4);
    // An origin of which nothing is idle any more has nothing to give.
    put(&pool, &origin("http://empty.test/")).await;
    taken(&pool, &origin("http://empty.test/"));
    let mut kept = Vec::new();
    for origin in [a(), b(), b(), a()] {
        kept.push(put(&pool, &origin).await);
        advance(Duration::from_millis(1)).await;
    }
    let mut places = Vec::new();
    for (left_of_a, left_of_b) in [(1, 2), (1, 1), (1, 0), (0, 0)] {
        places.push(pool.place(Duration::ZERO).await.unwrap());
        let count = |origin: &Origin| pool.idle().connections.get(origin).map_or(0, Vec::len);
        assert_eq!((count(&a()), count(&b())), (left_of_a, left_of_b));
    }
    let none = pool.place(Duration::from_millis(5)).await;
    let lack = TransportError::Local(LocalCause::Connections);
    assert_eq!(none.map(drop), Err(lack));
}

#[tokio::test(start_paused = true)]
async fn oldest_connection_of_an_origin_makes_room() {
    let pool = pool(2);
    put(&pool, &a()).await;
    advance(Duration::from_nanos(1)).await;
    let second = put(&pool, &a()).await;
    let _place = pool.place(Duration::ZERO).await.unwrap();
    assert_eq!(taken(&pool, &a()), Some(second));
}

/// Polls `future` once.
async fn polled<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let poll = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
    match poll {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_ends_goes_to_an_attempt_that_waits_for_a_place() {
    let pool = pool(1);
    let in_use = connection(&pool).await;
    let mut waiting = pin!(pool.place(Duration::from_secs(1)));
    assert!(!pool.is_full());
    assert!(polled(waiting.as_mut()).await.is_none());
    assert!(pool.is_full());
    pool.put(&a(), in_use);
    assert!(!pool.has_idle(&a()));
    assert!(matches!(polled(waiting.as_mut()).await, Some(Ok(_))));
    assert!(!pool.is_full());
}

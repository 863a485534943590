//! Promises of every [`SessionStore`].

use std::time::Duration;

use nahook_control::{
    KeyHash, NewPortalSession, PageSession, PortalRole, SessionHolder, SessionStore,
};
use nahook_core::Clock;
use nahook_core::id::ApplicationId;
use tokio::task::JoinSet;

use super::management::shop::{Shop, made};
use crate::SessionHarness;
use crate::declare::workspace_id;

/// Number of callers who want the same thing at once.
const CALLERS: usize = 8;

const ADMIN: PortalRole = PortalRole::Admin;
const VIEWER: PortalRole = PortalRole::Viewer;

fn token(name: &str) -> SessionHolder {
    SessionHolder::Token(KeyHash::of(name))
}

fn application(id: &str) -> ApplicationId {
    id.parse().expect("an application's id")
}

/// A session that begins now and lasts for a day.
fn session<H: SessionHarness>(shop: &Shop<H>, name: &str, holder: SessionHolder) -> PageSession {
    let now = shop.harness.management_clock().now();
    PageSession {
        id: KeyHash::of(name),
        workspace: workspace_id("ws_shop"),
        holder,
        created_at: now,
        seen_at: now,
        expires_at: now.saturating_add(Duration::from_hours(24)),
    }
}

async fn start<H: SessionHarness>(
    shop: &Shop<H>,
    name: &str,
    holder: SessionHolder,
) -> PageSession {
    let session = session(shop, name, holder);
    let started = shop.harness.sessions().start_session(&session).await;
    started.expect("a session can be started");
    session
}

async fn found<H: SessionHarness>(shop: &Shop<H>, name: &str) -> Option<PageSession> {
    let found = shop.harness.sessions().session(&KeyHash::of(name)).await;
    found.expect("sessions can be asked for")
}

/// A session is found as it was started, whoever holds it, and each by its own id.
pub async fn sessions_are_found_as_they_were_started<H: SessionHarness>() {
    let shop = Shop::<H>::empty().await;
    let (one, other) = (application("app_one"), application("app_other"));
    let holders = [
        token("one"),
        token("other"),
        SessionHolder::Application(one, ADMIN),
        SessionHolder::Application(other, PortalRole::Editor),
        SessionHolder::Application(other, VIEWER),
    ];
    let mut started = Vec::new();
    for (at, holder) in holders.into_iter().enumerate() {
        started.push((format!("session {at}"), holder));
        start(&shop, &started[at].0, holder).await;
    }
    for (name, holder) in started {
        let expected = session(&shop, &name, holder);
        assert_eq!(found(&shop, &name).await, Some(expected), "{name}");
    }
    assert_eq!(found(&shop, "session 9").await, None, "never started");
}

/// A use is noted, of that session alone.
pub async fn uses_of_sessions_are_noted<H: SessionHarness>() {
    let shop = Shop::<H>::empty().await;
    let used = start(&shop, "used", token("one")).await;
    let idle = start(&shop, "idle", token("one")).await;
    let seen_at = used.seen_at.saturating_add(Duration::from_mins(5));
    for id in [used.id, KeyHash::of("unknown")] {
        let touched = shop.harness.sessions().touch_session(&id, seen_at).await;
        touched.expect("a use can be noted");
    }
    let expected = PageSession { seen_at, ..used };
    assert_eq!(found(&shop, "used").await, Some(expected));
    assert_eq!(found(&shop, "idle").await, Some(idle));
}

/// A session is ended by one caller alone, however many try at once.
pub async fn sessions_are_ended_once<H: SessionHarness>() {
    let shop = Shop::<H>::empty().await;
    start(&shop, "ended", token("one")).await;
    let left = start(&shop, "left", token("one")).await;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let sessions = shop.harness.sessions();
        callers.spawn(async move { sessions.end_session(&KeyHash::of("ended")).await });
    }
    let mut ended = 0;
    while let Some(answer) = callers.join_next().await {
        let answer = answer.expect("a caller has not panicked");
        ended += usize::from(answer.expect("a session can be ended"));
    }
    assert_eq!(ended, 1, "callers who have ended it");
    assert_eq!(found(&shop, "ended").await, None);
    assert_eq!(found(&shop, "left").await, Some(left));
}

/// All sessions of a holder are ended, an application's in every role, and nobody else's.
pub async fn sessions_of_a_holder_are_ended_together<H: SessionHarness>() {
    let shop = Shop::<H>::empty().await;
    let (one, other) = (application("app_one"), application("app_other"));
    let holders = [
        ("first", token("one")),
        ("second", token("one")),
        ("of another token", token("other")),
        ("admin", SessionHolder::Application(one, ADMIN)),
        ("viewer", SessionHolder::Application(one, VIEWER)),
        ("elsewhere", SessionHolder::Application(other, ADMIN)),
    ];
    for (name, holder) in holders {
        start(&shop, name, holder).await;
    }
    let end = async |holder| {
        let ended = shop.harness.sessions().end_sessions(&holder).await;
        ended.expect("sessions can be ended")
    };
    assert_eq!(end(token("one")).await, 2, "of the token");
    assert_eq!(end(token("one")).await, 0, "there are no more");
    let viewer = SessionHolder::Application(one, VIEWER);
    assert_eq!(end(viewer).await, 2, "of the application, in every role");
    for (name, holder) in holders {
        let is_left = matches!(name, "of another token" | "elsewhere");
        let expected = is_left.then(|| session(&shop, name, holder));
        assert_eq!(found(&shop, name).await, expected, "{name}");
    }
}

/// A portal's code is taken by one caller alone, who gets the session that was made with it.
pub async fn codes_of_portals_are_taken_once<H: SessionHarness>() {
    let shop = Shop::<H>::empty().await;
    let customer = shop.application(None, None).await;
    let new = NewPortalSession {
        role: PortalRole::Editor,
        expires_in_minutes: Some(7),
        metadata: [("portal_name".to_owned(), "Acme".to_owned())].into(),
    };
    let made = made!(shop.create_portal_session(customer.id, new));
    let code = KeyHash::of(made.code.expose());
    let wrong = shop.harness.sessions();
    let wrong = wrong.take_portal_code(&KeyHash::of("wrong")).await;
    assert_eq!(wrong.expect("a code can be taken"), None);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let sessions = shop.harness.sessions();
        callers.spawn(async move { sessions.take_portal_code(&code).await });
    }
    let mut taken = Vec::new();
    while let Some(answer) = callers.join_next().await {
        let answer = answer.expect("a caller has not panicked");
        taken.extend(answer.expect("a code can be taken"));
    }
    assert_eq!(taken, [made.session], "by one caller, as it was made");
}

/// Sessions survive a restart if the store does.
pub async fn sessions_survive_a_restart<H: SessionHarness>() {
    let shop = Shop::<H>::empty().await;
    let expected = start(&shop, "kept", token("one")).await;
    let Some(harness) = shop.harness.restart_catalog().await else {
        return;
    };
    let found = harness.sessions().session(&KeyHash::of("kept")).await;
    assert_eq!(found.expect("sessions can be asked for"), Some(expected));
}

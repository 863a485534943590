//! Portal sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use nahook_control::{KeyHash, NewApplication, NewPortalSession, PortalRole};
use nahook_core::id::ApplicationId;

use crate::{Shop, expect_invalid, expect_not_found};

#[tokio::test]
async fn a_session_has_a_code_of_five_minutes_and_an_end_of_its_own() {
    let shop = Shop::empty().await;
    let new = NewApplication {
        name: "customer".to_owned(),
        external_id: None,
        metadata: BTreeMap::new(),
        max_endpoints: None,
        show_event_types: true,
    };
    let application = act!(shop.create_application(new)).unwrap().id;
    let create = async |id: ApplicationId, minutes: Option<u32>, labels: usize| {
        let new = NewPortalSession {
            role: PortalRole::Viewer,
            expires_in_minutes: minutes,
            metadata: (0..labels)
                .map(|n| (n.to_string(), String::new()))
                .collect(),
        };
        act!(shop.create_portal_session(id, new))
    };
    let made = create(application, None, 10).await.unwrap();
    let minutes = |until: nahook_core::Timestamp| until.saturating_since(made.session.created_at);
    assert_eq!(minutes(made.session.expires_at), Duration::from_hours(1));
    assert_eq!(
        minutes(made.session.code_expires_at),
        Duration::from_mins(5)
    );
    assert_eq!(
        made.session.code,
        KeyHash::of(made.code.expose()),
        "the code is kept as a hash"
    );
    let code = made.code.expose();
    assert_eq!(code.len(), 64);
    assert_ne!(code[..32], code[32..], "256 random bits");
    assert_ne!(
        create(application, None, 0).await.unwrap().code,
        made.code,
        "each has its own"
    );
    let short = create(application, Some(1), 0).await.unwrap().session;
    assert_eq!(
        short.code_expires_at, short.expires_at,
        "no code outlives its session"
    );
    for minutes in [0, 61, u32::MAX] {
        expect_invalid(
            create(application, Some(minutes), 0).await,
            "expiresInMinutes",
        );
    }
    expect_invalid(create(application, None, 11).await, "metadata");
    let nowhere = ApplicationId::new("app_nowhere").unwrap();
    expect_not_found(create(nowhere, None, 0).await, "application");
}

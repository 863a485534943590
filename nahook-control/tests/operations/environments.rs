//! Environments and visibility.

use nahook_control::{NewApiKey, NewEndpoint, NewEnvironment};
use nahook_core::Clock as _;
use nahook_core::id::EnvironmentId;

use crate::{Shop, expect_conflict, expect_invalid, expect_not_found, webhook};

fn named(name: &str, slug: &str) -> NewEnvironment {
    NewEnvironment {
        name: name.to_owned(),
        slug: slug.to_owned(),
    }
}

#[tokio::test]
async fn names_and_slugs_keep_their_rules() {
    let shop = Shop::empty().await;
    let create = async |name: &str, slug: &str| act!(shop.create_environment(named(name, slug)));
    expect_invalid(create("", "ok").await, "name");
    expect_invalid(create("name", "A").await, "slug");
    let made = create(&"ä".repeat(50), &"a-1".repeat(16)).await.unwrap();
    assert!(!made.is_default);
    expect_conflict(create("again", &"a-1".repeat(16)).await);
    expect_conflict(create("again", "production").await);
}

#[tokio::test]
async fn environment_shows_when_it_was_renamed() {
    let shop = Shop::empty().await;
    let environments = shop.management.environments(&shop.workspace).await;
    let id = environments.unwrap()[0].id;
    shop.clock.advance(std::time::Duration::from_secs(1));
    let name = Some("renamed".to_owned());
    assert_eq!(
        act!(shop.update_environment(id, name)).unwrap().updated_at,
        shop.clock.now()
    );
}

#[tokio::test]
async fn a_workspace_has_at_most_ten_environments() {
    let shop = Shop::empty().await;
    for n in 1..10 {
        let new = named("name", &format!("env-{n}"));
        act!(shop.create_environment(new)).unwrap();
    }
    let new = named("name", "env-10");
    let refused = act!(shop.create_environment(new));
    expect_conflict(refused);
}

#[tokio::test]
async fn only_an_empty_environment_that_is_not_the_default_one_is_deleted() {
    let shop = Shop::empty().await;
    let workspace = &shop.workspace;
    let production = shop.management.environments(workspace).await.unwrap()[0].id;
    expect_conflict(act!(shop.delete_environment(production)));
    let staging = act!(shop.create_environment(named("Staging", "staging"))).unwrap();
    let new = NewEndpoint {
        environment: Some(staging.id),
        ..webhook()
    };
    let endpoint = shop.create(new).await.unwrap();
    expect_conflict(act!(shop.delete_environment(staging.id)));
    act!(shop.delete_endpoint(endpoint.id)).unwrap();
    let key = NewApiKey {
        name: "staging".to_owned(),
        environment: Some(staging.id),
        ..NewApiKey::default()
    };
    act!(shop.create_api_key(key)).unwrap();
    act!(shop.delete_environment(staging.id)).unwrap();
    expect_not_found(act!(shop.delete_environment(staging.id)), "environment");
}

#[tokio::test]
async fn a_name_is_changed_and_a_slug_is_not() {
    let shop = Shop::empty().await;
    let workspace = &shop.workspace;
    let production = shop.management.environments(workspace).await.unwrap()[0].clone();
    let update = async |name: Option<&str>| {
        let name = name.map(str::to_owned);
        act!(shop.update_environment(production.id, name))
    };
    assert_eq!(update(None).await.unwrap(), production);
    expect_invalid(update(Some("")).await, "name");
    let renamed = update(Some("Live")).await.unwrap();
    assert_eq!(
        (renamed.name.as_str(), renamed.slug.as_str()),
        ("Live", "production")
    );
    let nowhere = EnvironmentId::new("env_nowhere").unwrap();
    let missing = act!(shop.update_environment(nowhere, None));
    expect_not_found(missing, "environment");
}

#[tokio::test]
async fn the_default_environment_publishes_everything_and_others_what_they_are_told() {
    let shop = Shop::empty().await;
    let (workspace, actor) = (&shop.workspace, &shop.actor);
    let (paid, lost) = (
        shop.event_type("order.paid").await,
        shop.event_type("order.lost").await,
    );
    let production = shop.management.environments(workspace).await.unwrap()[0].id;
    let staging = act!(shop.create_environment(named("Staging", "staging")))
        .unwrap()
        .id;
    let shown = async |id| {
        let shown = shop.management.visibility(workspace, id).await.unwrap();
        shown
            .iter()
            .map(|row| (row.event_type, row.published))
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(production).await, [(paid, true), (lost, true)]);
    assert_eq!(shown(staging).await, [(paid, false), (lost, false)]);
    let set = async |environment, published| {
        let set = shop
            .management
            .set_visibility(workspace, actor, environment, lost, published);
        set.await
    };
    assert!(set(production, true).await.unwrap().published);
    expect_conflict(set(production, false).await);
    set(staging, true).await.unwrap();
    assert_eq!(shown(staging).await, [(paid, false), (lost, true)]);
    let nowhere = EnvironmentId::new("env_nowhere").unwrap();
    expect_not_found(set(nowhere, true).await, "environment");
    expect_not_found(
        shop.management.visibility(workspace, nowhere).await,
        "environment",
    );
}

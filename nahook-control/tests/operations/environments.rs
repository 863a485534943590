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
    let create = async |name: &str, slug: &str| {
        shop.management
            .create_environment(&shop.workspace, &shop.actor, named(name, slug))
            .await
    };
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
    let renaming = shop
        .management
        .update_environment(&shop.workspace, &shop.actor, id, name);
    assert_eq!(renaming.await.unwrap().updated_at, shop.clock.now());
}

#[tokio::test]
async fn a_workspace_has_at_most_ten_environments() {
    let shop = Shop::empty().await;
    for n in 1..10 {
        let new = named("name", &format!("env-{n}"));
        let made = shop
            .management
            .create_environment(&shop.workspace, &shop.actor, new);
        made.await.unwrap();
    }
    let new = named("name", "env-10");
    let refused = shop
        .management
        .create_environment(&shop.workspace, &shop.actor, new)
        .await;
    expect_conflict(refused);
}

#[tokio::test]
async fn only_an_empty_environment_that_is_not_the_default_one_is_deleted() {
    let shop = Shop::empty().await;
    let (workspace, actor) = (&shop.workspace, &shop.actor);
    let production = shop.management.environments(workspace).await.unwrap()[0].id;
    expect_conflict(
        shop.management
            .delete_environment(workspace, actor, production)
            .await,
    );
    let staging = shop
        .management
        .create_environment(workspace, actor, named("Staging", "staging"))
        .await
        .unwrap();
    let new = NewEndpoint {
        environment: Some(staging.id),
        ..webhook()
    };
    let endpoint = shop.create(new).await.unwrap();
    expect_conflict(
        shop.management
            .delete_environment(workspace, actor, staging.id)
            .await,
    );
    shop.management
        .delete_endpoint(workspace, actor, endpoint.id)
        .await
        .unwrap();
    let key = NewApiKey {
        name: "staging".to_owned(),
        environment: Some(staging.id),
        ..NewApiKey::default()
    };
    shop.management
        .create_api_key(workspace, actor, key)
        .await
        .unwrap();
    shop.management
        .delete_environment(workspace, actor, staging.id)
        .await
        .unwrap();
    expect_not_found(
        shop.management
            .delete_environment(workspace, actor, staging.id)
            .await,
        "environment",
    );
}

#[tokio::test]
async fn a_name_is_changed_and_a_slug_is_not() {
    let shop = Shop::empty().await;
    let (workspace, actor) = (&shop.workspace, &shop.actor);
    let production = shop.management.environments(workspace).await.unwrap()[0].clone();
    let update = async |name: Option<&str>| {
        let name = name.map(str::to_owned);
        let updated = shop
            .management
            .update_environment(workspace, actor, production.id, name);
        updated.await
    };
    assert_eq!(update(None).await.unwrap(), production);
    expect_invalid(update(Some("")).await, "name");
    let renamed = update(Some("Live")).await.unwrap();
    assert_eq!(
        (renamed.name.as_str(), renamed.slug.as_str()),
        ("Live", "production")
    );
    let nowhere = EnvironmentId::new("env_nowhere").unwrap();
    let missing = shop
        .management
        .update_environment(workspace, actor, nowhere, None)
        .await;
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
    let staging = shop
        .management
        .create_environment(workspace, actor, named("Staging", "staging"))
        .await
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

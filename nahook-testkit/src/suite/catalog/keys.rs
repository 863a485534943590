//! Clauses about ingestion keys.

use nahook_control::{ApiKeySpec, Record, SecretText};

use super::seen::{apply, is_disabled};
use crate::CatalogHarness;
use crate::declare::{Workspace, api_key_id};

/// A key that is declared without its secret is drawn one, which is told with the change and never again.
pub async fn a_drawn_secret_is_told_once<H: CatalogHarness>() {
    let harness = H::start_catalog().await;
    let shop = || {
        Workspace::new("ws_shop")
            .endpoint("ep_a", &[])
            .with(|spec| {
                spec.api_keys.push(ApiKeySpec {
                    name: "drawn".to_owned(),
                    ..ApiKeySpec::default()
                });
                spec.api_keys
                    .push(key("key_one", "nhk_us_given_00000000000000000000000"));
            })
            .manifest()
    };
    let changes = apply(&harness, &shop()).await;
    let drawn = |name: &str| {
        let of_name = |change: &&nahook_control::Change| matches!(&change.record, Record::ApiKey(row) if row.name == name);
        let change = changes.iter().find(of_name);
        change
            .expect("a change for each key")
            .drawn_secret
            .as_ref()
            .map(SecretText::expose)
    };
    assert_eq!(
        drawn("key_one"),
        None,
        "a secret that was given is not told back"
    );
    let secret = drawn("drawn").expect("the secret that was drawn is told");
    assert_eq!(
        is_disabled(&harness, secret).await,
        Some(false),
        "the drawn secret is the key's"
    );
    assert_eq!(
        apply(&harness, &shop()).await,
        [],
        "the key has a secret, so none is drawn again"
    );
    assert_eq!(
        is_disabled(&harness, secret).await,
        Some(false),
        "the secret stays the key's"
    );
}

pub(in crate::suite) fn key(id: &str, secret: &str) -> ApiKeySpec {
    ApiKeySpec {
        id: Some(api_key_id(id)),
        name: id.to_owned(),
        key: Some(secret.to_owned()),
        ..ApiKeySpec::default()
    }
}

use nahook_core::Timestamp;
use nahook_core::id::{EndpointId, EnvironmentId, WorkspaceId};

use super::*;
use crate::{BasicAuth, RetiredSecret};

const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

fn keys(text: &str) -> MasterKeys {
    MasterKeys::parse(text).unwrap()
}

/// The wrapped data key of a new store.
fn wrapped(master: &MasterKeys) -> String {
    match SecretBox::open(Some(master), None).unwrap() {
        Opening::Keep(wrapped) => wrapped,
        Opening::Ready(_) => panic!("a new store keeps a key first"),
    }
}

fn opened(master: &MasterKeys, wrapped: &str) -> SecretBox {
    match SecretBox::open(Some(master), Some(wrapped)).unwrap() {
        Opening::Ready(secrets) => secrets,
        Opening::Keep(_) => panic!("it has one"),
    }
}

fn new_box() -> SecretBox {
    let master = keys(ONE);
    opened(&master, &wrapped(&master))
}

fn row(id: u128, kind: EndpointKind) -> EndpointRecord {
    let secret = SecretText::new("whsec_dGhlLWN1cnJlbnQtc2VjcmV0");
    let config = r#"{"webhookUrl":"https://hooks.test/T0/B0/hidden"}"#;
    EndpointRecord {
        id: EndpointId::from_bits(id),
        workspace: WorkspaceId::from_bits(1),
        environment: EnvironmentId::from_bits(1),
        application: None,
        url: "https://hooks.test/T0/B0/hidden".to_owned(),
        kind,
        config: serde_json::from_str(config).unwrap(),
        metadata: std::collections::BTreeMap::default(),
        description: None,
        auth: Some(BasicAuth {
            username: "shop".to_owned(),
            password: SecretText::new("the hidden password"),
        }),
        secret,
        previous_secret: Some(RetiredSecret {
            secret: SecretText::new("whsec_dGhlLXByZXZpb3VzLXNlY3JldA=="),
            signs_until: Timestamp::from_nanos(9),
        }),
        is_active: true,
        created_at: Timestamp::from_nanos(1),
        updated_at: Timestamp::from_nanos(1),
    }
}

/// Everything that a store would write of it.
fn written(row: &EndpointRecord) -> String {
    let password = row.auth.as_ref().map(|auth| auth.password.expose());
    let previous = row
        .previous_secret
        .as_ref()
        .map(|it| it.secret.expose().to_owned());
    let config = serde_json::to_string(&row.config).unwrap();
    format!(
        "{} {config} {password:?} {} {previous:?}",
        row.url,
        row.secret.expose()
    )
}

fn target(row: &EndpointRecord) -> EndpointTarget {
    EndpointTarget {
        id: row.id,
        workspace: row.workspace,
        environment: row.environment,
        url: row.url.clone(),
        kind: row.kind,
        secrets: row.signing_secrets(Timestamp::from_nanos(2)),
        auth: row.auth.clone(),
        is_active: true,
        failing_since: None,
    }
}

#[test]
fn sealed_endpoint_shows_no_secret_and_opens_to_what_it_was() {
    let secrets = new_box();
    for kind in [EndpointKind::Slack, EndpointKind::Webhook] {
        let plain = row(1, kind);
        let mut sealed = plain.clone();
        secrets.seal_endpoint(&mut sealed).unwrap();
        let text = written(&sealed);
        let mut hidden = vec!["whsec_", "hidden password"];
        if kind == EndpointKind::Slack {
            hidden.push("hooks.test");
        }
        assert!(hidden.iter().all(|it| !text.contains(it)), "{text}");
        let mut for_worker = target(&sealed);
        secrets.open_target(&mut for_worker).unwrap();
        assert_eq!(for_worker, target(&plain));
        let mut again = sealed.clone();
        secrets.seal_endpoint(&mut again).unwrap();
        assert_eq!(again, sealed, "it is sealed once");
        secrets.open_endpoint(&mut sealed).unwrap();
        assert_eq!(sealed, plain);
    }
}

#[test]
fn plain_rows_are_read_as_they_are() {
    for secrets in [SecretBox::default(), new_box()] {
        let plain = row(1, EndpointKind::Slack);
        let (mut read, mut for_worker) = (plain.clone(), target(&plain));
        secrets.open_endpoint(&mut read).unwrap();
        secrets.open_target(&mut for_worker).unwrap();
        assert_eq!((read, for_worker), (plain.clone(), target(&plain)));
    }
}

#[test]
fn secret_of_another_row_field_or_store_does_not_open() {
    let secrets = new_box();
    let mut sealed = row(1, EndpointKind::Webhook);
    secrets.seal_endpoint(&mut sealed).unwrap();
    let mut of_other_row = row(2, EndpointKind::Webhook);
    of_other_row.secret = sealed.secret.clone();
    let mut of_other_workspace = sealed.clone();
    of_other_workspace.workspace = WorkspaceId::from_bits(2);
    let mut of_other_field = sealed.clone();
    of_other_field.auth.as_mut().unwrap().password = sealed.secret.clone();
    let mut in_plain = sealed.clone();
    in_plain.auth.as_mut().unwrap().password = SecretText::new("known");
    let mut changed = sealed.clone();
    changed.secret = SecretText::new(sealed.secret.expose().replace('A', "B") + "AAAA");
    for mut row in [
        of_other_row,
        of_other_workspace,
        of_other_field,
        in_plain,
        changed,
    ] {
        let mut for_worker = target(&row);
        assert_eq!(secrets.open_endpoint(&mut row), Err(SealError::Foreign));
        assert_eq!(
            secrets.open_target(&mut for_worker),
            Err(SealError::Foreign)
        );
    }
    assert_eq!(
        new_box().open_endpoint(&mut sealed),
        Err(SealError::Foreign)
    );
    let keyless = SecretBox::default().open_endpoint(&mut sealed);
    assert_eq!(keyless, Err(SealError::NoKey));
}

#[test]
fn one_text_is_sealed_differently_each_time() {
    let secrets = new_box();
    let sealed = || {
        let mut row = row(1, EndpointKind::Webhook);
        secrets.seal_endpoint(&mut row).unwrap();
        row.secret.expose().to_owned()
    };
    assert_ne!(sealed(), sealed());
}

#[test]
fn rewrapped_store_opens_with_the_new_key_alone() {
    let (old, new) = (keys(ONE), keys(OTHER));
    let wrapped = wrapped(&old);
    let mut row = row(1, EndpointKind::Webhook);
    opened(&old, &wrapped).seal_endpoint(&mut row).unwrap();
    let both = keys(&format!("# the new one\n{OTHER}\n\n  {ONE}\n"));
    let rewrapped = both.rewrap(&wrapped).unwrap().unwrap();
    assert_eq!(both.rewrap(&rewrapped), Ok(None));
    let secrets = opened(&new, &rewrapped);
    assert_eq!(secrets.record_key(), opened(&old, &wrapped).record_key());
    secrets.open_endpoint(&mut row).unwrap();
    assert_eq!(row.secret.expose(), "whsec_dGhlLWN1cnJlbnQtc2VjcmV0");
    assert!(matches!(
        SecretBox::open(Some(&old), Some(&rewrapped)),
        Err(MasterKeyError::Wrong { .. })
    ));
}

#[test]
fn missing_wrong_and_damaged_keys_are_told_apart_in_words() {
    let (right, wrong) = (keys(ONE), keys(OTHER));
    let wrapped = wrapped(&right);
    let refused = |master: Option<&MasterKeys>, wrapped: &str| {
        SecretBox::open(master, Some(wrapped))
            .unwrap_err()
            .to_string()
    };
    let missing = refused(None, &wrapped);
    assert!(missing.contains("--secret-key-file") && missing.contains(right.fingerprint()));
    let other = refused(Some(&wrong), &wrapped);
    assert!(other.contains(right.fingerprint()) && other.contains(wrong.fingerprint()));
    let cut = &wrapped[..wrapped.len() - 8];
    for damaged in ["", "1.x", cut] {
        let told = refused(Some(&right), damaged);
        assert!(!told.is_empty() && !told.contains(ONE), "{told}");
    }
    let unsealed = SecretBox::open(None, None).unwrap();
    assert!(matches!(unsealed, Opening::Ready(secrets) if !secrets.has_key()));
}

#[test]
fn keys_are_32_bytes_and_never_shown() {
    assert_eq!(
        MasterKeys::parse(" \n# none\n").unwrap_err(),
        MasterKeyError::Empty
    );
    for bad in ["hunter2", "AAAA", &ONE[..40], &format!("{ONE}AAAA")] {
        let error = MasterKeys::parse(&format!("{ONE},{bad}")).unwrap_err();
        assert_eq!(error, MasterKeyError::Malformed(2));
    }
    let shown = format!("{:?} {:?}", keys(&format!("{ONE},{OTHER}")), new_box());
    assert!(
        !shown.contains(&ONE[..8]) && !shown.contains(&OTHER[..8]),
        "{shown}"
    );
}

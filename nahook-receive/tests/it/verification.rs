//! Which webhooks are verified, with nahook's own sender on the other side.

use std::time::Duration;

use crate::support::{OTHER, SECRET, SENT, Sent, at, verifier};
use http::HeaderMap;
use nahook_delivery::Signer;
use nahook_receive::{RawWebhook, SecretError, Verifier, VerifyError};
use proptest::prelude::*;

const TOLERANCE: u64 = 300;

fn verify_by(verifier: &Verifier, sent: &Sent) -> Result<RawWebhook, VerifyError> {
    verifier.verify(&sent.headers(), sent.body(), at(SENT))
}

fn verify(sent: &Sent) -> Result<RawWebhook, VerifyError> {
    verify_by(&verifier(), sent)
}

#[test]
fn verified_webhook_has_what_was_sent() {
    let mut headers = Sent::new("msg_1", b"{}").headers();
    headers.insert("nahook-event-type", "order.placed".parse().unwrap());
    let webhook = verifier()
        .verify(&headers, "{}".into(), at(SENT + 7))
        .unwrap();
    assert_eq!(webhook.id, "msg_1");
    assert_eq!(webhook.timestamp, at(SENT));
    assert_eq!(webhook.event_type.as_deref(), Some("order.placed"));
    assert_eq!(webhook.body, "{}");
}

#[test]
fn event_type_is_the_header_or_else_type_in_the_body() {
    for (body, expected) in [
        (r#"{"type":"user.created","data":{}}"#, Some("user.created")),
        (r#"{"type":7}"#, None),
        (r#"{"data":{"type":"inner"}}"#, None),
        ("[]", None),
        ("not JSON", None),
    ] {
        let webhook = verify(&Sent::new("msg_1", body.as_bytes())).unwrap();
        assert_eq!(webhook.event_type.as_deref(), expected, "{body}");
    }
    let sent = Sent::new("msg_1", br#"{"type":"card"}"#);
    let mut headers = sent.headers();
    headers.insert("nahook-event-type", "order.paid".parse().unwrap());
    let webhook = verifier().verify(&headers, sent.body(), at(SENT)).unwrap();
    assert_eq!(webhook.event_type.as_deref(), Some("order.paid"));
}

#[test]
fn vectors_of_the_contract_are_verified() {
    let anytime = verifier().tolerance(Duration::MAX);
    for (body, signature) in [
        (
            r#"{"order_id":"ord_123","amount":49.99}"#,
            "v1,VF1JBS4kdSwmE64FeeiWTgszlPCfaop53x8bwzvHizw=",
        ),
        ("", "v1,yNFeVvBSs4aZ/sVHHw1MaUWnN1IGK/Ul/16T8aptSJo="),
        (
            r#"{"name":"café","price":"€9.99"}"#,
            "v1,GcuGAMV9tELnF2rjay6sA8uo5PDPPlhaFi6gKUg06wQ=",
        ),
    ] {
        let sent = Sent {
            id: "msg_test_sig_001".to_owned(),
            timestamp: "1712345678".to_owned(),
            signature: signature.to_owned(),
            body: body.as_bytes().to_owned(),
        };
        assert!(verify_by(&anytime, &sent).is_ok(), "{body}");
    }
}

#[test]
fn timestamp_may_be_away_by_exactly_the_tolerance() {
    let sent = Sent::new("msg_1", b"{}");
    let check = |verifier: &Verifier, now| verifier.verify(&sent.headers(), sent.body(), now);
    let default = verifier();
    assert!(check(&default, at(SENT + TOLERANCE)).is_ok());
    assert!(check(&default, at(SENT - TOLERANCE)).is_ok());
    let late = check(&default, at(SENT + TOLERANCE + 1));
    assert_eq!(late, Err(VerifyError::TooOld));
    let early = check(&default, at(SENT - TOLERANCE - 1));
    assert_eq!(early, Err(VerifyError::TooNew));
    // Seconds are whole, as in the timestamp.
    let within = at(SENT + TOLERANCE) + Duration::from_millis(999);
    assert!(check(&default, within).is_ok());

    for tolerance in [0, 1, 3600] {
        let verifier = verifier().tolerance(Duration::from_secs(tolerance));
        assert!(check(&verifier, at(SENT + tolerance)).is_ok());
        assert!(check(&verifier, at(SENT - tolerance)).is_ok());
        let late = check(&verifier, at(SENT + tolerance + 1));
        assert_eq!(late, Err(VerifyError::TooOld));
        let early = check(&verifier, at(SENT - tolerance - 1));
        assert_eq!(early, Err(VerifyError::TooNew));
    }
}

#[test]
fn clock_before_1970_is_1970() {
    let sent = Sent::new("msg_1", b"{}");
    let now = at(0) - Duration::from_secs(1);
    let verified = verifier().verify(&sent.headers(), sent.body(), now);
    assert_eq!(verified, Err(VerifyError::TooNew));
}

#[test]
fn rotation_loses_no_webhook() {
    let old = Verifier::new([SECRET]).unwrap();
    let both = Verifier::new([SECRET, OTHER]).unwrap();
    let new = Verifier::new([OTHER]).unwrap();
    let signed_by = |secrets: &[&str]| Sent::by(secrets, "msg_1", b"{}");
    // The receiver learns the new secret first, …
    assert!(verify_by(&both, &signed_by(&[SECRET])).is_ok());
    assert!(verify_by(&both, &signed_by(&[OTHER])).is_ok());
    // … or the sender does and signs with both.
    for receiver in [&old, &both, &new] {
        for secrets in [[SECRET, OTHER], [OTHER, SECRET]] {
            assert!(verify_by(receiver, &signed_by(&secrets)).is_ok());
        }
    }
    // Afterwards the old secret is worth nothing.
    let refused = verify_by(&new, &signed_by(&[SECRET]));
    assert_eq!(refused, Err(VerifyError::SignatureMismatch));
}

#[test]
fn right_signature_counts_at_any_place_of_the_list() {
    let right = Sent::new("msg_1", b"{}").signature;
    let wrong = Sent::by(&[OTHER], "msg_1", b"{}").signature;
    for list in [
        format!("{right} {wrong}"),
        format!("{wrong} {right} {wrong}"),
        format!("v1a,AAAA v2,{} v1, {right}", &right[3..]),
    ] {
        let mut sent = Sent::new("msg_1", b"{}");
        sent.signature.clone_from(&list);
        assert!(verify(&sent).is_ok(), "{list}");
    }
    // Two lines of the header are one list.
    let mut headers = Sent::new("msg_1", b"{}").headers();
    headers.insert("webhook-signature", wrong.parse().unwrap());
    headers.append("webhook-signature", right.parse().unwrap());
    assert!(verifier().verify(&headers, "{}".into(), at(SENT)).is_ok());
}

#[test]
fn each_header_is_required() {
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut headers = Sent::new("msg_1", b"{}").headers();
        headers.remove(name);
        let refused = verifier().verify(&headers, "{}".into(), at(SENT));
        assert_eq!(refused, Err(VerifyError::MissingHeader(name)));
    }
    let refused = verifier().verify(&HeaderMap::new(), "{}".into(), at(SENT));
    assert_eq!(refused, Err(VerifyError::MissingHeader("webhook-id")));
}

#[test]
fn malformed_headers_are_refused() {
    let now = SENT.to_string();
    let long = "m".repeat(257);
    for (name, value) in [
        ("webhook-id", ""),
        ("webhook-id", "msg.1"),
        ("webhook-id", "caf\u{e9}"),
        ("webhook-id", &long),
        ("webhook-timestamp", ""),
        ("webhook-timestamp", "soon"),
        ("webhook-timestamp", "-1"),
        ("webhook-timestamp", &format!("+{now}")),
        ("webhook-timestamp", &format!("0{now}")),
        ("webhook-timestamp", &format!("{now}.0")),
        ("webhook-timestamp", &format!(" {now}")),
        ("webhook-timestamp", "9223372036854775808"),
        ("webhook-timestamp", "-9223372036854775808"),
        ("webhook-signature", ""),
        ("webhook-signature", " "),
        (
            "webhook-signature",
            "VF1JBS4kdSwmE64FeeiWTgszlPCfaop53x8bwzvHizw=",
        ),
        ("webhook-signature", "v1,\u{e9}"),
    ] {
        let mut headers = Sent::new("msg_1", b"{}").headers();
        headers.insert(
            name,
            http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
        let refused = verifier().verify(&headers, "{}".into(), at(SENT));
        let malformed = VerifyError::MalformedHeader(match name {
            "webhook-id" => "webhook-id",
            "webhook-timestamp" => "webhook-timestamp",
            _ => "webhook-signature",
        });
        assert_eq!(refused, Err(malformed), "{name}: {value:?}");
    }
}

#[test]
fn id_and_timestamp_must_not_be_repeated() {
    for name in ["webhook-id", "webhook-timestamp"] {
        let mut headers = Sent::new("msg_1", b"{}").headers();
        let value = headers[name].clone();
        headers.append(name, value);
        let refused = verifier().verify(&headers, "{}".into(), at(SENT));
        assert_eq!(refused, Err(VerifyError::MalformedHeader(name)));
    }
}

#[test]
fn extreme_timestamps_are_refused_without_a_panic() {
    for timestamp in [0, i64::MAX] {
        for tolerance in [Duration::from_mins(5), Duration::MAX] {
            let mut sent = Sent::new("msg_1", b"{}");
            sent.timestamp = timestamp.to_string();
            let refused = verify_by(&verifier().tolerance(tolerance), &sent);
            assert!(refused.is_err(), "{timestamp}");
        }
    }
    // This one is signed.
    let signer = Signer::new([SECRET]).unwrap();
    let signature = signer.sign("msg_1", i64::MAX.unsigned_abs(), b"{}");
    let mut sent = Sent::new("msg_1", b"{}");
    (sent.timestamp, sent.signature) = (i64::MAX.to_string(), signature);
    let anytime = verifier().tolerance(Duration::MAX);
    let _ = verify_by(&anytime, &sent);
}

#[test]
fn other_versions_alone_are_unsupported() {
    let mut sent = Sent::new("msg_1", b"{}");
    sent.signature = format!("v1a,AAAA v2{}", &sent.signature[2..]);
    assert_eq!(verify(&sent), Err(VerifyError::UnsupportedSignature));
}

#[test]
fn body_that_is_no_text_is_refused() {
    let sent = Sent::new("msg_1", b"\xff\xfe");
    assert_eq!(verify(&sent), Err(VerifyError::BodyNotText));
}

#[test]
fn headers_from_before_the_standard_are_taken() {
    let sent = Sent::new("msg_1", b"{}");
    let mut headers = HeaderMap::new();
    headers.insert("svix-id", sent.id.parse().unwrap());
    headers.insert("svix-timestamp", sent.timestamp.parse().unwrap());
    let refused = verifier().verify(&headers, sent.body(), at(SENT));
    assert_eq!(refused, Err(VerifyError::MissingHeader("svix-signature")));
    headers.insert("svix-signature", sent.signature.parse().unwrap());
    assert!(verifier().verify(&headers, sent.body(), at(SENT)).is_ok());
    // The two sets do not mix.
    headers.insert("webhook-id", sent.id.parse().unwrap());
    let refused = verifier().verify(&headers, sent.body(), at(SENT));
    assert_eq!(
        refused,
        Err(VerifyError::MissingHeader("webhook-timestamp"))
    );
}

#[test]
fn secret_is_taken_with_and_without_its_prefix() {
    let bare = SECRET.strip_prefix("whsec_").unwrap();
    for secret in [SECRET, bare] {
        let verifier = Verifier::new([secret]).unwrap();
        assert!(verify_by(&verifier, &Sent::new("msg_1", b"{}")).is_ok());
    }
}

#[test]
fn bad_secrets_are_refused_and_never_shown() {
    for (secret, expected) in [
        ("", SecretError::Empty),
        ("whsec_", SecretError::Empty),
        ("whsec_hunter2!", SecretError::Encoding),
        ("hunter2!", SecretError::Encoding),
        ("whsec_dGVzdA", SecretError::Encoding),
        ("whsec_dGVzdA==\n", SecretError::Encoding),
    ] {
        let refused = Verifier::new([SECRET, secret]).unwrap_err();
        assert_eq!(refused, expected, "{secret:?}");
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    }
    let none: [&str; 0] = [];
    assert_eq!(Verifier::new(none).unwrap_err(), SecretError::NoSecrets);
    let shown = format!("{:?}", verifier());
    assert_eq!(shown, "Verifier { keys: 1, tolerance: 300s }");
}

proptest! {
    #[test]
    fn what_nahook_signs_is_verified(
        id in "[!-\\-/-~]{1,60}",
        body in "\\PC{0,400}",
        keys in proptest::collection::vec("[A-Za-z0-9]{4,8}", 1..4),
    ) {
        let secrets: Vec<_> = keys.iter().map(|key| format!("whsec_{}", &key[..4])).collect();
        let secrets: Vec<_> = secrets.iter().map(String::as_str).collect();
        let sent = Sent::by(&secrets, &id, body.as_bytes());
        for secret in &secrets {
            let webhook = verify_by(&Verifier::new([secret]).unwrap(), &sent).unwrap();
            prop_assert_eq!(&webhook.id, &id);
            prop_assert_eq!(webhook.body, body.as_bytes());
        }
        prop_assert!(verify_by(&Verifier::new(&secrets).unwrap(), &sent).is_ok());
    }
}

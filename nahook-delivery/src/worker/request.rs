//! The request that an endpoint receives (contract, section 3).

use std::fmt::{Display, Write as _};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use foldhash::HashMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use nahook_control::{BasicAuth, EndpointKind, EndpointTarget, SecretText};
use nahook_core::Timestamp;
use nahook_core::id::EndpointId;
use nahook_queue::LeasedDelivery;

use crate::header::{
    AGENT, ATTEMPT, DELIVERY_ID, EVENT_TYPE, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
};
use crate::signature::Signer;
use crate::transport::{OutboundRequest, OutboundUrl};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why no request could be made of an endpoint's settings. The texts are shown to the tenant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum RequestError {
    #[error("the signing secret cannot be used")]
    Secret,
    #[error("the URL cannot be used")]
    Url,
}

/// An endpoint, and what is the same for all of its requests: worked out with the first.
pub(super) struct Addressee {
    target: Arc<EndpointTarget>,
    same: OnceLock<Same>,
}

struct Same {
    url: Result<OutboundUrl, RequestError>,
    /// `None` where nothing is signed: a Slack endpoint's requests are without `webhook-…` headers, which would promise a
    /// signature.
    signer: Option<Result<Signer, RequestError>>,
    auth: Option<HeaderValue>,
}

impl Addressee {
    pub(super) fn new(target: &Arc<EndpointTarget>) -> Self {
        Self {
            target: Arc::clone(target),
            same: OnceLock::new(),
        }
    }

    fn same(&self) -> &Same {
        self.same.get_or_init(|| {
            let target = &*self.target;
            let secrets = || target.secrets.iter().map(SecretText::expose);
            let signer = || Signer::new(secrets()).map_err(|_| RequestError::Secret);
            Same {
                url: target.url.parse().map_err(|_| RequestError::Url),
                signer: (target.kind == EndpointKind::Webhook).then(signer),
                auth: target.auth.as_ref().map(basic),
            }
        })
    }
}

/// Number of endpoints remembered before all are forgotten.
const ADDRESSEES_MAX: usize = 4_096;

/// The endpoints that were attempted lately.
#[derive(Default)]
pub(super) struct Addressees(HashMap<EndpointId, Arc<Addressee>>);

impl Addressees {
    /// Returns what all requests to the endpoint share, as it is now.
    pub(super) fn of(&mut self, target: &Arc<EndpointTarget>) -> Arc<Addressee> {
        if let Some(known) = self.0.get(&target.id)
            && (Arc::ptr_eq(&known.target, target) || known.target == *target)
        {
            return Arc::clone(known);
        }
        if self.0.len() >= ADDRESSEES_MAX {
            self.0.clear();
        }
        let addressee = Arc::new(Addressee::new(target));
        self.0.insert(target.id, Arc::clone(&addressee));
        addressee
    }
}

/// The request of `delivery`'s attempt with this number, counted from 1, sent at `now`.
pub(super) fn request(
    delivery: &LeasedDelivery,
    addressee: &Addressee,
    number: u32,
    now: Timestamp,
) -> Result<OutboundRequest, RequestError> {
    let same = addressee.same();
    let mut values = Values(BytesMut::with_capacity(VALUES_LEN));
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(DELIVERY_ID, values.text(&delivery.lease.delivery));
    if let Some(event_type) = &delivery.event_type {
        headers.insert(EVENT_TYPE, values.text(event_type));
    }
    headers.insert(ATTEMPT, values.text(&number));
    if let Some(signer) = &same.signer {
        let signer = signer.as_ref().map_err(|error| *error)?;
        let id = delivery.message.to_string();
        let signature = signer.sign(&id, now.as_secs(), delivery.payload.as_bytes());
        headers.insert(WEBHOOK_ID, values.text(&id));
        headers.insert(WEBHOOK_TIMESTAMP, values.text(&now.as_secs()));
        headers.insert(WEBHOOK_SIGNATURE, values.text(&signature));
    }
    if let Some(auth) = &same.auth {
        headers.insert(AUTHORIZATION, auth.clone());
    }
    Ok(OutboundRequest {
        url: same.url.clone()?,
        headers,
        body: delivery.payload.as_bytes().clone(),
    })
}

fn basic(auth: &BasicAuth) -> HeaderValue {
    let pair = format!("{}:{}", auth.username, auth.password.expose());
    let mut value = Values::default().text(&format_args!("Basic {}", STANDARD.encode(pair)));
    value.set_sensitive(true);
    value
}

/// Room for a delivery's id, a message's, a usual event type, a signature and two numbers.
const VALUES_LEN: usize = 208;

/// The values of one request, side by side: one allocation for all of them.
#[derive(Default)]
struct Values(BytesMut);

impl Values {
    /// A value made of an id, a name, a number or base64: all visible ASCII, so that the fallback is never taken.
    fn text(&mut self, value: &impl Display) -> HeaderValue {
        // Writing to memory does not fail.
        let _ = write!(self.0, "{value}");
        HeaderValue::from_maybe_shared(self.0.split().freeze())
            .unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::id::{DeliveryId, EndpointId, EnvironmentId, MessageId, WorkspaceId};
    use nahook_core::{Event, Payload};

    use nahook_queue::{Lease, LeaseToken};

    use super::*;

    const FIRST: &str = "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIy";
    const SECOND: &str = "whsec_c3dvcmRmaXNoc3dvcmRmaXNoc3dv";

    fn target(url: &str, secrets: &[&str]) -> EndpointTarget {
        EndpointTarget {
            id: EndpointId::new("ep_1").unwrap(),
            workspace: WorkspaceId::new("ws_1").unwrap(),
            environment: EnvironmentId::from_bits(1),
            url: url.to_owned(),
            kind: EndpointKind::Webhook,
            secrets: secrets.iter().copied().map(SecretText::new).collect(),
            auth: None,
            is_active: true,
            failing_since: None,
        }
    }

    fn delivery() -> LeasedDelivery {
        let message = MessageId::from_bits(7);
        let lease = Lease {
            delivery: DeliveryId::nth(message, 0),
            token: LeaseToken(1),
        };
        let (payload, workspace) = (Payload::new("{}").unwrap(), WorkspaceId::from_bits(1));
        let accepted_at = Timestamp::from_millis(1_000);
        let event = Event::direct(payload, message, workspace, None, accepted_at);
        LeasedDelivery::new(lease, &event, EndpointId::new("ep_1").unwrap(), 0)
    }

    fn request_to(addressee: &Addressee) -> Result<OutboundRequest, RequestError> {
        request(&delivery(), addressee, 3, Timestamp::from_millis(90_000))
    }

    fn made_of(url: &str, secret: &str) -> Result<OutboundRequest, RequestError> {
        request_to(&Addressee::new(&Arc::new(target(url, &[secret]))))
    }

    #[test]
    fn attempt_carries_its_number_and_its_own_time_and_is_signed_by_every_secret() {
        let both = target("https://a.test/", &[FIRST, SECOND]);
        let request = request_to(&Addressee::new(&Arc::new(both))).unwrap();
        let text = |name| request.headers[name].to_str().unwrap();
        assert_eq!(text("nahook-attempt"), "3");
        assert_eq!(text("webhook-timestamp"), "90");
        let id = delivery().message.to_string();
        assert_eq!(text("webhook-id"), id);
        for secret in [FIRST, SECOND] {
            let alone = Signer::new([secret]).unwrap().sign(&id, 90, b"{}");
            let signatures: Vec<_> = text("webhook-signature").split(' ').collect();
            assert!(signatures.contains(&alone.as_str()), "{signatures:?}");
        }
    }

    #[test]
    fn every_change_of_an_endpoint_changes_its_next_request() {
        let known = target("https://a.test/", &[FIRST, SECOND]);
        let auth = |password: &str| {
            Some(BasicAuth {
                username: "u".to_owned(),
                password: SecretText::new(password),
            })
        };
        let changed = [
            known.clone(),
            // The second secret's 24 hours are over.
            target("https://a.test/", &[FIRST]),
            known.clone(),
            EndpointTarget {
                kind: EndpointKind::Slack,
                ..known.clone()
            },
            known.clone(),
            EndpointTarget {
                auth: auth("one"),
                ..known.clone()
            },
            EndpointTarget {
                auth: auth("two"),
                ..known
            },
            target("https://a.test/", &[SECOND, FIRST]),
            target("https://b.test/", &[SECOND, FIRST]),
        ];
        let mut addressees = Addressees::default();
        let mut before = None;
        for target in changed {
            let request = request_to(&addressees.of(&Arc::new(target.clone()))).unwrap();
            let seen = (request.url.as_uri().clone(), request.headers);
            assert_ne!(before.as_ref(), Some(&seen), "{target:?}");
            // The same endpoint, read again, is the same to its receiver.
            let again = request_to(&addressees.of(&Arc::new(target))).unwrap();
            assert_eq!(again.headers, seen.1);
            before = Some(seen);
        }
    }

    #[test]
    fn settings_that_cannot_be_used_are_named_and_not_shown() {
        let secret = "whsec_aHVudGVyMg==";
        assert!(made_of("https://a.test/", secret).is_ok());
        assert_eq!(made_of("no url", secret).unwrap_err(), RequestError::Url);
        let error = made_of("https://a.test/", "hunter2").unwrap_err();
        assert_eq!(error.to_string(), "the signing secret cannot be used");
    }

    #[test]
    fn what_was_sent_to_an_endpoint_directly_has_no_event_type() {
        let request = made_of("https://a.test/", "whsec_aHVudGVyMg==").unwrap();
        assert!(!request.headers.contains_key(EVENT_TYPE));
        assert_eq!(request.headers.len(), 7);
    }
}

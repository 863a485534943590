//! Nothing but what was signed is verified.

use nahook_receive::{RawWebhook, VerifyError};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{OTHER, SECRET, SENT, Sent, at, verifier};

fn verify(sent: &Sent) -> Result<RawWebhook, VerifyError> {
    verifier().verify(&sent.headers(), sent.body(), at(SENT))
}

/// Changes to a webhook on its way.
#[derive(Clone, Debug)]
enum Tampering {
    FlipBodyBit(Index, u8),
    InsertIntoBody(Index, u8),
    RemoveFromBody(Index),
    OtherBody(Vec<u8>),
    OtherId(String),
    ExtendId(char),
    OtherTimestamp(u64),
    PadTimestamp(usize),
    ChangeSignature(Index, char),
    CutSignature(Index),
    ExtendSignature(char),
    OtherSecret,
    MoveBodyIntoId,
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let base64 = proptest::char::ranges(vec!['A'..='Z', 'a'..='z', '0'..='9', '+'..='+'].into());
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Tampering::FlipBodyBit(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Tampering::InsertIntoBody(at, byte)),
        any::<Index>().prop_map(Tampering::RemoveFromBody),
        any::<Vec<u8>>().prop_map(Tampering::OtherBody),
        "[!-~]{1,60}".prop_map(Tampering::OtherId),
        proptest::char::range('!', '~').prop_map(Tampering::ExtendId),
        (SENT - 300..=SENT + 300).prop_map(Tampering::OtherTimestamp),
        (1..4_usize).prop_map(Tampering::PadTimestamp),
        (any::<Index>(), base64.clone()).prop_map(|(at, c)| Tampering::ChangeSignature(at, c)),
        any::<Index>().prop_map(Tampering::CutSignature),
        base64.prop_map(Tampering::ExtendSignature),
        Just(Tampering::OtherSecret),
        Just(Tampering::MoveBodyIntoId),
    ]
}

impl Tampering {
    fn apply(self, sent: &mut Sent) {
        match self {
            Self::FlipBodyBit(at, bit) => {
                if !sent.body.is_empty() {
                    let at = at.index(sent.body.len());
                    sent.body[at] ^= 1 << bit;
                }
            }
            Self::InsertIntoBody(at, byte) => sent.body.insert(at.index(sent.body.len() + 1), byte),
            Self::RemoveFromBody(at) => {
                if !sent.body.is_empty() {
                    sent.body.remove(at.index(sent.body.len()));
                }
            }
            Self::OtherBody(body) => sent.body = body,
            Self::OtherId(id) => sent.id = id,
            Self::ExtendId(c) => sent.id.push(c),
            Self::OtherTimestamp(timestamp) => sent.timestamp = timestamp.to_string(),
            Self::PadTimestamp(zeros) => sent.timestamp.insert_str(0, &"0".repeat(zeros)),
            Self::ChangeSignature(at, c) => {
                let at = 3 + at.index(sent.signature.len() - 3);
                sent.signature.replace_range(at..=at, &c.to_string());
            }
            Self::CutSignature(at) => sent.signature.truncate(at.index(sent.signature.len())),
            Self::ExtendSignature(c) => sent.signature.push(c),
            Self::OtherSecret => {
                sent.signature = Sent::by(&[OTHER], &sent.id, &sent.body).signature;
            }
            // What is signed stays the same: `id.timestamp.body` with a later boundary.
            Self::MoveBodyIntoId => {
                let text = String::from_utf8_lossy(&sent.body).into_owned();
                let (timestamp, body) = text.split_once('.').unwrap_or((&text, ""));
                sent.id = format!("{}.{}", sent.id, sent.timestamp);
                timestamp.clone_into(&mut sent.timestamp);
                sent.body = body.into();
            }
        }
    }
}

fn is_same(a: &Sent, b: &Sent) -> bool {
    (&a.id, &a.timestamp, &a.signature, &a.body) == (&b.id, &b.timestamp, &b.signature, &b.body)
}

proptest! {
    #[test]
    fn any_tampering_is_refused(
        id in "[a-z_0-9]{1,20}",
        body in prop_oneof!["\\PC{0,100}", "18000000[0-9]{2}\\.\\PC{0,20}"],
        tampering in tampering(),
    ) {
        let sent = Sent::by(&[SECRET], &id, body.as_bytes());
        let mut tampered = sent.clone();
        tampering.apply(&mut tampered);
        prop_assume!(!is_same(&sent, &tampered));
        prop_assert!(verify(&tampered).is_err());
    }

    #[test]
    fn any_part_of_a_signature_is_refused(body in "\\PC{0,100}", rest in "[A-Za-z0-9+/]{0,43}") {
        let sent = Sent::new("msg_1", body.as_bytes());
        for kept in 3..sent.signature.len() {
            let mut tampered = sent.clone();
            tampered.signature.truncate(kept);
            prop_assert!(verify(&tampered).is_err());
            // The same length with another end.
            let end = rest.chars().cycle().take(sent.signature.len() - kept);
            tampered.signature.extend(end);
            prop_assume!(tampered.signature != sent.signature);
            prop_assert!(verify(&tampered).is_err());
        }
    }

    #[test]
    fn any_headers_and_body_are_no_panic(
        id in "[\\x20-\\x7e]{0,30}",
        timestamp in prop_oneof!["[0-9+-]{0,22}", Just(SENT.to_string())],
        signature in "[\\x20-\\x7e]{0,120}",
        body: Vec<u8>,
    ) {
        let sent = Sent { id, timestamp, signature, body };
        prop_assert!(verify(&sent).is_err());
    }
}

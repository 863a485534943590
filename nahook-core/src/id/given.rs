//! The text of an id that was given, packed into the bits of one that is drawn.
//!
//! The topmost byte is 255, a time some nine thousand years away, so that no drawn id looks like it. Six bits follow for
//! each character, the first one topmost, and zeros after the last: the order of the ids is an order of their texts.

use super::ID_LEN_MAX;

/// Largest number of characters that fit.
pub(super) const LEN_MAX: usize = 20;

const MARK: u128 = 0xFF;
const MARK_AT: u32 = 120;
const CHARACTER_BITS: u32 = 6;
/// The characters by their six bits, less one: none of them is zero.
const CHARACTERS: &[u8; 63] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

/// Packs a text; `None` if it is no given id's.
pub(super) fn read(text: &str) -> Option<u128> {
    if text.is_empty() || text.len() > LEN_MAX {
        return None;
    }
    let mut bits = MARK << MARK_AT;
    let mut at = MARK_AT;
    for byte in text.bytes() {
        let position = CHARACTERS.iter().position(|&character| character == byte)?;
        at -= CHARACTER_BITS;
        bits |= u128::try_from(position + 1).ok()? << at;
    }
    Some(bits)
}

/// Unpacks a text behind its prefix and answers its length; `None` if these are no given id's bits.
pub(super) fn write(prefix: &str, bits: u128, out: &mut [u8; ID_LEN_MAX]) -> Option<u8> {
    if bits >> MARK_AT != MARK {
        return None;
    }
    out[..prefix.len()].copy_from_slice(prefix.as_bytes());
    let mut len = prefix.len();
    let mut rest = bits << (128 - MARK_AT);
    while rest != 0 {
        let code = usize::try_from(rest >> (128 - CHARACTER_BITS)).ok()?;
        out[len] = *CHARACTERS.get(code.checked_sub(1)?)?;
        len += 1;
        rest <<= CHARACTER_BITS;
    }
    if len == prefix.len() {
        return None;
    }
    u8::try_from(len).ok()
}

//! The pattern of an endpoint's URL, for clients that check one before they send it.

/// A number from 0 to 255.
const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
/// Up to 16 bits in hexadecimal.
const PIECE: &str = "[0-9A-Fa-f]{1,4}";
/// A part of a name.
const LABEL: &str = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
/// The last part of a name, which is no number.
const LAST_LABEL: &str =
    "([A-Za-z_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?|[1-9][A-Za-z0-9_-]{0,61}[A-Za-z_])";
/// A number from 1 to 65535.
const PORT: &str =
    "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/// `http` or `https`, a name in ASCII or an address, a port, and anything without white space or a backslash. All that
/// matches is accepted but names that are no Punycode or too long; names in Unicode are accepted, too.
pub(super) fn url_pattern() -> String {
    let v4 = format!(r"({OCTET}\.){{3}}{OCTET}");
    let v6 = ipv6(&v4);
    let name = format!(r"({LABEL}\.)*{LAST_LABEL}\.?");
    format!(
        r"^[Hh][Tt][Tt][Pp][Ss]?://({name}|{v4}|\[({v6})\])(:{PORT})?([/?#][^\s\\\x00-\x1f\x7f-\x9f]*)?$"
    )
}

/// Eight pieces, of which the last two may be an IPv4 address, and `::` may stand for any of them.
fn ipv6(v4: &str) -> String {
    let mut forms = vec![format!("({PIECE}:){{6}}({PIECE}:{PIECE}|{v4})")];
    for before in 0..=7 {
        let start = match before {
            0 => String::new(),
            n => format!("({PIECE}:){{{}}}{PIECE}", n - 1),
        };
        let mut ends = Vec::new();
        if let Some(pieces) = 6_usize.checked_sub(before) {
            ends.push(format!("({PIECE}:){{0,{pieces}}}{PIECE}"));
        }
        if let Some(pieces) = 5_usize.checked_sub(before) {
            ends.push(format!("({PIECE}:){{0,{pieces}}}{v4}"));
        }
        let end = ends.join("|");
        forms.push(format!("{start}::({end})?"));
    }
    forms.join("|")
}

//! Texts with a grammar of their own, which a type or a function reads.

use std::fmt;

use nahook_core::{EventTypeName, EventTypePattern};
use serde_json::{Value, json};

use super::Sample;
use super::url_pattern::url_pattern;
use crate::endpoint_url::URL_LEN_MAX;
use crate::{EndpointUrl, signing_secret_is_valid};

/// A grammar.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub(super) check: fn(&str) -> Result<(), String>,
    /// Longest text, in bytes.
    max: usize,
    pattern: fn() -> String,
    /// The grammar in words.
    words: &'static str,
    pub(super) samples: fn() -> Vec<Sample>,
}

impl Form {
    pub(super) fn schema(&self) -> Value {
        json!({
            "type": "string",
            "pattern": (self.pattern)(),
            "minLength": 1,
            "maxLength": self.max,
            "description": self.words,
        })
    }
}

/// Writes the form in words.
impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at most {} bytes", self.words, self.max)
    }
}

pub(super) const EVENT_TYPE_NAME: Form = Form {
    check: |text| check::<EventTypeName>(text),
    max: EventTypeName::LEN_MAX,
    words: "letters, digits, underscores and hyphens, in segments separated by dots",
    pattern: || r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$".to_owned(),
    samples: || {
        let long = |len: usize| "x".repeat(len);
        samples(
            &["a", "Order_1.paid-2", &long(EventTypeName::LEN_MAX)],
            &[
                "",
                ".",
                "a.",
                ".a",
                "a..b",
                "a b",
                "ord\u{e9}r",
                "a\0",
                &long(EventTypeName::LEN_MAX + 1),
            ],
        )
    },
};

pub(super) const EVENT_TYPE_PATTERN: Form = Form {
    check: |text| check::<EventTypePattern>(text),
    max: EventTypePattern::LEN_MAX,
    words: "* for every event type, or an event type name followed by .* for exactly one more segment or .** for one or more",
    pattern: || r"^([A-Za-z0-9_-]+\.)*\*{1,2}$".to_owned(),
    samples: || {
        let long = |len: usize| format!("{}.**", "x".repeat(len - 3));
        samples(
            &[
                "*",
                "**",
                "a.*",
                "Order_1.paid-2.**",
                &long(EventTypePattern::LEN_MAX),
            ],
            &[
                "",
                "a",
                "a.",
                ".*",
                "a*",
                "a..*",
                "a.***",
                "*.a",
                "a.*.b",
                "ord\u{e9}r.*",
                &long(EventTypePattern::LEN_MAX + 1),
            ],
        )
    },
};

pub(super) const URL: Form = Form {
    check: |text| check::<EndpointUrl>(text),
    max: URL_LEN_MAX,
    words: "an http or https URL, whose host may be in Unicode",
    pattern: url_pattern,
    samples: urls,
};

/// Longest secret, in bytes.
pub(super) const SECRET_LEN_MAX: usize = 512;

pub(super) const SIGNING_SECRET: Form = Form {
    check: |text| {
        let is_fine = text.len() <= SECRET_LEN_MAX && signing_secret_is_valid(text);
        is_fine
            .then_some(())
            .ok_or_else(|| SIGNING_SECRET.to_string())
    },
    max: SECRET_LEN_MAX,
    words: "whsec_ followed by base64 of 16 bytes or more",
    pattern: || {
        r"^whsec_([A-Za-z0-9+/]{4}){5,}[A-Za-z0-9+/]{2}([A-Za-z0-9+/]{2}|[A-Za-z0-9+/]=|==)$"
            .to_owned()
    },
    samples: || {
        let long = |fours: usize| format!("whsec_{}", "AAAA".repeat(fours));
        samples(
            &["whsec_AAAAAAAAAAAAAAAAAAAAAA==", &long(126)],
            &[
                "",
                "whsec_",
                "AAAA",
                "whsec_*",
                "whsec_aA==",
                "whsec_AAAAAAAAAAAAAAAAAAAAAA",
                &long(5),
                " whsec_AAAAAAAAAAAAAAAAAAAAAA==",
                &long(127),
            ],
        )
    },
};

fn check<T: std::str::FromStr<Err: ToString>>(text: &str) -> Result<(), String> {
    text.parse::<T>()
        .map(drop)
        .map_err(|error| error.to_string())
}

fn samples(inside: &[&str], outside: &[&str]) -> Vec<Sample> {
    let inside = inside.iter().map(|text| Sample::inside(*text));
    let outside = outside.iter().map(|text| Sample::outside(*text));
    inside.chain(outside).collect()
}

fn urls() -> Vec<Sample> {
    let label = |len: usize| format!("http://{}.test/", "a".repeat(len));
    let host = |len: usize| format!("http://{}/", "a.".repeat(len / 2) + &"b".repeat(len % 2));
    let path = |len: usize| format!("http://a/{}", "x".repeat(len - 9));
    let mut urls = samples(
        &[
            "http://a",
            "HTTPS://A.example:443/x?y=1#z",
            "http://a.example:10000/",
            "http://a.example:65535",
            "http://[::1]:8080",
            "http://[1:2:3:4:5:6:7:8]/",
            "http://[1:2:3:4:5:6:7::]/",
            "http://[2001:DB8:1:2:3::1]/",
            "http://[::ffff:1.2.3.4]/",
            "http://[1:2:3:4:5:6:1.2.3.4]/",
            "http://255.1.1.1/",
            "http://my_app.test./",
            "http://3com/",
            "http://a/b:c@{d}|\u{e4}",
            &label(63),
            &host(253),
            &path(URL_LEN_MAX),
        ],
        &[
            "",
            "a",
            "ftp://a",
            "http:/a",
            "http://",
            "http://u:p@a/",
            "http://a:/",
            "http://a:0/",
            "http://a:65536/",
            "http://a b/",
            "http://a/b c",
            "http://a/\u{2003}",
            "http://a\\b/",
            "http://a/\\b",
            "http://a/\u{7}",
            "http://[::1/",
            "http://[::g]/",
            "http://[1:2:3:4:5:6:7:8::]/",
            "http://[1::2::3]/",
            "http://[fe80::1%25eth0]/",
            "http://a..b/",
            "http://-a.test/",
            "http://a-.test/",
            "http://256.1.1.1/",
            "http://a%20b.test/",
            &label(64),
            &path(URL_LEN_MAX + 1),
        ],
    );
    // Names in Unicode, numbers of other spellings, names in Punycode and the length of all of a name are beyond a pattern.
    urls.extend(
        ["http://b\u{fc}cher.test/", "http://127.1/"]
            .map(|url| Sample::inside(url).beyond_schema()),
    );
    urls.extend(["http://xn--a.test/", &host(255)].map(|url| Sample::outside(url).beyond_schema()));
    urls
}

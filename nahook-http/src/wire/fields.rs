//! Finding the known fields of an object, without interpreting what they hold.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::BodyError;

/// The values of these fields in the body's object.
///
/// Unknown fields are ignored, a leading byte order mark is skipped, nesting may be of any depth.
pub(super) fn fields_of<'a, const N: usize>(
    body: &'a [u8],
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], BodyError> {
    const BYTE_ORDER_MARK: char = '\u{feff}';
    // The parser would let broken UTF-8 pass inside fields that it skips.
    let text = std::str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let is_object = match text.trim_ascii_start().bytes().next() {
        None => return Err(BodyError::Empty),
        Some(first) => first == b'{',
    };
    // What is not an object is still read to its end, to tell a wrong value from broken text.
    if is_object {
        read(text, FieldsVisitor(names))?
    } else {
        let _: IgnoredAny = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        Err(BodyError::NotAnObject)
    }
}

/// The same of an object that was found to be well-formed already.
pub(super) fn fields_in<'a, const N: usize>(
    raw: &'a RawValue,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], BodyError> {
    if raw.get().starts_with('{') {
        read(raw.get(), FieldsVisitor(names))?
    } else {
        Err(BodyError::ItemNotAnObject)
    }
}

/// Lets `visitor` read the object in `text`, with nothing after it.
pub(super) fn read<'a, V: Visitor<'a>>(text: &'a str, visitor: V) -> Result<V::Value, BodyError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = json
        .deserialize_map(visitor)
        .map_err(|error| malformed(&error))?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> BodyError {
    BodyError::Malformed {
        line: error.line(),
        column: error.column(),
    }
}

/// Finds the fields with these names. It raises no errors of its own, so that every error is the text's.
struct FieldsVisitor<const N: usize>([&'static str; N]);

impl<'a, const N: usize> Visitor<'a> for FieldsVisitor<N> {
    type Value = Result<[Option<&'a RawValue>; N], BodyError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        let mut duplicate = None;
        while let Some(place) = map.next_key_seed(NameSeed(&self.0))? {
            let Some(place) = place else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if found[place].replace(map.next_value()?).is_some() {
                duplicate = Some(self.0[place]);
            }
        }
        Ok(duplicate.map_or(Ok(found), |name| Err(BodyError::DuplicateField(name))))
    }
}

/// Index of a name among those that are looked for.
struct NameSeed<'n>(&'n [&'static str]);

impl<'a> DeserializeSeed<'a> for NameSeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|known| *known == name))
    }
}

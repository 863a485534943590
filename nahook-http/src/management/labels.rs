//! Objects and numbers in bodies. PHP writes an empty map as `[]`, which stands for an empty object (contract, section 1).

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use nahook_control::rules::{Broken, Field};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Labels, text to text.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels(pub(super) BTreeMap<String, String>);

/// The settings of a kind of endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Config(pub(super) Map<String, Value>);

/// A whole number, also one that is written with a fraction of zero: to JSON that is the same number. What 64 bits cannot
/// hold is the nearest number that they can.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole(i64);

impl Whole {
    /// The number, if the rule for the field allows it.
    pub(super) fn within(given: Option<Self>, field: Field) -> Result<Option<u32>, Broken> {
        given.map(|whole| field.whole(whole.0)).transpose()
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let other = || serde::de::Error::custom("no whole number, expected a whole number");
        let number = serde_json::Number::deserialize(deserializer).map_err(|_| other())?;
        let whole = number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
            let nearest = if float < 0.0 { i64::MIN } else { i64::MAX };
            // As text, since a cast is not exact.
            Some(format!("{float:.0}").parse().unwrap_or(nearest))
        });
        whole.map(Self).ok_or_else(other)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer, "an object whose values are strings").map(Self)
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries: BTreeMap<String, Value> = object(deserializer, "an object")?;
        Ok(Self(entries.into_iter().collect()))
    }
}

fn object<'de, D, V>(
    deserializer: D,
    expecting: &'static str,
) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    deserializer.deserialize_any(Object {
        expecting,
        values: PhantomData,
    })
}

struct Object<V> {
    expecting: &'static str,
    values: PhantomData<V>,
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for Object<V> {
    type Value = BTreeMap<String, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            entries.insert(name, value);
        }
        Ok(entries)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(BTreeMap::new()),
            Some(_) => Err(serde::de::Error::invalid_type(
                serde::de::Unexpected::Seq,
                &self,
            )),
        }
    }
}

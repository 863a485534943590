//! Parameters of statements, each with its type: a statement that is not prepared is sent together with them.

use tokio_postgres::types::{ToSql, Type};

use crate::row::Bits;

/// A parameter whose type is known without asking the server.
pub(crate) trait Parameter: ToSql + Sync {
    /// The type that the server is told.
    fn kind(&self) -> Type;
}

impl<T: Kind + ToSql + Sync> Parameter for T {
    fn kind(&self) -> Type {
        T::KIND
    }
}

/// A type, and that of arrays of it.
pub(crate) trait Kind {
    const KIND: Type;
    const ARRAY: Type = Type::UNKNOWN;
}

macro_rules! kinds {
    ($($type:ty: $kind:ident, $array:ident;)*) => {
        $(impl Kind for $type {
            const KIND: Type = Type::$kind;
            const ARRAY: Type = Type::$array;
        })*
    };
}

kinds! {
    bool: BOOL, BOOL_ARRAY;
    i16: INT2, INT2_ARRAY;
    i32: INT4, INT4_ARRAY;
    i64: INT8, INT8_ARRAY;
    str: TEXT, TEXT_ARRAY;
    String: TEXT, TEXT_ARRAY;
    [u8]: BYTEA, BYTEA_ARRAY;
    Vec<u8>: BYTEA, BYTEA_ARRAY;
    Bits: UUID, UUID_ARRAY;
}

impl<T: Kind + ?Sized> Kind for &T {
    const KIND: Type = T::KIND;
    const ARRAY: Type = T::ARRAY;
}

impl<T: Kind> Kind for Option<T> {
    const KIND: Type = T::KIND;
    const ARRAY: Type = T::ARRAY;
}

impl<T: Kind> Kind for Vec<T> {
    const KIND: Type = T::ARRAY;
}

impl<T: Kind> Kind for [T] {
    const KIND: Type = T::ARRAY;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_know_their_types() {
        let keys: Vec<Option<&[u8]>> = Vec::new();
        let parameters: [&dyn Parameter; 5] =
            [&"a", &Some(1i64), &vec![Bits(1)], &keys, &vec![1u8]];
        let kinds = parameters.map(Parameter::kind);
        let expected = [
            Type::TEXT,
            Type::INT8,
            Type::UUID_ARRAY,
            Type::BYTEA_ARRAY,
            Type::BYTEA,
        ];
        assert_eq!(kinds, expected);
    }
}

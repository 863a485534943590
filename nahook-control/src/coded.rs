//! Enums that stores keep as numbers.

/// Gives each value of an enum its number in stores and its word.
macro_rules! coded {
    ($name:ident { $($variant:ident = $code:literal $word:literal,)+ }) => {
        impl $name {
            /// Returns its word, on the wire and in lists.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Returns the number by which stores keep it.
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            /// Returns the value that stores keep as that number.
            pub const fn from_code(code: i64) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use coded;

//! Reading objects whose fields depend on their type.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Reads `T` from an object. Derived code alone would also take an array with the fields in order.
pub(super) fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: DeserializeOwned> Visitor<'de> for Object<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(Object(PhantomData))
}

/// Reads a field that is there: `null` isn't the same as nothing.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A field that this type must have.
pub(super) fn take<T, E: Error>(field: &mut Option<T>, name: &'static str) -> Result<T, E> {
    field.take().ok_or_else(|| E::missing_field(name))
}

/// An error of a field that only shows when its object is complete. The text names it in the way serde's own do.
pub(super) fn at<E: Error>(name: &'static str, reason: impl fmt::Display) -> E {
    E::custom(format_args!("field `{name}`: {reason}"))
}

/// Declares a struct with all the fields that any type of packet has, and `finish`, which refuses those that were given but not
/// taken.
macro_rules! fields {
    ($fields:ident $(<$entry:ident: $bound:literal>)?, $kind:ty, $kind_from:literal, { $($name:ident $json:literal $type:ty,)* }) => {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $(#[serde(bound(deserialize = $bound))])?
        struct $fields $(<$entry>)? {
            #[serde(rename = "type", deserialize_with = $kind_from)]
            kind: $kind,
            $(
                #[serde(rename = $json, default, deserialize_with = "crate::value::object::present")]
                $name: Option<$type>,
            )*
        }

        impl $(<$entry>)? $fields $(<$entry>)? {
            fn finish<X: serde::de::Error>(self) -> Result<(), X> {
                $(
                    if self.$name.is_some() {
                        return Err(X::custom(concat!("unknown field `", $json, "` for this type")));
                    }
                )*
                Ok(())
            }
        }
    };
}

pub(super) use fields;

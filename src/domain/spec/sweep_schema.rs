//! How the values of `[sweep]` look in the JSON schema.

use std::borrow::Cow;

use crate::domain::spec::sweep::{Domain, Dotted, Given, OneOf};

impl<T: schemars::JsonSchema> schemars::JsonSchema for Dotted<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Dotted_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // Behind the name of a table stand more keys.
        let (value, more) =
            (generator.subschema_for::<T>(), serde_json::json!({ "type": "object" }));
        schemars::json_schema!({ "type": "object", "additionalProperties": { "anyOf": [value, more] } })
    }
}

macro_rules! inline {
    ($type:ident, $schema:tt) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

/// A value as a spec may have it behind one of its keys.
fn value() -> serde_json::Value {
    let scalar = serde_json::json!({ "type": ["string", "number", "boolean"] });
    serde_json::json!({ "anyOf": [scalar, { "type": "array", "items": scalar }] })
}

fn ends() -> serde_json::Value {
    let number = serde_json::json!({ "type": "number" });
    serde_json::json!({ "type": "array", "items": number, "minItems": 2, "maxItems": 2 })
}

inline!(Given, { "anyOf": [value()] });
inline!(OneOf, { "anyOf": [value()] });
inline!(Domain, {
    "anyOf": [
        { "type": "array", "items": value(), "description": "All values." },
        {
            "type": "object",
            "properties": {
                "choice": { "type": "array", "items": value(), "description": "All values." },
                "range": { "allOf": [ends()], "description": "From the first to before the second, in steps." },
                "step": { "type": "number", "description": "Of `range`. Default: 1." },
                "uniform": { "allOf": [ends()], "description": "Drawn from between the two." },
                "log_uniform": { "allOf": [ends()], "description": "Drawn from between the two, each order of magnitude as often." },
                "integer": { "allOf": [ends()], "description": "Drawn, whole, both ends included." },
                "when": { "type": "object", "description": "It exists only at points that have these values." },
            },
        },
    ],
});

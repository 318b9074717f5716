//! A credential as it is written in a specification, and as it is stored there: without its value.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap};

use super::Credential;

impl Serialize for Credential {
    /// A value is written as kept: nothing that serialises a specification may show it.
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(1))?;
        match self {
            Self::Environment { env, .. } => map.serialize_entry("env", env)?,
            Self::Value(_) | Self::Kept => map.serialize_entry("kept", &true)?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Credential {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Table(BTreeMap<String, Part>),
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Part {
            Text(String),
            Flag(bool),
        }
        let refused = || {
            D::Error::custom(
                "`headers`, `bearer` and `password` each take a text, or { env = \"NAME\" } in a \
                 metadata file",
            )
        };
        // The error of the parts is dropped: it could repeat what was written.
        match Written::deserialize(input).map_err(|_| refused())? {
            Written::Text(text) => Ok(Self::Value(text.into())),
            Written::Table(mut table) => {
                let found = (table.remove("env"), table.remove("kept"), table.is_empty());
                match found {
                    (Some(Part::Text(env)), None, true) => {
                        Ok(Self::Environment { env, value: None })
                    }
                    (None, Some(Part::Flag(true)), true) => Ok(Self::Kept),
                    _ => Err(refused()),
                }
            }
        }
    }
}

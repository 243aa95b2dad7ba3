//! The parts of `Authorization: Basic` (RFC 7617).

use std::fmt;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::MisplacedCredential;

/// What is read from the user id and the password of Basic credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BasicPart {
    /// The user id.
    User,
    /// The password.
    Password,
    /// The user id, or the password if the user id is empty.
    Either,
}

/// Some clients leave the padding out.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl BasicPart {
    /// Whether a text could be read as both parts.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self == other || self == Self::Either || other == Self::Either
    }

    /// The part that the `token68` carries; `None` if it is empty. Without a colon, all of it is the user id.
    pub(super) fn of(self, token: &str) -> Result<Option<String>, MisplacedCredential> {
        let decoded = ENGINE.decode(token).map_err(|_| MisplacedCredential::Undecodable)?;
        let decoded = String::from_utf8(decoded).map_err(|_| MisplacedCredential::Undecodable)?;
        let (user, password) = decoded.split_once(':').unwrap_or((&decoded, ""));
        let part = match self {
            Self::User => user,
            Self::Password => password,
            Self::Either if user.is_empty() => password,
            Self::Either => user,
        };
        Ok(Some(part).filter(|part| !part.is_empty()).map(str::to_owned))
    }
}

impl fmt::Display for BasicPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user id",
            Self::Password => "password",
            Self::Either => "user id or password",
        })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{BasicPart::*, *};

    #[test]
    fn each_part_is_read_by_itself() {
        for (text, user, password, either) in [
            ("id:key", Some("id"), Some("key"), Some("id")),
            ("id:", Some("id"), None, Some("id")),
            (":key", None, Some("key"), Some("key")),
            ("id", Some("id"), None, Some("id")),
            ("id:key:more", Some("id"), Some("key:more"), Some("id")),
            (":", None, None, None),
        ] {
            let token = ENGINE.encode(text);
            for (part, expected) in [(User, user), (Password, password), (Either, either)] {
                assert_eq!(part.of(&token), Ok(expected.map(str::to_owned)), "{text} {part}");
                assert_eq!(part.of(token.trim_end_matches('=')), Ok(expected.map(str::to_owned)));
            }
        }
    }

    #[test]
    fn what_is_not_base64_of_utf8_is_no_credential() {
        for token in ["a", "a-b_", "aWQ6a2V5=aWQ", "/w=="] {
            assert_eq!(User.of(token), Err(MisplacedCredential::Undecodable), "{token}");
        }
    }
}

//! Secrets as types. They have no `Display`, no comparison, and a `Debug` that shows nothing. One accessor
//! with a name that is easy to search for returns the text.

use std::fmt;

use super::Digest;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(String);

        impl $name {
            /// Wraps the secret text.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The secret text. Use it only to send it to its recipient.
            pub fn secret(&self) -> &str {
                &self.0
            }

            /// The SHA-256 digest of the secret text.
            pub fn digest(&self) -> Digest {
                Digest::of(self.0.as_bytes())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}

secret! {
    /// An OAuth2 access token as the caller presented it.
    AccessToken
}
secret! {
    /// A secret that Sidegate itself presents to a provider.
    ProviderSecret
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn debug_does_not_print_the_secret() {
        assert_eq!(format!("{:?}", AccessToken::new("hunter2")), "AccessToken(redacted)");
        assert_eq!(format!("{:?}", ProviderSecret::new("hunter2")), "ProviderSecret(redacted)");
    }
}

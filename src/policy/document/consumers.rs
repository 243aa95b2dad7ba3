//! `consumers`: known callers.

use super::value::{Moment, Sha256};

document! {
    /// A known caller.
    pub struct Consumer {
        /// Its name, unique.
        pub name: String,
        /// Whether it may call at all.
        pub state = default: ConsumerState,
        /// Its plan, unless a binding names another.
        pub plan?: String,
        /// Its API keys.
        pub keys?: Vec<Key>,
        /// Whether metrics show the use of each key.
        pub key_metrics = default: bool,
        /// Its application, as in 3scale.
        pub application?: Application,
        /// OAuth2 client ids that are this consumer.
        pub clients?: Vec<String>,
        /// Sites that its requests may come from, by the host of the `Referer`; `*` covers one or more
        /// characters. Any if absent.
        pub referrers?: Vec<String>,
    }

    /// An id, and keys of which a request presents one.
    pub struct Application {
        /// Its id, unique.
        pub id: String,
        /// Its keys; without any, the id is enough.
        pub keys?: Vec<Key>,
    }

    /// One key, as a digest.
    pub struct Key {
        /// The operator's name for the key.
        pub id?: String,
        /// SHA-256 of the key, in hexadecimal.
        pub sha256: Sha256,
        /// Whether the key is accepted.
        pub state = default: KeyState,
        /// Until this moment the key is refused (RFC 3339).
        pub not_before?: Moment,
        /// From this moment on the key is refused (RFC 3339).
        pub not_after?: Moment,
    }
}

choice! {
    /// Whether a consumer may call at all.
    #[derive(Copy, Default)]
    pub enum ConsumerState {
        /// It may.
        #[default]
        Active,
        /// It may not.
        Suspended,
    }

    /// Whether a key is accepted.
    #[derive(Copy, Default)]
    pub enum KeyState {
        /// It is.
        #[default]
        Active,
        /// It is not.
        Inactive,
    }
}

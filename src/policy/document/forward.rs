//! `forward`: what the service behind an API sees.

use super::value::{Named, Secret};

document! {
    /// What the service behind the API sees.
    pub struct Forward {
        /// Whether credentials are removed from the request.
        #[serde(default = "super::default_true")]
        pub remove_credentials: bool,
        /// The base path that the service has, in place of the API's.
        pub base_path?: String,
        /// Headers to set, by name. Values may hold `{api}` `{rule}` `{consumer}` `{plan}` `{environment}`
        /// `{client_id}` `{subject}` `{scope}` `{claim:PATH}` `{path:NAME}`, or be a secret:
        /// `{env: NAME}`.
        pub headers = default: Named<Secret>,
    }
}

impl Default for Forward {
    fn default() -> Self {
        Self { remove_credentials: true, base_path: None, headers: Named::default() }
    }
}

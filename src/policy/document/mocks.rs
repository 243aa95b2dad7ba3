//! `mock`: responses in the service's place.

use super::value::Named;

document! {
    /// Responses in the service's place.
    pub struct Mock {
        /// Whether they are used. Otherwise requests go to the service.
        #[serde(default = "super::default_true")]
        pub enabled: bool,
        /// The responses; the one with the most specific path answers.
        pub responses?: Vec<MockResponse>,
    }

    /// A response in the service's place.
    pub struct MockResponse {
        /// The path below the base path, as in rules; any path if absent.
        pub path?: String,
        /// Methods; all if absent. `GET` covers `HEAD`.
        pub methods?: Vec<String>,
        /// The status: 200 to 599.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 200, max = 599)))]
        #[serde(default = "default_status")]
        pub status: u16,
        /// Headers, by name. Values may hold the fields of `forward.headers`.
        pub headers = default: Named<String>,
        /// The body. It may hold the fields of `forward.headers`; `{{name}}` stands for the text `{name}`.
        pub body?: String,
    }
}

const fn default_status() -> u16 {
    200
}

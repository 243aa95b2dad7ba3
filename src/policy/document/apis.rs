//! `apis`: hosts and base paths that belong together, and where their credentials sit.

use super::{Access, ApiErrors, Bindings, Forward, Limit, Metering, Mock, Rule, Unmetered, value::Secret};

document! {
    /// Hosts and a base path that belong together.
    pub struct Api {
        /// Its name, unique.
        pub name: String,
        /// Hosts it answers for; any host if absent. `*.example.com` covers every name below.
        pub hosts?: Vec<String>,
        /// The path that all its rules are under.
        pub base_path?: String,
        /// Where credentials sit.
        pub credentials = default: Credentials,
        /// What a request presents that presents no credential itself.
        pub default_credentials?: DefaultCredentials,
        /// The ways in, for rules that name none.
        pub access?: Vec<Access>,
        /// Its rules.
        pub rules: Vec<Rule>,
        /// Responses in the service's place, for rules that have none of their own.
        pub mock?: Box<Mock>,
        /// What requests count; one of `hits` each if absent.
        pub metering?: Vec<Metering>,
        /// What happens to a request that matches no entry of `metering`.
        pub unmetered = default: Unmetered,
        /// Who may call it; every consumer if absent.
        pub bindings?: Bindings,
        /// Limits on top of those of plans.
        pub limits?: Vec<Limit>,
        /// What the service behind the API sees.
        pub forward = default: Forward,
        /// What refused callers get in place of Sidegate's own wording.
        pub errors?: ApiErrors,
        /// Decide, log and count, but never refuse.
        pub shadow = default: bool,
    }

    /// Where credentials sit.
    #[derive(Default)]
    pub struct Credentials {
        /// API keys; the header `apikey` if absent.
        pub api_key?: Vec<Location>,
        /// Ids of applications; the query parameter `app_id` if absent.
        pub app_id?: Vec<Location>,
        /// Keys of applications; the query parameter `app_key` if absent.
        pub app_key?: Vec<Location>,
        /// Access tokens; `authorization: Bearer` if absent.
        pub token?: Vec<Location>,
    }

    /// What a request presents that presents nothing itself: exactly one of `api_key`, `app_id`.
    pub struct DefaultCredentials {
        /// An API key.
        pub api_key?: Secret,
        /// The id of an application.
        pub app_id?: String,
        /// A key of that application.
        pub app_key?: Secret,
    }

    /// One place: exactly one of `header`, `query`, `cookie`, `basic`.
    pub struct Location {
        /// A header, by name.
        pub header?: String,
        /// The authentication scheme that precedes the credential in the header.
        pub scheme?: String,
        /// A query parameter, by name.
        pub query?: String,
        /// A cookie, by name.
        pub cookie?: String,
        /// A part of what `authorization: Basic` carries.
        pub basic?: BasicPart,
    }
}

choice! {
    /// A part of Basic credentials.
    #[derive(Copy)]
    pub enum BasicPart {
        /// The user id.
        User,
        /// The password.
        Password,
        /// The user id, or the password if the user id is empty.
        Either,
    }
}

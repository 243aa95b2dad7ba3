//! `apis[].errors`: what an API says in words of its own.

document! {
    /// What callers of an API get in place of Sidegate's own wording. The code and all other headers stay.
    pub struct ApiErrors {
        /// No credentials: codes 12 and 21.
        pub missing_credentials?: ErrorText,
        /// Credentials that do not help: codes 13, 22, 23 and 27.
        pub refused_credentials?: ErrorText,
        /// A limit is reached: code 14.
        pub limits_exceeded?: ErrorText,
        /// No rule or no metering entry for the request: code 00.
        pub no_match?: ErrorText,
    }

    /// A reply. What is absent stays as it is without it.
    pub struct ErrorText {
        /// The HTTP status: 400 to 599.
        #[cfg_attr(not(target_family = "wasm"), schemars(range(min = 400, max = 599)))]
        pub status?: u16,
        /// The `content-type`; `text/plain; charset=utf-8` if only `body` is given.
        pub content_type?: String,
        /// The body.
        pub body?: String,
    }
}

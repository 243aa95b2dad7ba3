//! `bindings`: what a consumer may do on an API.

use super::Limit;

document! {
    /// Permission of one consumer on one API.
    pub struct Binding {
        /// The consumer's name.
        pub consumer: String,
        /// The plan that applies here instead of the consumer's own.
        pub plan?: String,
        /// What is granted where no entry of `paths` matches; nothing if absent.
        pub allow = default: Grant,
        /// Grants by path inside the API; the first that matches decides.
        pub paths?: Vec<PathGrant>,
        /// Limits of this binding, on top of the plan's.
        pub limits?: Vec<Limit>,
    }

    /// A grant for some paths.
    #[derive(Hash)]
    pub struct PathGrant {
        /// The path inside the API, as in rules.
        pub path?: String,
        /// The path as a regular expression, anchored at both ends.
        pub regex?: String,
        /// What is granted there.
        pub allow: Grant,
    }
}

choice! {
    /// What a binding grants.
    #[derive(Default, Hash)]
    pub enum Grant {
        /// Every method.
        All,
        /// Nothing.
        #[default]
        None,
        /// Some methods. `GET` covers `HEAD`.
        Methods(Vec<String>),
    }
}

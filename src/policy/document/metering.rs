//! `metering`: which requests count how much.

use super::value::Named;

document! {
    /// Which requests count how much of a metric.
    pub struct Metering {
        /// The path below the base path.
        pub path: String,
        /// How the path is read: as a rule's path, or as a 3scale mapping rule's pattern.
        pub r#match = default: MeteringMatch,
        /// Query parameters that must be present; a value `{anything}` stands for any. Of a parameter that
        /// appears several times, any value counts, but the last one if `match` is `prefix`.
        pub query = default: Named<String>,
        /// Methods; all if absent. `GET` covers `HEAD`, unless `match` is `prefix`.
        pub methods?: Vec<String>,
        /// What is counted. Exactly one of `metric`, `metrics`.
        pub metric?: String,
        /// How much, 1 if absent; 0 matches and counts nothing.
        pub by?: u64,
        /// Several metrics that are counted, each with how much.
        pub metrics?: Named<u64>,
        /// Where this rule matches, no later rule counts.
        pub last = default: bool,
    }
}

choice! {
    /// What happens to a request that matches no metering entry.
    #[derive(Copy, Default)]
    pub enum Unmetered {
        /// It counts nothing.
        #[default]
        Admit,
        /// It is refused with code 00, as in 3scale.
        Refuse,
    }

    /// How a metering path is read.
    #[derive(Copy, Default)]
    pub enum MeteringMatch {
        /// As a rule's path.
        #[default]
        Template,
        /// As a 3scale mapping rule's pattern: a prefix, `$` ends it.
        Prefix,
    }
}

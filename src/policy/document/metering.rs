//! `metering`: which requests count how much.

use super::value::Named;

document! {
    /// Which requests count how much of a metric.
    pub struct Metering {
        /// The path below the base path.
        pub path: String,
        /// How the path is read: as a rule's path, or as a 3scale mapping rule's pattern.
        pub r#match = default: MeteringMatch,
        /// Query parameters that must be present; a value `{anything}` stands for any.
        pub query = default: Named<String>,
        /// Methods; all if absent.
        pub methods?: Vec<String>,
        /// What is counted.
        pub metric: String,
        /// How much; 0 matches and counts nothing.
        #[serde(default = "default_by")]
        pub by: u64,
        /// Where this rule matches, no later rule counts.
        pub last = default: bool,
    }
}

choice! {
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

const fn default_by() -> u64 {
    1
}

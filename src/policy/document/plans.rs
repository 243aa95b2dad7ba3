//! `metrics`, `plans` and limits: what is counted, and how much of it is admitted.

use crate::quota::{Of, Shape, Window};

document! {
    /// Something that is counted.
    pub struct Metric {
        /// The metric that usage of this one counts for as well.
        pub parent?: String,
    }

    /// A named set of limits.
    pub struct Plan {
        /// Name of the environment that callers on this plan are routed to.
        pub environment?: String,
        /// The limits.
        pub limits?: Vec<Limit>,
    }

    /// At most `max` of a metric per window.
    #[derive(Hash)]
    pub struct Limit {
        /// What is counted.
        pub metric: String,
        /// How many are admitted per window; 0 disables the metric.
        pub max: u64,
        /// The window.
        pub per: Window,
        /// How the window moves.
        pub window = default: Shape,
        /// Whose usage is counted together.
        pub of = default: Of,
        /// Over which part of the fleet it is counted.
        pub across = default: Across,
        /// The rate limit service that counts it across replicas; may be left out where there is only one.
        pub provider?: String,
        /// Decide, log and count, but never refuse.
        pub shadow = default: bool,
    }
}

choice! {
    /// Over which part of the fleet a limit is counted.
    #[derive(Copy, Default, Hash)]
    pub enum Across {
        /// Each Envoy counts for itself.
        #[default]
        Envoy,
        /// All Envoys count together, by a rate limit service.
        Replicas,
    }
}

//! How properties are tested.

use proptest::{prelude::*, test_runner::FileFailurePersistence};

/// Tests this many cases. The seed of a case that fails is added to a file beside the test, `*.regressions`,
/// and every later run begins with the seeds in it. Those files are committed.
pub fn config(cases: u32) -> ProptestConfig {
    let seeds = FileFailurePersistence::WithSource("regressions");
    ProptestConfig { cases, failure_persistence: Some(Box::new(seeds)), ..ProptestConfig::default() }
}

//! What the cases may cost, in instructions: `make test` fails above it.

use std::{error::Error, fmt::Write as _};

use crate::instructions::Counts;

/// The cases that are needed to check the budgets.
pub const CASES: [&str; 10] = [
    "plain",
    "floor",
    "key_binding_limits",
    "key_bare",
    "refused_key",
    "introspection_cached",
    "key_binding_limits_100k",
    "worst_matching",
    "worst_headers",
    "worst_token",
];

/// What no request may add, whatever the policy, in instructions: about one millisecond.
const MILLISECOND: f64 = 3_000_000.0;

/// The budget of a case.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The case.
    case: &'static str,
    /// The case whose added instructions are the unit.
    unit: &'static str,
    /// What it is to cost.
    budget: f64,
    /// What it may cost at most today. Where the budget is missed this is what was measured, rounded up, so
    /// that it cannot get worse.
    bound: f64,
}

/// All budgets.
pub const BUDGETS: [Budget; 5] = [
    Budget { case: "key_binding_limits", unit: "floor", budget: 1.6, bound: 2.7 },
    Budget { case: "key_bare", unit: "floor", budget: 1.35, bound: 1.85 },
    Budget { case: "refused_key", unit: "floor", budget: 1.0, bound: 1.9 },
    Budget { case: "introspection_cached", unit: "floor", budget: 1.9, bound: 3.2 },
    Budget { case: "key_binding_limits_100k", unit: "key_binding_limits", budget: 1.03, bound: 1.03 },
];

/// A table in Markdown: each budget and what was measured.
pub fn table(counts: &Counts) -> String {
    let mut table = String::from(
        "| case | unit | budget | measured | | `make test` fails above |\n|---|---|---:|---:|---|---:|\n",
    );
    for Budget { case, unit, budget, bound } in BUDGETS {
        let Some(ratio) = counts.ratio(case, unit) else { continue };
        let kept = if ratio <= budget { "kept" } else { "missed" };
        let _ = writeln!(table, "| `{case}` | `{unit}` | {budget:.2} | {ratio:.2} | {kept} | {bound:.2} |");
    }
    for case in worst() {
        let Some(added) = counts.added(case) else { continue };
        let kept = if added <= MILLISECOND { "kept" } else { "missed" };
        let _ = writeln!(
            table,
            "| `{case}` | instructions | {MILLISECOND:.0} | {added:.0} | {kept} | {MILLISECOND:.0} |"
        );
    }
    table
}

fn worst() -> impl Iterator<Item = &'static str> {
    CASES.into_iter().filter(|case| case.starts_with("worst_"))
}

/// Fails if a case costs more than its bound, or was not counted.
pub fn check(counts: &Counts) -> Result<(), Box<dyn Error>> {
    let mut above = Vec::new();
    for Budget { case, unit, bound, .. } in BUDGETS {
        match counts.ratio(case, unit) {
            Some(ratio) if ratio <= bound => {}
            Some(ratio) => above.push(format!("{case} costs {ratio:.3} times `{unit}`, more than {bound}")),
            None => above.push(format!("{case} was not counted")),
        }
    }
    for case in worst() {
        match counts.added(case) {
            Some(added) if added <= MILLISECOND => {}
            Some(added) => {
                above.push(format!("{case} adds {added:.0} instructions, more than {MILLISECOND}"))
            }
            None => above.push(format!("{case} was not counted")),
        }
    }
    if above.is_empty() { Ok(()) } else { Err(above.join("; ").into()) }
}

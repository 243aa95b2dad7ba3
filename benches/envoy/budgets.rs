//! What the cases may cost, in instructions: `make test` fails above it.

use std::{error::Error, fmt::Write as _};

use crate::{
    cases::{NAMES, PLAIN},
    instructions::Counts,
};

/// What a request may add in the worst case, over the same request without Sidegate.
#[derive(Clone, Copy, Debug)]
struct Worst {
    case: &'static str,
    without: &'static str,
    /// What it may cost at most today, in instructions. Where the budget is missed this is what was measured,
    /// rounded up.
    bound: f64,
}

/// The budget of all worst cases, in instructions: about one millisecond.
const MILLISECOND: f64 = 3_000_000.0;

const WORST: [Worst; 3] = [
    Worst { case: "worst_matching", without: "plain_long_target", bound: MILLISECOND },
    Worst { case: "worst_headers", without: "plain_many_headers", bound: MILLISECOND },
    Worst { case: "worst_token", without: "plain", bound: MILLISECOND },
];

impl Worst {
    fn added(self, counts: &Counts) -> Option<f64> {
        Some(counts.total(self.case)? - counts.total(self.without)?)
    }
}

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
    /// that it cannot get worse. Where it is kept by less than two percent this is two percent above it,
    /// because counts of the same build differ by so much.
    bound: f64,
}

/// All budgets.
pub const BUDGETS: [Budget; 10] = [
    Budget { case: "key_binding_limits", unit: "floor", budget: 1.6, bound: 1.63 },
    Budget { case: "key_bare", unit: "floor", budget: 1.35, bound: 1.38 },
    Budget { case: "refused_key", unit: "floor", budget: 1.0, bound: 1.02 },
    Budget { case: "introspection_cached", unit: "floor", budget: 1.9, bound: 1.9 },
    Budget { case: "jwt_cached", unit: "floor", budget: 1.9, bound: 1.9 },
    Budget { case: "jwt_cached", unit: "jwt_introspected", budget: 1.0, bound: 1.02 },
    Budget { case: "threescale_cached", unit: "introspection_cached", budget: 1.0, bound: 1.0 },
    Budget { case: "key_binding_limits_100k", unit: "key_binding_limits", budget: 1.03, bound: 1.03 },
    Budget { case: "mock", unit: "key_proxied", budget: 1.0, bound: 1.0 },
    Budget { case: "replicated_leases", unit: "local_limits", budget: 1.2, bound: 1.2 },
];

/// The cases that are needed to check the budgets, in the order of the table.
pub fn cases() -> Vec<&'static str> {
    let is_needed = |name: &&str| {
        PLAIN.contains(name)
            || BUDGETS.iter().any(|Budget { case, unit, .. }| [case, unit].contains(&name))
            || WORST.iter().any(|Worst { case, without, .. }| [case, without].contains(&name))
    };
    NAMES.into_iter().filter(is_needed).collect()
}

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
    for worst @ Worst { case, without, bound } in WORST {
        let Some(added) = worst.added(counts) else { continue };
        let kept = if added <= MILLISECOND { "kept" } else { "missed" };
        let _ = writeln!(
            table,
            "| `{case}` | instructions over `{without}` | {MILLISECOND:.0} | {added:.0} | {kept} | {bound:.0} |"
        );
    }
    table
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
    for worst @ Worst { case, bound, .. } in WORST {
        match worst.added(counts) {
            Some(added) if added <= bound => {}
            Some(added) => above.push(format!("{case} adds {added:.0} instructions, more than {bound}")),
            None => above.push(format!("{case} was not counted")),
        }
    }
    if above.is_empty() { Ok(()) } else { Err(above.join("; ").into()) }
}

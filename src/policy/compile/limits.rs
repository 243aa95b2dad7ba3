//! Compiles plans and limits.

use std::collections::HashMap;

use crate::quota::{Limit, Metrics};

use super::{
    super::{LimitSets, Of, Plan, value::Named},
    Problem, Report, document, index,
};

/// The compiled plans.
pub(super) struct Plans {
    /// In the order of their names.
    pub(super) list: Vec<Plan>,
    pub(super) by_name: HashMap<String, usize>,
}

pub(super) fn plans(plans: Named<document::Plan>, metrics: &Metrics, report: &mut Report) -> Plans {
    let by_name = index(&plans);
    let list = plans
        .0
        .into_iter()
        .map(|(name, document::Plan { environment, limits })| {
            let path = format!("plans.{name}");
            report.name(&path, &name);
            if let Some(environment) = &environment {
                report.name(&format!("{path}.environment"), environment);
            }
            let limits = compile(limits, metrics, &format!("{path}.limits"), report);
            Plan { name, environment, limits }
        })
        .collect();
    Plans { list, by_name }
}

/// Compiles a list of limits at `path`.
pub(super) fn compile(
    limits: Option<Vec<document::Limit>>,
    metrics: &Metrics,
    path: &str,
    report: &mut Report,
) -> LimitSets {
    let mut sets = LimitSets::new();
    for (place, limit) in report.list(path, limits).into_iter().enumerate() {
        let document::Limit { metric, max, per, window, of } = limit;
        let path = format!("{path}[{place}]");
        if metrics.find(&metric).is_none() {
            report.0.push(Problem::dangling(&format!("{path}.metric"), "metric", &metric));
            continue;
        }
        let Some(limit) =
            report.take(&format!("{path}.window"), Limit::new(metrics, &metric, max, per, window))
        else {
            continue;
        };
        let limit = match of {
            Of::Consumer => limit,
            Of::Client => limit.labelled("client"),
            Of::Subject => limit.labelled("subject"),
            Of::Address => limit.labelled("address"),
            Of::Api => limit.labelled("api"),
        };
        let set = set_of(&mut sets, of);
        if set.iter().any(|other| other.counter() == limit.counter()) {
            report.add(&path, format!("there is a limit of `{metric}` per {per} already"));
            continue;
        }
        set.push(limit);
    }
    sort(&mut sets);
    sets
}

/// Both lists of limits as one; where two are of the same thing, the stricter holds.
pub(super) fn merge(mut sets: LimitSets, further: &LimitSets) -> LimitSets {
    for (of, limits) in further {
        let set = set_of(&mut sets, *of);
        for limit in limits {
            match set.iter_mut().find(|other| other.counter() == limit.counter()) {
                Some(other) if other.max() > limit.max() => *other = limit.clone(),
                Some(_) => {}
                None => set.push(limit.clone()),
            }
        }
    }
    sort(&mut sets);
    sets
}

fn set_of(sets: &mut LimitSets, of: Of) -> &mut Vec<Limit> {
    let place = sets.iter().position(|(other, _)| *other == of).unwrap_or_else(|| {
        sets.push((of, Vec::new()));
        sets.len().saturating_sub(1)
    });
    // The place was found or made above.
    #[expect(clippy::indexing_slicing, reason = "the place is one of this list's")]
    &mut sets[place].1
}

/// Meters are charged in one order everywhere.
fn sort(sets: &mut LimitSets) {
    sets.sort_by_key(|(of, _)| *of as u8);
}

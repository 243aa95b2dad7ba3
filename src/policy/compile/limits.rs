//! Compiles plans and limits.

use std::collections::HashMap;

use super::{
    super::{Plan, document::value::Named, problem::Kind},
    Diagnostics, document, index,
    providers::Providers,
};
use crate::{
    credential::Digest,
    matching::Metrics,
    quota::{Across, Limit, LimitSet, LimitSets, Of, remote::CannotCount},
};

/// The most plans.
const MOST_PLANS: usize = 100_000;

/// The most limits of one list. Each that applies is decided, charged and shown for each request.
const MOST_LIMITS: usize = 32;

/// The compiled plans.
pub(super) struct Plans {
    /// In the order of their names.
    pub(super) list: Vec<Plan>,
    pub(super) by_name: HashMap<String, usize>,
}

/// What limits refer to.
#[derive(Clone, Copy)]
pub(super) struct Basis<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) providers: &'a Providers,
    /// The percentage at which operators are alerted.
    pub(super) alert_at: Option<u8>,
}

pub(super) fn plans(plans: Named<document::Plan>, basis: Basis<'_>, report: &mut Diagnostics) -> Plans {
    report.at_most(MOST_PLANS, "plans", plans.0.len(), "plans");
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
            let limits = compile(limits, Scope::Plan, basis, &format!("{path}.limits"), report);
            Plan { name, environment, limits }
        })
        .collect();
    Plans { list, by_name }
}

/// Where limits are listed: keeps the meters of plans, of bindings and of APIs apart.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    /// In a plan, for all APIs.
    Plan,
    /// In a binding to the API of this name, or in the plan that the binding names.
    Binding(&'a str),
    /// In the API of this name.
    Api(&'a str),
}

impl Scope<'_> {
    fn digest(self, of: Of) -> Digest {
        // Two kinds may have the same payer; in one meter, a request would be charged twice.
        let of = [of as u8];
        match self {
            Self::Plan => Digest::of_parts(&[b"plan", b"", &of]),
            Self::Binding(api) => Digest::of_parts(&[b"binding", api.as_bytes(), &of]),
            Self::Api(api) => Digest::of_parts(&[b"api", api.as_bytes(), &of]),
        }
    }

    /// What a rate limit service calls a limit.
    fn id(self, of: Of, limit: &Limit, metrics: &Metrics) -> Box<str> {
        let (metric, window) = (metrics.name(limit.metric()), limit.window());
        let of = of.name();
        match self {
            Self::Plan => format!("plan/{of}/{metric}/{window}"),
            Self::Binding(api) => format!("binding:{api}/{of}/{metric}/{window}"),
            Self::Api(api) => format!("api:{api}/{of}/{metric}/{window}"),
        }
        .into()
    }
}

/// Compiles a list of limits at `path`.
pub(super) fn compile(
    limits: Option<Vec<document::Limit>>,
    scope: Scope<'_>,
    basis: Basis<'_>,
    path: &str,
    report: &mut Diagnostics,
) -> LimitSets {
    let Basis { metrics, providers, alert_at } = basis;
    let mut sets = LimitSets::new();
    let list = path;
    report.at_most(MOST_LIMITS, "limits", limits.as_ref().map_or(0, Vec::len), path);
    for (place, limit) in report.list(path, limits).into_iter().enumerate() {
        let document::Limit { metric, max, per, window, of, across, provider, shadow } = limit;
        let path = format!("{path}[{place}]");
        if metrics.find(&metric).is_none() {
            report.add_unknown(&format!("{path}.metric"), Kind::Metric, &metric);
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
            Of::Key => limit.labelled("key"),
        };
        let limit = alert_at.into_iter().fold(limit, Limit::alerting_at);
        let limit = match across {
            document::Across::Envoy => {
                if provider.is_some() {
                    report.add(&format!("{path}.provider"), "needs `across: replicas`");
                }
                limit
            }
            document::Across::Replicas => {
                let found = providers.find_service(provider.as_deref(), &path, report);
                let Some(index) = found else { continue };
                let Some(service) = providers.service(index) else { continue };
                let settings = service.settings();
                if let Err(error) = settings.engine.check(max, per, window) {
                    let attribute = match error {
                        CannotCount::Window(_) => "per",
                        CannotCount::Slides => "window",
                        CannotCount::TooLarge => "max",
                    };
                    let rests_on = vec![format!("providers.{}", settings.name)];
                    report.add_resting_on(&format!("{path}.{attribute}"), error, rests_on);
                    continue;
                }
                let leases = settings.leases.is_some();
                let across = Across { leases, provider: index, id: scope.id(of, &limit, metrics) };
                limit.across_replicas(across, settings.fallback.holds())
            }
        };
        let limit = match (shadow, limit.across()) {
            (true, Some(_)) => {
                report.add(
                    &format!("{path}.shadow"),
                    "a limit with `across: replicas` cannot be in shadow mode",
                );
                continue;
            }
            (true, None) => limit.in_shadow(),
            (false, _) => limit,
        };
        let set = set_of(&mut sets, of, scope);
        if set.iter().any(|other| other.counter() == limit.counter()) {
            let message = format!("there is a limit of `{metric}` per {per} already");
            report.add_resting_on(&path, message, vec![list.to_owned()]);
            continue;
        }
        set.push(limit);
    }
    sets
}

/// Both lists of limits as one, in the scope of the first; of two limits of the same thing, the stricter
/// holds. Limits that are counted in different places are different things.
pub(super) fn merge(
    mut sets: LimitSets,
    further: &LimitSets,
    scope: Scope<'_>,
    metrics: &Metrics,
) -> LimitSets {
    let counted_by = |limit: &Limit| limit.across().map(|across| (across.provider, across.leases));
    for LimitSet { of, scope: _, limits } in further {
        let set = set_of(&mut sets, *of, scope);
        for limit in limits {
            let limit = match counted_by(limit) {
                Some((provider, leases)) => {
                    let across = Across { leases, provider, id: scope.id(*of, limit, metrics) };
                    limit.clone().across_replicas(across, limit.holds())
                }
                None => limit.clone(),
            };
            let same = |other: &&mut Limit| {
                other.counter() == limit.counter() && counted_by(other) == counted_by(&limit)
            };
            match set.iter_mut().find(same) {
                Some(other) if other.is_weaker_than(&limit) => *other = limit,
                Some(_) => {}
                None => set.push(limit),
            }
        }
    }
    sets
}

/// The limits of a kind of payer. Meters are charged in one order everywhere, which is that of the sets.
fn set_of<'s>(sets: &'s mut LimitSets, of: Of, scope: Scope<'_>) -> &'s mut Vec<Limit> {
    let place = sets.iter().position(|set| set.of == of).unwrap_or_else(|| {
        let place = sets.iter().take_while(|set| (set.of as u8) < of as u8).count();
        sets.insert(place, LimitSet { of, scope: scope.digest(of), limits: Vec::new() });
        place
    });
    // The place was found or made above.
    #[expect(clippy::indexing_slicing, reason = "the place is one of this list's")]
    &mut sets[place].limits
}

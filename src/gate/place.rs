//! Which API and which rule a request is for.

use super::{
    request::RequestLine,
    trail::{Answering, Trail},
};
use crate::{
    matching::{self, InsidePath, MeteringRule},
    policy::{Api, Policy, Preflight, Responder, Rule, Unmatched, Unmetered},
    query::Query,
    refusal::{Cause, Refusal},
};

/// The API and rule that apply to a request, and what it asks for there.
pub(super) struct Place<'a> {
    pub policy: &'a Policy,
    pub api: &'a Api,
    pub rule: &'a Rule,
    pub method: &'a str,
    /// The path inside the API.
    pub inside: InsidePath<'a>,
    pub query: &'a Query<'a>,
}

/// The result of the search for a rule.
pub(super) enum Found<'a> {
    /// A rule that decides about the request.
    Place(Place<'a>),
    /// Nothing has to be decided: the request passes.
    Open,
}

/// Finds the API and the rule. For a CORS preflight, that is the rule for the method that it asks about.
pub(super) fn find<'a>(
    policy: &'a Policy,
    line: &'a RequestLine<'a>,
    trail: &mut Trail,
) -> Result<Found<'a>, Refusal> {
    let matched = line.path.as_ref().and_then(|path| policy.find_api(line.host.as_deref(), path));
    let Some(matched) = matched else {
        return match policy.unmatched {
            Unmatched::Deny => Err(Cause::NoRoute.because("no API for host and path")),
            Unmatched::Pass => Ok(Found::Open),
        };
    };
    let api =
        policy.api(matched.api).ok_or_else(|| Cause::Internal.because("the matched API does not exist"))?;
    trail.api = Some(matched.api);
    trail.base = matched.base;
    let preflight_for = line.preflight_for.filter(|_| policy.preflight == Preflight::Pass);
    let inside = InsidePath::from(matched.inside);
    let index = match api.table.find(&inside, preflight_for.unwrap_or(line.method)) {
        matching::Found::Rule(index) => index,
        matching::Found::MethodNotAllowed(allow) => {
            let cause = Cause::MethodNotAllowed { allow: allow.to_owned() };
            return Err(cause.because("no rule for the method"));
        }
        matching::Found::None => return Err(Cause::NoRoute.because("no rule for the path")),
    };
    let rule =
        api.rules.get(index).ok_or_else(|| Cause::Internal.because("the matched rule does not exist"))?;
    trail.rule = Some(index);
    trail.answering = match &rule.responder {
        Responder::Service => Answering::Service,
        Responder::Mocks(mocks) => {
            mocks.find(&inside, line.method).map_or(Answering::NoMock, Answering::Mock)
        }
        Responder::Usage => Answering::Usage,
    };
    if preflight_for.is_some() && !rule.denies() {
        return Ok(Found::Open);
    }
    Ok(Found::Place(Place { policy, api, rule, method: line.method, inside, query: &line.query }))
}

impl<'a> Place<'a> {
    /// Adds up what the request uses of each metric, unless that was done before. A request whose credential
    /// is refused costs no metering, unless a provider needs the usage to identify it.
    ///
    /// Returns whether a metering entry matches.
    pub(super) fn meter(&self, trail: &mut Trail) -> bool {
        if let Some(is_metered) = trail.is_metered {
            return is_metered;
        }
        let mut is_metered = false;
        for (entry, rule) in self.metering() {
            trail.metered(entry);
            is_metered = true;
            for (metric, by) in &rule.usages {
                trail.usage.add(&self.policy.metrics, *metric, *by);
            }
        }
        trail.is_metered = Some(is_metered);
        is_metered
    }

    /// Refuses a request that matches no metering entry, if the API wants that.
    pub(super) fn check_metered(&self, trail: &mut Trail) -> Result<(), Refusal> {
        match self.api.unmetered {
            Unmetered::Admit => Ok(()),
            // It uses nothing that could be metered.
            Unmetered::Refuse if trail.answering == Answering::Usage => Ok(()),
            Unmetered::Refuse => {
                let refusal = || Cause::NoRoute.because("no metering entry for the request");
                if self.meter(trail) { Ok(()) } else { Err(refusal()) }
            }
        }
    }

    /// The metering entries that the request matches, with their indexes.
    pub(super) fn metering(&self) -> impl Iterator<Item = (usize, &MeteringRule)> {
        self.api.metering.matching(&self.inside, self.query, self.method)
    }
}

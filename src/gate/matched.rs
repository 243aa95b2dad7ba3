//! A request that matched a rule, on its way to permit or refusal.

use crate::{
    matching::Found,
    policy::{Api, Preflight, Rule},
    refusal::{Reason, Refusal, Ways},
    time::Timestamp,
};

use super::{Edits, Facts, Gate, Step, visit::Visit};

/// What a request asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    /// The path inside the API.
    pub(super) inside: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) address: &'a dyn Fn() -> Option<String>,
}

/// A request with its rule. `edits` makes what holds for the request whoever sent it, once it is needed.
pub(super) struct Matched<'a, S, E> {
    pub(super) gate: &'a Gate<S>,
    pub(super) visit: Visit,
    pub(super) api: &'a Api,
    pub(super) rule: &'a Rule,
    pub(super) asked: Asked<'a>,
    pub(super) now: Timestamp,
    pub(super) edits: E,
}

impl<'a, S, E: FnOnce() -> Edits> Matched<'a, S, E> {
    /// Finds the rule in the API at index `api`. A CORS preflight goes by the rule for the method that it asks about.
    pub(super) fn find(
        gate: &'a Gate<S>,
        mut visit: Visit,
        api: usize,
        asked: Asked<'a>,
        preflight_for: Option<&[u8]>,
        now: Timestamp,
        edits: E,
    ) -> Result<Self, Step> {
        visit.facts.api = Some(api);
        let Some(api) = gate.policy.api(api) else {
            return Err(visit.refuse(
                Vec::new(),
                Refusal::Internal,
                Reason::new("the table names no API"),
                Ways::default(),
            ));
        };
        let preflight_for = preflight_for.filter(|_| gate.policy.preflight == Preflight::Pass);
        let preflight_for = preflight_for.and_then(|method| std::str::from_utf8(method).ok());
        let method = preflight_for.unwrap_or(asked.method);
        let (refusal, reason) = match api.table.find(asked.inside, method) {
            Found::Rule(index) => {
                visit.facts.rule = Some(index);
                match api.rules.get(index) {
                    Some(rule) if preflight_for.is_some() && !rule.denies() => {
                        return Err(visit.permit(edits(), Vec::new()));
                    }
                    Some(rule) => return Ok(Self { gate, visit, api, rule, asked, now, edits }),
                    None => (Refusal::Internal, Reason::new("the table names no rule")),
                }
            }
            Found::MethodNotAllowed(allow) => {
                (Refusal::MethodNotAllowed { allow: allow.to_owned() }, Reason::new("no rule for the method"))
            }
            Found::None => (Refusal::NoRoute, Reason::new("no rule for the path")),
        };
        Err(refuse(visit, api, Vec::new(), refusal, reason, Ways::default(), |_| edits()))
    }

    /// Refuses the request; in shadow mode it passes all the same.
    pub(super) fn refuse(self, refusal: Refusal, reason: Reason) -> Step {
        let edits = self.edits;
        refuse(self.visit, self.api, Vec::new(), refusal, reason, self.rule.ways, |_| edits())
    }

    /// The same for a caller who is known and may call, but not now: with headers for it and, in shadow mode, with what `tell` adds for
    /// the service.
    pub(super) fn refuse_known(
        self,
        headers: Vec<(&'static str, String)>,
        refusal: Refusal,
        reason: Reason,
        tell: impl FnOnce(&mut Edits, &Facts),
    ) -> Step {
        let Self { gate: _, visit, api, rule, asked: _, now: _, edits } = self;
        refuse(visit, api, headers, refusal, reason, rule.ways, |facts| {
            let mut edits = edits();
            tell(&mut edits, facts);
            edits
        })
    }
}

fn refuse(
    mut visit: Visit,
    api: &Api,
    headers: Vec<(&'static str, String)>,
    refusal: Refusal,
    reason: Reason,
    ways: Ways,
    edits: impl FnOnce(&Facts) -> Edits,
) -> Step {
    if api.shadow {
        visit.shadow(refusal.row().digits, reason);
        let edits = edits(&visit.facts);
        return visit.permit(edits, Vec::new());
    }
    visit.refuse(headers, refusal, reason, ways)
}

//! Authorization: may requests of the consumer come from this site, is the consumer active and bound to the
//! API, and does the binding grant the method and path?

use super::{
    identify::{Caller, Credential},
    place::Place,
    request::Request,
    trail::Trail,
};
use crate::{
    access::Binding,
    refusal::{Cause, Refusal},
};

/// What the caller was granted.
pub(super) struct Grant<'a> {
    pub consumer: Option<usize>,
    /// The binding that grants access, if the API has bindings.
    pub binding: Option<&'a Binding>,
    /// The plan of the consumer, or of the application at its provider, unless the binding names another.
    pub own_plan: Option<usize>,
}

/// Checks whether `caller` may use the rule, and records the caller in the trail.
pub(super) fn authorize<'a>(
    place: &Place<'a>,
    caller: Caller,
    request: &Request,
    trail: &mut Trail,
) -> Result<Grant<'a>, Refusal> {
    if let Some(consumer) = caller.consumer
        && !place.policy.consumers.referrers().permit(consumer, request.headers().values("referer"))
    {
        return Err(Cause::Forbidden.because("the referrer is missing or not one of the consumer's"));
    }
    let binding = binding(place, &caller).map_err(|reason| {
        // Kanali's callers expect 13 for every problem with an API key.
        match caller.credential {
            Credential::Key => Cause::KeyRefused.because(reason),
            Credential::None | Credential::Token => Cause::Forbidden.because(reason),
        }
    })?;
    let consumer = caller.consumer.and_then(|consumer| place.policy.consumers.get(consumer));
    let backed_plan = caller.backing.as_ref().and_then(|backing| backing.plan);
    let own_plan = backed_plan.or_else(|| consumer.and_then(|consumer| consumer.plan));
    let bound_plan = binding.and_then(|binding| binding.plan);
    let grant =
        Grant { consumer: caller.consumer, binding, own_plan: own_plan.filter(|_| bound_plan.is_none()) };
    trail.plan = bound_plan.or(own_plan);
    trail.caller = Some(caller);
    Ok(grant)
}

/// The binding that allows the request, if the API has bindings; or why the request is not allowed.
fn binding<'a>(place: &Place<'a>, caller: &Caller) -> Result<Option<&'a Binding>, &'static str> {
    let consumer = caller.consumer.and_then(|consumer| place.policy.consumers.get(consumer));
    if consumer.is_some_and(|consumer| !consumer.active) {
        return Err("the consumer is suspended");
    }
    let bindings = match &place.api.bindings {
        Some(bindings) if caller.credential != Credential::None => bindings,
        _ => return Ok(None),
    };
    let Some(binding) = caller.consumer.and_then(|consumer| bindings.get(consumer)) else {
        return Err("the consumer has no binding on the API");
    };
    if binding.permits(&place.inside, place.method) {
        Ok(Some(binding))
    } else {
        Err("the binding does not grant this method and path")
    }
}

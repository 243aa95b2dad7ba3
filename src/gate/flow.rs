//! The flow: what happens to a request, from top to bottom.

use std::rc::Rc;

use super::{
    authorize::authorize,
    backing::reckon,
    charge::{charge, look},
    ending::{End, Ending},
    identify::identify,
    place::{Found, find},
    request::{Request, RequestLine},
    trail::{Answering, Trail},
};
use crate::{
    policy::Policy,
    ports::Ports,
    refusal::{Cause, Refusal},
    store::Store,
};

/// Decides about `request` by `policy`.
///
/// The future waits only for `ports`. It owns the request and its policy, so replacing the policy does not
/// affect it. If it is dropped while it waits, it gives its charges back.
pub async fn decide<S: Store + 'static>(policy: Rc<Policy>, request: Request, ports: Rc<Ports<S>>) -> Ending {
    let (head, reserved) = request.head(&policy);
    // Boxed, as it goes from here to the ending and is large.
    let mut trail = Box::new(Trail::new(&policy, &head));
    let line = reserved.and_then(|reserved| head.line(&policy, reserved));
    let admitted = match &line {
        Ok(line) => admit(&policy, &request, line, &ports, &mut trail).await,
        Err(malformed) => Err(malformed.clone()),
    };
    let made_id = || ports.id_for(request.stream());
    let end = End { head: &head, line: line.as_ref().ok(), request: &request, made_id: &made_id };
    end.of(admitted, trail)
}

/// Decides whether the request may pass. The trail records what was found out, whether it passes or not.
async fn admit<'r, S: Store + 'static>(
    policy: &'r Policy,
    request: &Request,
    line: &'r RequestLine<'r>,
    ports: &'r Ports<S>,
    trail: &mut Trail,
) -> Result<(), Refusal> {
    let place = match find(policy, line, trail)? {
        Found::Place(place) => place,
        // The request matches no API and the policy allows that, or it is a CORS preflight.
        Found::Open => return Ok(()),
    };
    request.check_parameters(place.api, place.query)?;
    place.check_metered(trail)?;
    let caller = identify(&place, request, ports, trail).await?;
    let grant = authorize(&place, caller, request, trail)?;
    if trail.answering == Answering::Usage {
        trail.standings = look(&place, &grant, request, ports, trail);
        trail.keep_enforced();
        return Ok(());
    }
    let receipt = charge(&place, &grant, request, ports, trail).await?;
    if trail.answering == Answering::NoMock {
        return Err(Cause::NoMock.because("no mocked response for the path and the method"));
    }
    reckon(&place, ports, trail).await?;
    trail.standings = receipt.settle();
    trail.note_alerts();
    if let Some(refusal) = trail.keep_enforced() {
        trail.shadow_refusal = Some(refusal);
    }
    Ok(())
}

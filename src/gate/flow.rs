//! The flow: what happens to a request, from top to bottom.

use std::rc::Rc;

use super::{
    authorize::authorize,
    charge::charge,
    ending::{End, Ending},
    identify::identify,
    place::{Found, find},
    request::{Request, RequestLine},
    trail::Trail,
};
use crate::{policy::Policy, ports::Ports, refusal::Refusal, store::Store};

/// Decides about `request` by `policy`.
///
/// The future waits only for `ports`. It owns the request and its policy, so replacing the policy does not
/// affect it. If it is dropped while it waits, it gives its charges back.
pub async fn decide<S: Store>(policy: Rc<Policy>, request: Request, ports: Rc<Ports<S>>) -> Ending {
    let head = request.head();
    // Boxed, as it goes from here to the ending and is large.
    let mut trail = Box::new(Trail::new(&policy, &head));
    let line = request.check_reserved(&policy).and_then(|()| head.line(&policy));
    let (line, admitted) = match line {
        Ok(line) => {
            let admitted = admit(&policy, &request, &line, &ports, &mut trail).await;
            (Some(line), admitted)
        }
        Err(malformed) => (None, Err(malformed)),
    };
    let end = End { head: &head, line: line.as_ref(), request: &request, now: ports.now() };
    end.of(admitted, trail)
}

/// Decides whether the request may pass. The trail records what was found out, whether it passes or not.
async fn admit<S: Store>(
    policy: &Policy,
    request: &Request,
    line: &RequestLine<'_>,
    ports: &Ports<S>,
    trail: &mut Trail,
) -> Result<(), Refusal> {
    let place = match find(policy, line, trail)? {
        Found::Place(place) => place,
        // The request matches no API and the policy allows that, or it is a CORS preflight.
        Found::Open => return Ok(()),
    };
    let caller = identify(&place, request, ports, trail).await?;
    let grant = authorize(&place, caller, trail)?;
    let receipt = charge(&place, &grant, request, ports, trail)?;
    trail.standings = receipt.settle();
    Ok(())
}

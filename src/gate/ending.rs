//! How a request ends. Only the gate can create an ending.

use std::borrow::Cow;

use super::{
    backing::Coded,
    explain::explain,
    mock::respond,
    request::{Head, Request, RequestLine},
    trail::{Answering, Trail},
    usage,
};
use crate::{
    forward::{Edits, Field, Stripping},
    headers::HeaderList,
    matching::RequestPath,
    policy::Responder,
    quota,
    refusal::{CORRELATION, Refusal, render},
    reply::{Protocol, Reply},
};

/// How a request ends.
#[derive(Debug)]
pub enum Ending {
    /// The request goes on to the service.
    Permit(Permit),
    /// The request is refused.
    Refused(Box<Refused>),
    /// The request passed, and is answered in the service's place.
    Answer(Box<Answer>),
}

/// Proof that a request passed, with the changes to make to it. Only a permit resumes a request.
#[derive(Debug)]
pub struct Permit {
    edits: Edits,
    response_headers: HeaderList,
    correlation: Option<String>,
    protocol: Protocol,
    trail: Box<Trail>,
}

/// Proof that a request was refused, with the reply to it.
#[derive(Debug)]
pub struct Refused {
    refusal: Refusal,
    reply: Reply,
    protocol: Protocol,
    trail: Box<Trail>,
}

/// A request that passed and is answered in the service's place.
#[derive(Debug)]
pub struct Answer {
    permit: Permit,
    reply: Reply,
}

/// A decided request, with everything that its ending is made from.
pub(super) struct End<'a> {
    pub request: &'a Request,
    pub head: &'a Head<'a>,
    /// `None` if the request line is malformed.
    pub line: Option<&'a RequestLine<'a>>,
    /// Makes an id for a request without one of its own.
    pub made_id: &'a dyn Fn() -> String,
}

// === impl End ===

impl End<'_> {
    /// The ending of a request that was `admitted` or not. This is the only place where shadow mode lets a
    /// refused request pass.
    pub(super) fn of(&self, admitted: Result<(), Refusal>, mut trail: Box<Trail>) -> Ending {
        let in_shadow = trail.matched_api().is_some_and(|api| api.shadow)
            || trail.matched_rule().is_some_and(|rule| rule.shadow);
        match admitted {
            Err(refusal) if !in_shadow => Ending::Refused(Box::new(self.refused(refusal, trail))),
            admitted => {
                trail.refusal = admitted.err().or_else(|| trail.shadow_refusal.take());
                match self.answer(&trail) {
                    Some(reply) => {
                        let permit = self.permit(Edits::default(), trail);
                        Ending::Answer(Box::new(permit.answered(reply)))
                    }
                    None => Ending::Permit(self.permit(self.edits(&trail), trail)),
                }
            }
        }
    }

    /// What answers a request that passes, in the service's place.
    fn answer(&self, trail: &Trail) -> Option<Reply> {
        let index = match trail.answering {
            Answering::Mock(index) => index,
            // The limits of a preflight are unknown, and those of a request that only shadow mode admits.
            Answering::Usage if trail.caller.is_some() && trail.refusal.is_none() => {
                return Some(usage::report(&trail.policy.metrics, &trail.standings));
            }
            Answering::Service | Answering::NoMock | Answering::Usage => return None,
        };
        let Responder::Mocks(mocks) = &trail.matched_rule()?.responder else { return None };
        let mock = mocks.get(index)?;
        Some(respond(mock, |field| match field {
            Field::Path(name) => mock.parameters.value(name, self.inside(trail)).map(Cow::Borrowed),
            _ => trail.field(field),
        }))
    }

    /// The changes to a request that goes on to the service.
    fn edits(&self, trail: &Trail) -> Edits {
        let api = trail.matched_api();
        let stripping = Stripping {
            reserved: self.line.map(|line| &line.reserved),
            credentials: api.filter(|api| api.remove_credentials).map(|api| &api.locations),
        };
        let target = self.line.and_then(|line| Some((line.path.as_ref()?, &line.query)));
        let rebased = api.and_then(|api| api.target.as_ref()).map(|target| (target, trail.base));
        let mut edits = Edits::strip(stripping, self.request.headers(), target, rebased);
        if let (Some(api), Some(_)) = (api, &trail.caller) {
            edits.identify(&api.headers, |field| match field {
                Field::Path(name) => {
                    trail.matched_rule()?.parameters.value(name, self.inside(trail)).map(Cow::Borrowed)
                }
                _ => trail.field(field),
            });
        }
        edits
    }

    /// The path inside the API.
    fn inside(&self, trail: &Trail) -> &str {
        let path = self.line.and_then(|line| line.path.as_ref()).map(RequestPath::path).unwrap_or_default();
        path.get(trail.base..).filter(|inside| !inside.is_empty()).unwrap_or("/")
    }

    #[inline]
    fn permit(&self, edits: Edits, trail: Box<Trail>) -> Permit {
        let mut response_headers = match &trail.refusal {
            // Shadow mode admits it in spite of these limits.
            Some(_) if trail.standings.iter().any(|standing| standing.refuses) => HeaderList::new(),
            Some(_) | None => quota::headers(trail.policy.rate_limit_headers, &trail.standings),
        };
        explain(&trail, &mut response_headers);
        let correlation = trail.refusal.is_some().then(|| self.correlation());
        Permit { edits, response_headers, correlation, protocol: self.head.protocol, trail }
    }

    fn refused(&self, refusal: Refusal, mut trail: Box<Trail>) -> Refused {
        let mut further = quota::headers(trail.policy.rate_limit_headers, &trail.standings);
        explain(&trail, &mut further);
        let recipient = trail.recipient(self.request.asked_format(self.head.accept));
        let texts = trail.matched_api().and_then(|api| api.texts.as_ref());
        let text = texts.and_then(|texts| texts.of(&refusal.cause));
        let reply =
            render(&refusal.cause, &trail.policy.replies, &recipient, text, self.correlation(), further);
        trail.refusal = Some(refusal.clone());
        Refused { refusal, reply, protocol: self.head.protocol, trail }
    }

    /// The id for finding the request in logs: its own, or one that is made for it.
    fn correlation(&self) -> String {
        self.head.own_id().map_or_else(self.made_id, str::to_owned)
    }
}

// === impl Ending ===

impl Ending {
    /// What was found out about the request.
    pub fn trail(&self) -> &Trail {
        match self {
            Self::Permit(permit) => &permit.trail,
            Self::Refused(refused) => &refused.trail,
            Self::Answer(answer) => &answer.permit.trail,
        }
    }
}

impl Permit {
    /// The changes to make to the request before it goes on.
    pub const fn edits(&self) -> &Edits {
        &self.edits
    }

    /// The id for finding the request in logs; `None` unless it passed only because of shadow mode.
    pub fn correlation(&self) -> Option<&str> {
        self.correlation.as_deref()
    }

    /// What was found out about the request.
    pub const fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Headers to add to the service's response.
    pub fn into_response_headers(self) -> HeaderList {
        self.response_headers
    }

    /// Takes what wants to know the status of the answer.
    pub fn take_coded(&mut self) -> Option<Box<Coded>> {
        self.trail.coded.take()
    }

    /// Turns the permit into an answer: the request gets `reply` in the service's place.
    pub fn answered(self, mut reply: Reply) -> Answer {
        reply.headers.append(self.response_headers.clone());
        Answer { permit: self, reply }
    }
}

impl Refused {
    /// Why the request was refused.
    pub const fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// The reply that the caller gets.
    pub const fn reply(&self) -> &Reply {
        &self.reply
    }

    /// The protocol of the reply.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The id for finding the request in logs.
    pub fn correlation(&self) -> &str {
        self.reply.headers.get(CORRELATION).unwrap_or_default()
    }

    /// What was found out about the request.
    pub const fn trail(&self) -> &Trail {
        &self.trail
    }
}

impl Answer {
    /// Takes what wants to know the status of the answer.
    pub fn take_coded(&mut self) -> Option<Box<Coded>> {
        self.permit.take_coded()
    }

    /// The reply that the caller gets.
    pub const fn reply(&self) -> &Reply {
        &self.reply
    }

    /// The protocol of the reply.
    pub const fn protocol(&self) -> Protocol {
        self.permit.protocol
    }

    /// The id for finding the request in logs; `None` unless it passed only because of shadow mode.
    pub fn correlation(&self) -> Option<&str> {
        self.permit.correlation()
    }

    /// What was found out about the request.
    pub const fn trail(&self) -> &Trail {
        &self.permit.trail
    }
}

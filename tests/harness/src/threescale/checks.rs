//! What the stand-in answers: the order of checks, rejection codes and raised errors.

use jiff::Timestamp;

use super::{
    account::{Application, Counted, Kind, Period, Service, Usage},
    parameters::Parameters,
};

/// A raised error: a status with a code, or with an empty body.
#[derive(Debug)]
pub(super) struct Raised {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// A decision about an application.
#[derive(Debug)]
pub(super) struct Status<'a> {
    pub(super) application: &'a Application,
    pub(super) usage: Usage,
    /// The code of the rejection and its text.
    pub(super) rejected: Option<(&'static str, String)>,
    pub(super) has_usage: bool,
}

pub(super) const fn raised(status: u16, code: &'static str, message: String) -> Raised {
    Raised { status, code, message }
}

/// The service that a call is about, if it may be made.
pub(super) fn service<'a>(services: &'a [Service], call: &Parameters) -> Result<&'a Service, Raised> {
    let id = call.get("service_id");
    if let Some(token) = call.get("service_token") {
        let Some(id) = id else {
            return Err(raised(422, "service_id_missing", "a token needs a service".to_owned()));
        };
        if !services.iter().any(|service| service.id == id) && services.iter().any(|s| s.token == token) {
            return Err(raised(403, "service_id_invalid", format!("no service \"{id}\"")));
        }
        return services
            .iter()
            .find(|service| service.id == id && service.token == token)
            .ok_or_else(|| raised(403, "service_token_invalid", format!("no token \"{token}\" here")));
    }
    let Some(key) = call.get("provider_key") else {
        return Err(raised(403, "provider_key_or_service_token_required", "who are you".to_owned()));
    };
    let mut own = services.iter().filter(|service| service.provider_key.as_deref() == Some(key)).peekable();
    if own.peek().is_none() {
        return Err(raised(403, "provider_key_invalid", format!("no account has the key \"{key}\"")));
    }
    match id {
        None => own.next(),
        Some(id) => own.find(|service| service.id == id),
    }
    .ok_or_else(|| raised(403, "service_id_invalid", format!("no service \"{}\"", id.unwrap_or_default())))
}

/// The usage that a call names, with that of the metrics above.
pub(super) fn usage(service: &Service, call: &Parameters, flat: bool) -> Result<Usage, Raised> {
    let mut usage = Usage::new();
    for (metric, value) in call.within("usage") {
        let amount: u64 = value.parse().map_err(|_| {
            raised(403, "usage_value_invalid", format!("\"{value}\" is no usage of \"{metric}\""))
        })?;
        if !service.metrics.iter().any(|(name, _)| name == metric) {
            return Err(raised(404, "metric_invalid", format!("no metric \"{metric}\"")));
        }
        let counted = if flat { 1 } else { usize::MAX };
        for metric in service.with_ancestors(metric).take(counted) {
            *usage.entry(metric.to_owned()).or_default() += amount;
        }
    }
    Ok(usage)
}

/// The application that a call is about.
pub(super) fn application<'a>(service: &'a Service, call: &Parameters) -> Result<&'a Application, Raised> {
    let (id, key) = (call.get("app_id"), call.get("user_key"));
    if id.is_some() && key.is_some() {
        return Err(raised(403, "authentication_error", "one application at a time".to_owned()));
    }
    if let Some(id) = id.filter(|_| service.kind != Kind::UserKey) {
        return service
            .applications
            .iter()
            .find(|application| application.id == id)
            .ok_or_else(|| raised(404, "application_not_found", format!("no application \"{id}\"")));
    }
    let key = key.unwrap_or_default();
    if service.kind != Kind::UserKey {
        return Err(raised(404, "application_not_found", "no application".to_owned()));
    }
    service
        .applications
        .iter()
        .find(|application| application.user_key.as_deref() == Some(key))
        .ok_or_else(|| raised(403, "user_key_invalid", format!("no application has the key \"{key}\"")))
}

/// Checks in the backend's order; the first failure is the reason. The texts are not escaped.
pub(super) fn status<'a>(
    service: &'a Service,
    call: &Parameters,
    counted: &Counted,
    (is_oauth, flat): (bool, bool),
    now: Timestamp,
) -> Result<Status<'a>, Raised> {
    for (metric, value) in call.within("usage") {
        if value.parse::<u64>().is_err() {
            let message = format!("\"{value}\" is no usage of \"{metric}\"");
            return Err(raised(403, "usage_value_invalid", message));
        }
    }
    let application = application(service, call)?;
    let usage = usage(service, call, flat)?;
    let has_usage = call.within("usage").next().is_some();
    let rejected = rejection(service, application, call, is_oauth);
    let exceeds = |(metric, period, max): &(String, Period, u64)| {
        let current = counted.current(&application.id, metric, *period, now);
        match usage.get(metric) {
            Some(amount) => current + amount > *max,
            None => !has_usage && current > *max,
        }
    };
    let limits = || limits(service, application);
    let rejected = rejected
        .or_else(|| limits().any(exceeds).then(|| ("limits_exceeded", "usage beyond a limit".to_owned())));
    Ok(Status { application, usage, rejected, has_usage })
}

/// The limits of the application's plan.
pub(super) fn limits<'a>(
    service: &'a Service,
    application: &Application,
) -> impl Iterator<Item = &'a (String, Period, u64)> {
    service.plans.iter().filter(|plan| plan.name == application.plan).flat_map(|plan| &plan.limits)
}

fn rejection(
    service: &Service,
    application: &Application,
    call: &Parameters,
    is_oauth: bool,
) -> Option<(&'static str, String)> {
    if is_oauth && service.kind != Kind::OAuth {
        return Some(("oauth_not_enabled", "the service takes no OAuth".to_owned()));
    }
    let key = call.raw("app_key");
    let key_counts = match service.kind {
        Kind::UserKey => false,
        Kind::AppId => !application.keys.is_empty(),
        // Without a key, the client was authenticated elsewhere.
        Kind::OAuth => key.is_some(),
    };
    let key = key.unwrap_or_default();
    if key_counts && !application.keys.iter().any(|own| own == key) {
        return Some(("application_key_invalid", format!("\"{key}\" is no key of the application")));
    }
    if service.demands_referrers && !application.referrers.is_empty() {
        let referrer = call.get("referrer").unwrap_or_default();
        if !application.admits_referrer(referrer) {
            return Some(("referrer_not_allowed", format!("\"{referrer}\" may not refer")));
        }
    }
    if !application.active {
        return Some(("application_not_active", "the application is suspended".to_owned()));
    }
    (!service.active).then(|| ("service_not_active", "the service is suspended".to_owned()))
}

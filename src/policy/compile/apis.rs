//! Compiles APIs: where they are, what they ask for, what the service behind them sees.

use std::{cell::OnceCell, collections::HashSet};

use super::{
    super::{Access, Api, Unmetered},
    Diagnostics, Names, bindings, credentials,
    diagnostics::check_name,
    document, errors, forward,
    limits::{self, Scope},
    metering::{self, Applying},
    mocks,
    rules::{self, Common},
};
use crate::matching::{ApiTable, BasePath, HostPattern};

/// The most APIs.
const MOST_APIS: usize = 250_000;

/// The most rules, and the most hosts, of all APIs.
const MOST_RULES: usize = 250_000;

/// The most bindings of all APIs.
const MOST_BINDINGS: usize = 500_000;

/// Compiles the APIs and the table that finds them.
pub(super) fn compile(
    apis: Vec<document::Api>,
    names: &Names,
    report: &mut Diagnostics,
) -> (Vec<Api>, ApiTable) {
    let apis = report.list("apis", Some(apis));
    let all = |count: &dyn Fn(&document::Api) -> usize| apis.iter().map(count).sum();
    let bounds = [
        ("APIs", MOST_APIS, apis.len()),
        ("rules", MOST_RULES, all(&|api| api.rules.len())),
        ("bindings", MOST_BINDINGS, all(&|api| api.bindings.as_ref().map_or(0, document::Bindings::len))),
        ("hosts", MOST_RULES, all(&|api| api.hosts.as_ref().map_or(0, Vec::len))),
    ];
    for (what, most, count) in bounds {
        report.at_most(most, what, count, "apis");
    }
    let mut places = Vec::with_capacity(apis.len());
    let mut compiled: Vec<Api> = Vec::with_capacity(apis.len());
    let mut known = HashSet::with_capacity(apis.len());
    for (index, mut api) in apis.into_iter().enumerate() {
        // Paths are made only where they are needed: there may be a hundred thousand APIs.
        let path = || format!("apis[{index}]");
        if !known.insert(api.name.clone()) {
            report.add(&format!("{}.name", path()), format!("there is an API `{}` already", api.name));
        }
        places.push(place(api.hosts.take(), api.base_path.take(), &path, report));
        let base_path = places.last().map(|(_, base_path)| base_path);
        compiled.push(compile_one(api, base_path, names, &path(), report));
    }
    let table = ApiTable::build(places.iter().map(|(hosts, base_path)| (hosts.as_slice(), base_path)));
    let table = table.unwrap_or_else(|conflicts| {
        for conflict in conflicts {
            let host = conflict.host.map_or_else(|| "any host".to_owned(), |host| format!("host `{host}`"));
            let (first, second) = (conflict.first, conflict.second);
            if first == second {
                report.add(&format!("apis[{second}].hosts"), format!("{host} is listed twice"));
            } else {
                let name = compiled.get(first).map_or("", |api| &api.name);
                let message = format!("API `{name}` has the same base path for {host}");
                let rests_on = [first, second]
                    .map(|api| ["hosts", "base_path"].map(|part| format!("apis[{api}].{part}")));
                report.add_resting_on(&format!("apis[{second}].base_path"), message, rests_on.concat());
            }
        }
        ApiTable::default()
    });
    (compiled, table)
}

fn place(
    hosts: Option<Vec<String>>,
    base_path: Option<String>,
    path: &dyn Fn() -> String,
    report: &mut Diagnostics,
) -> (Vec<HostPattern>, BasePath) {
    if hosts.as_ref().is_some_and(Vec::is_empty) {
        report.add_empty(&format!("{}.hosts", path()));
    }
    let hosts = hosts.unwrap_or_default();
    let hosts = hosts.iter().enumerate().filter_map(|(place, host)| {
        report.take_at(|| format!("{}.hosts[{place}]", path()), HostPattern::parse(host))
    });
    let hosts = hosts.collect();
    let base_path = base_path.and_then(|base_path| {
        report.take_at(|| format!("{}.base_path", path()), BasePath::parse(&base_path))
    });
    (hosts, base_path.unwrap_or_default())
}

fn compile_one(
    api: document::Api,
    base_path: Option<&BasePath>,
    names: &Names,
    path: &str,
    report: &mut Diagnostics,
) -> Api {
    let document::Api {
        name,
        hosts: _,
        base_path: _,
        credentials,
        default_credentials,
        access,
        rules,
        mock,
        metering,
        unmetered,
        bindings,
        limits,
        forward,
        errors,
        shadow,
    } = api;
    report.take_at(|| format!("{path}.name"), check_name(&name));
    // Nothing is to report of what is absent.
    let at = |is_given: bool, attribute: &str| {
        if is_given { format!("{path}.{attribute}") } else { String::new() }
    };
    let places = credentials::places(credentials, path, report);
    let default_credentials = default_credentials.and_then(|default| {
        credentials::default(default, names, &format!("{path}.default_credentials"), report)
    });
    let document::Forward { remove_credentials, base_path: target, headers } = forward;
    let mocking = mocks::compile(mock, None, names, &|| format!("{path}.mock"), report);
    let forwards_parameters = headers.0.values().any(forward::holds_parameter);
    let common = Common { access, mocking, credentials: &places, forwards_parameters };
    let (table, rules) = rules::compile(rules, common, names, path, report);
    if let Some(default) = &default_credentials {
        credentials::check_default(default, &rules, names, path, report);
    }
    let takes_applications = rules.iter().any(|rule| rule.access.iter().any(Access::takes_applications));
    let places = places.without_unused(takes_applications);
    let limits_path = at(limits.is_some(), "limits");
    let limits = limits::compile(limits, Scope::Api(&name), names.basis(), &limits_path, report);
    let bindings = bindings
        .map(|bindings| bindings::compile(bindings, &name, names, &format!("{path}.bindings"), report));
    // Without bindings, every consumer may call. The limits of all their plans are collected once.
    let own = metering.as_ref().map(|_| Applying::of_api(&limits, bindings.as_ref(), names));
    let all = Some(&names.applying).filter(|_| bindings.is_none());
    let applying: Vec<_> = own.iter().chain(all).collect();
    if unmetered == Unmetered::Refuse && metering.is_none() {
        report.add_resting_on(
            &format!("{path}.unmetered"),
            "without `metering` every request is metered",
            vec![format!("{path}.metering")],
        );
    }
    let metering_path = at(metering.is_some(), "metering");
    let metering = metering::compile(metering, names, &applying, &metering_path, report);
    let target = target
        .and_then(|target| report.take_at(|| format!("{path}.forward.base_path"), BasePath::parse(&target)));
    let headers_path = at(!headers.0.is_empty(), "forward.headers");
    let headers = forward::headers(headers, &forward::RESERVED, names, &headers_path, report);
    for (header, parameter) in forward::path_parameters(&headers) {
        if !rules.iter().any(|rule| rule.parameters.contain(parameter)) {
            let message = format!("no rule of the API has a parameter `{parameter}` in its path");
            let rests_on = vec![format!("{path}.rules")];
            report.add_resting_on(&format!("{headers_path}.{header}"), message, rests_on);
        }
    }
    let texts = errors.map(|errors| Box::new(errors::texts(errors, &format!("{path}.errors"), report)));
    Api {
        payer: OnceCell::new(),
        name,
        table,
        rules,
        locations: places.all(),
        key_locations: places.keys(),
        app_id_locations: places.app_ids(),
        app_key_locations: places.app_keys(),
        token_locations: places.tokens(),
        default_credentials,
        metering,
        unmetered,
        bindings,
        limits,
        remove_credentials,
        target: target.filter(|target| Some(target) != base_path),
        headers,
        texts,
        shadow,
    }
}

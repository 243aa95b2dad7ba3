//! Compiles APIs: where they are, what they ask for, what the service behind them sees.

use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use crate::{
    access::{Binding, Grant},
    credential::{InvalidLocation, Location},
    gate::{OWN_PREFIX, Template},
    matching::{
        ApiTable, BasePath, HostPattern, Metering, MeteringPath, MeteringRule, Methods, PathPattern,
        PrefixPattern, QueryValue,
    },
    quota::Limit,
};

use super::{
    super::{Api, LimitSets, value::Named},
    DEFAULT_METRIC, Names, Report, document,
    limits::{self, Scope},
    rules::{self, methods, pattern},
};

/// Compiles the APIs and the table that finds them.
pub(super) fn compile(apis: Vec<document::Api>, names: &Names, report: &mut Report) -> (Vec<Api>, ApiTable) {
    let apis = report.list("apis", Some(apis));
    let mut places = Vec::with_capacity(apis.len());
    let mut compiled: Vec<Api> = Vec::with_capacity(apis.len());
    for (index, mut api) in apis.into_iter().enumerate() {
        let path = format!("apis[{index}]");
        if compiled.iter().any(|other| other.name == api.name) {
            report.add(&format!("{path}.name"), format!("there is an API `{}` already", api.name));
        }
        places.push(place(api.hosts.take(), api.base_path.take(), &path, report));
        compiled.push(compile_one(api, names, &path, report));
    }
    let table = ApiTable::build(places.iter().map(|(hosts, base_path)| (hosts.as_slice(), base_path)));
    let table = table.unwrap_or_else(|conflicts| {
        for conflict in conflicts {
            let host = conflict.host.map_or_else(|| "any host".to_owned(), |host| format!("host `{host}`"));
            if conflict.first == conflict.second {
                report.add(&format!("apis[{}].hosts", conflict.second), format!("{host} is named twice"));
            } else {
                let message = format!("the same base path for {host} as apis[{}]", conflict.first);
                report.add(&format!("apis[{}].base_path", conflict.second), message);
            }
        }
        ApiTable::default()
    });
    (compiled, table)
}

fn place(
    hosts: Option<Vec<String>>,
    base_path: Option<String>,
    path: &str,
    report: &mut Report,
) -> (Vec<HostPattern>, BasePath) {
    let hosts = report
        .list(&format!("{path}.hosts"), hosts)
        .iter()
        .enumerate()
        .filter_map(|(place, host)| report.take(&format!("{path}.hosts[{place}]"), HostPattern::parse(host)))
        .collect();
    let base_path = base_path
        .and_then(|base_path| report.take(&format!("{path}.base_path"), BasePath::parse(&base_path)));
    (hosts, base_path.unwrap_or_default())
}

fn compile_one(api: document::Api, names: &Names, path: &str, report: &mut Report) -> Api {
    let document::Api {
        name,
        hosts: _,
        base_path: _,
        credentials,
        access,
        rules,
        metering,
        bindings,
        limits,
        forward,
        shadow,
    } = api;
    report.name(&format!("{path}.name"), &name);
    let document::Credentials { api_key, token } = credentials;
    let key_locations =
        locations(api_key, Location::header("apikey", None), &format!("{path}.credentials.api_key"), report);
    let bearer = Location::header("authorization", Some("Bearer"));
    let token_locations = locations(token, bearer, &format!("{path}.credentials.token"), report);
    if key_locations.iter().any(|key| token_locations.iter().any(|token| key.overlaps(token))) {
        report.add(&format!("{path}.credentials"), "an API key and a token cannot sit in the same place");
    }
    let (table, rules) = rules::compile(rules, access, names, path, report);
    let limits = limits::compile(limits, Scope::Api(&name), names.metrics, &format!("{path}.limits"), report);
    let bindings = bindings
        .map(|bindings| compile_bindings(bindings, &name, names, &format!("{path}.bindings"), report));
    let applying = applying_limits(&limits, bindings.as_ref(), names);
    let metering = compile_metering(metering, names, &applying, &format!("{path}.metering"), report);
    let document::Forward { remove_credentials, headers } = forward;
    let headers = forward_headers(headers, &format!("{path}.forward.headers"), report);
    Api {
        name,
        table,
        rules,
        locations: [key_locations.as_slice(), &token_locations].concat(),
        key_locations,
        token_locations,
        metering,
        bindings,
        limits,
        remove_credentials,
        headers,
        shadow,
    }
}

fn locations(
    locations: Option<Vec<document::Location>>,
    default: Result<Location, InvalidLocation>,
    path: &str,
    report: &mut Report,
) -> Vec<Location> {
    let Some(locations) = locations else {
        return default.into_iter().collect();
    };
    let mut compiled: Vec<Location> = Vec::new();
    for (place, location) in report.list(path, Some(locations)).into_iter().enumerate() {
        let path = format!("{path}[{place}]");
        let location = match location {
            document::Location { header: Some(name), scheme, query: None, cookie: None } => {
                report.take(&path, Location::header(&name, scheme.as_deref()))
            }
            document::Location { header: None, scheme: None, query: Some(name), cookie: None } => {
                report.take(&path, Location::query(&name))
            }
            document::Location { header: None, scheme: None, query: None, cookie: Some(name) } => {
                report.take(&path, Location::cookie(&name))
            }
            _ => {
                report
                    .add(&path, "give exactly one of `header` (with or without `scheme`), `query`, `cookie`");
                None
            }
        };
        let Some(location) = location else { continue };
        if compiled.iter().any(|other| other.overlaps(&location)) {
            report.add(&path, "the same place as another entry");
        }
        compiled.push(location);
    }
    compiled
}

fn compile_bindings(
    bindings: Vec<document::Binding>,
    api: &str,
    names: &Names,
    path: &str,
    report: &mut Report,
) -> HashMap<usize, Binding> {
    let mut compiled = HashMap::with_capacity(bindings.len());
    for (place, binding) in report.list(path, Some(bindings)).into_iter().enumerate() {
        // Paths are made only where they are needed: there may be a hundred thousand bindings.
        let document::Binding { consumer, plan, allow, paths, limits } = binding;
        let path = || format!("{path}[{place}]");
        let plan = plan
            .and_then(|plan| report.find(|| format!("{}.plan", path()), "plan", &plan, &names.plans.by_name));
        let own = match limits {
            Some(limits) => limits::compile(
                Some(limits),
                Scope::Binding(api),
                names.metrics,
                &format!("{}.limits", path()),
                report,
            ),
            None => LimitSets::new(),
        };
        let limits = match plan.and_then(|plan| names.plans.list.get(plan)) {
            Some(plan) => limits::merge(own, &plan.limits, Scope::Binding(api)),
            None => own,
        };
        let allow = grant(allow, &path, report);
        let paths = match paths {
            Some(paths) => path_grants(paths, &path, report),
            None => Vec::new(),
        };
        let consumer_path = || format!("{}.consumer", path());
        let Some(index) = report.find(consumer_path, "consumer", &consumer, &names.consumers.by_name) else {
            continue;
        };
        if compiled.insert(index, Binding { plan, limits, allow, paths }).is_some() {
            report.add(&consumer_path(), format!("`{consumer}` has a binding here already"));
        }
    }
    compiled
}

fn path_grants(
    paths: Vec<document::PathGrant>,
    path: &dyn Fn() -> String,
    report: &mut Report,
) -> Vec<(PathPattern, Grant)> {
    let paths = report.list(&format!("{}.paths", path()), Some(paths));
    let mut compiled: Vec<(PathPattern, Grant)> = Vec::with_capacity(paths.len());
    for (place, document::PathGrant { path: template, regex, allow }) in paths.into_iter().enumerate() {
        let path = || format!("{}.paths[{place}]", path());
        let allow = grant(allow, &path, report);
        if let Some(pattern) = pattern(template.as_deref(), regex.as_deref(), &path(), report) {
            if compiled.iter().any(|(earlier, _)| *earlier == pattern) {
                report.add(&path(), "is never reached: an earlier entry has the same path");
            }
            compiled.push((pattern, allow));
        }
    }
    compiled
}

fn grant(grant: document::Grant, path: &dyn Fn() -> String, report: &mut Report) -> Grant {
    match grant {
        document::Grant::All => Grant::All,
        document::Grant::None => Grant::None,
        document::Grant::Methods(names) => {
            let methods = Methods::named(names);
            match methods {
                Ok(methods) => Grant::Methods(methods),
                Err(error) => {
                    report.add(&format!("{}.allow.methods", path()), error);
                    Grant::None
                }
            }
        }
    }
}

/// A limit with words for where it comes from.
type Applying<'a> = Vec<(&'a Limit, String)>;

/// All limits that may apply to requests for the API.
fn applying_limits<'a>(
    limits: &'a LimitSets,
    bindings: Option<&'a HashMap<usize, Binding>>,
    names: &'a Names,
) -> Applying<'a> {
    let all = |sets: &'a LimitSets| sets.iter().flat_map(|set| &set.limits);
    let mut applying: Applying = all(limits).map(|limit| (limit, "the API".to_owned())).collect();
    let mut plans = vec![false; names.plans.list.len()];
    let mut use_plan = |plan: Option<usize>| {
        if let Some(used) = plan.and_then(|plan| plans.get_mut(plan)) {
            *used = true;
        }
    };
    match bindings {
        Some(bindings) => {
            for (consumer, binding) in bindings {
                let of_consumer = names.consumers.list.get(*consumer).and_then(|consumer| consumer.plan);
                use_plan(binding.plan.or(of_consumer));
                let plan = binding.plan.and_then(|plan| names.plans.list.get(plan));
                let of_plan =
                    |limit: &Limit| plan.is_some_and(|plan| all(&plan.limits).any(|other| other == limit));
                let own = all(&binding.limits).filter(|limit| !of_plan(limit));
                applying.extend(own.map(|limit| (limit, "a binding".to_owned())));
            }
        }
        None => names.consumers.list.iter().for_each(|consumer| use_plan(consumer.plan)),
    }
    for (plan, used) in names.plans.list.iter().zip(plans) {
        if used {
            applying.extend(all(&plan.limits).map(|limit| (limit, format!("plan `{}`", plan.name))));
        }
    }
    applying
}

fn compile_metering(
    metering: Option<Vec<document::Metering>>,
    names: &Names,
    applying: &Applying<'_>,
    path: &str,
    report: &mut Report,
) -> Metering {
    let Some(metering) = metering else {
        let everything = PathPattern::template("/**").ok().zip(names.metrics.find(DEFAULT_METRIC));
        let rule = everything.map(|(pattern, metric)| MeteringRule {
            path: MeteringPath::Pattern(pattern),
            methods: Methods::ALL,
            query: Vec::new(),
            metric,
            by: 1,
            last: false,
        });
        return Metering::new(rule.into_iter().collect());
    };
    let rules = report.list(path, Some(metering)).into_iter().enumerate().filter_map(|(place, rule)| {
        let path = format!("{path}[{place}]");
        metering_rule(rule, names, applying, &path, report)
    });
    Metering::new(rules.collect())
}

fn metering_rule(
    rule: document::Metering,
    names: &Names,
    applying: &Applying<'_>,
    path: &str,
    report: &mut Report,
) -> Option<MeteringRule> {
    let document::Metering { path: text, r#match, query, methods: named, metric, by, last } = rule;
    let pattern = match r#match {
        document::MeteringMatch::Template => PathPattern::template(&text).map(MeteringPath::Pattern),
        document::MeteringMatch::Prefix => PrefixPattern::parse(&text).map(MeteringPath::Prefix),
    };
    let pattern = report.take(&format!("{path}.path"), pattern);
    let methods = methods(named, &format!("{path}.methods"), report);
    if by == 0 {
        report.add(&format!("{path}.by"), "counts nothing: give at least 1");
    }
    let Some(id) = names.metrics.find(&metric) else {
        report.0.push(super::Problem::dangling(&format!("{path}.metric"), "metric", &metric));
        return None;
    };
    let lineage = names.metrics.lineage(id);
    let too_small = |limit: &Limit| limit.max() > 0 && limit.max() < by && lineage.contains(&limit.metric());
    // Many bindings may have the same limit: it is told once.
    let messages: BTreeSet<_> = applying
        .iter()
        .filter(|(limit, _)| too_small(limit))
        .map(|(limit, whose)| {
            let (name, max) = (limit.name(), limit.max());
            format!("{by} is above {whose}'s limit `{name}` of {max}: no such request could ever pass")
        })
        .collect();
    messages.into_iter().for_each(|message| report.add(&format!("{path}.by"), message));
    let query = query.0.into_iter().map(|(name, value)| (name, QueryValue::parse(&value))).collect();
    Some(MeteringRule { path: pattern?, methods, query, metric: id, by, last })
}

/// Names that Envoy, HTTP itself or the caller's session needs, and that no policy may set.
const RESERVED: [&str; 7] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "cookie"];

fn forward_headers(headers: Named<String>, path: &str, report: &mut Report) -> Vec<(Rc<str>, Template)> {
    let mut compiled: Vec<(Rc<str>, Template)> = Vec::new();
    for (name, template) in headers.0 {
        let path = format!("{path}.{name}");
        let lower = name.to_ascii_lowercase();
        let Some(template) = report.take(&path, Template::parse(&template)) else { continue };
        if lower != "cookie" && Location::header(&lower, None).is_err() {
            report.add(&path, "not the name of a header");
        } else if RESERVED.contains(&lower.as_str()) || lower.starts_with(OWN_PREFIX) {
            report.add(&path, "this header is not for policies to set");
        } else if compiled.iter().any(|(other, _)| **other == *lower) {
            report.add(&path, "header names are the same in upper and lower case: this one stands twice");
        } else {
            compiled.push((lower.into(), template));
        }
    }
    compiled
}

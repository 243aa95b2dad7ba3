//! `sidegate render`: puts the policy into the manifest for Istio, or into the file that Envoy watches, or
//! prints what a rate limit service must know of it.

mod arguments;
mod numbers;
mod service;
mod template;
mod values;

use std::{cell::RefCell, collections::BTreeSet, io};

pub use arguments::Arguments;
use arguments::Printed;
use serde_json::Value;

use super::{
    Status, Streams,
    environment::Environment,
    load::{load, print},
};
use crate::policy::{Access, Policy, VerifiedBy};

/// The contents of a manifest.
struct Contents {
    /// The policy, for manifests that hold it as an object.
    policy: Value,
    /// The policy as one line of JSON, for manifests that hold it as a string.
    text: String,
    /// The variables that the policy's secrets name.
    variables: BTreeSet<String>,
    /// Whether rules take tokens that the proxy has verified before.
    takes_verified_tokens: bool,
}

/// Checks the policy and writes the manifest with the policy in it.
///
/// # Errors
///
/// The options contradict each other, the manifest cannot be written, or the environment file is invalid.
pub fn run(
    arguments: &Arguments,
    process: &dyn Fn(&str) -> Option<String>,
    streams: &mut Streams<'_>,
) -> io::Result<Status> {
    let printed = arguments.printed()?;
    let environment = arguments.environment.environment(process)?;
    let variables = RefCell::new(BTreeSet::new());
    // The module will read the same variables.
    let noting: Environment<'_> = Box::new(|name| {
        variables.borrow_mut().insert(name.to_owned());
        environment(name)
    });
    let loaded = match load(&arguments.policy, &noting, streams)? {
        Ok(loaded) => loaded,
        Err(status) => return Ok(status),
    };
    drop(noting);
    let policy: Value = serde_json::from_slice(&loaded.configuration)?;
    if printed.rounds_numbers() {
        let rounded = numbers::rounded(&policy);
        if !rounded.is_empty() {
            print(&arguments.policy, &loaded.text, rounded, |number| &number.path, streams)?;
            return Ok(Status::Invalid);
        }
    }
    let text = policy.to_string();
    let takes_verified_tokens = takes_verified_tokens(&loaded.policy);
    let contents = Contents { policy, text, variables: variables.into_inner(), takes_verified_tokens };
    let written = match &printed {
        Printed::Manifest(manifest) => template::fill(manifest, contents)?,
        Printed::Service { engine, provider } => {
            service::configuration(&loaded.policy, *engine, provider.as_deref())?
        }
    };
    streams.output.write_all(written.as_bytes())?;
    Ok(Status::Done)
}

/// Whether rules take tokens that the proxy has verified before.
fn takes_verified_tokens(policy: &Policy) -> bool {
    let rules = policy.apis().iter().flat_map(|api| &api.rules);
    let mut ways = rules.flat_map(|rule| &rule.access).filter_map(Access::tokens);
    ways.any(|way| way.verified_by == VerifiedBy::Envoy)
}

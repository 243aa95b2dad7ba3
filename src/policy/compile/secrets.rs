//! Compiles secrets and settings: written in the document, or taken from the environment.

use super::{
    super::document::value::{Secret, Setting},
    Diagnostics, doubts,
};
use crate::credential::ProviderSecret;

/// Which characters a secret may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Characters {
    /// All but control characters.
    Printable,
    /// Whatever its user accepts, which reports what it does not.
    Checked,
}

/// The secret, or a problem at `path`.
pub(super) fn resolve(
    secret: Secret,
    characters: Characters,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Diagnostics,
) -> ProviderSecret {
    let is_invalid = |text: &str| characters == Characters::Printable && text.chars().any(char::is_control);
    match secret {
        Secret::Inline(text) => {
            doubts::secret(&text, path, report);
            if is_invalid(&text) {
                report.add(path, "has a control character");
            }
            ProviderSecret::new(text)
        }
        Secret::Env(name) => {
            let value = environment(&name).filter(|value| !value.is_empty() && is_variable(&name));
            match &value {
                _ if !is_variable(&name) => {
                    report.add(path, "not the name of a variable: expected ASCII letters, digits and `_`");
                }
                None => {
                    report.add(path, format!("the environment has no variable `{name}`, or an empty one"));
                }
                Some(value) if is_invalid(value) => {
                    report.add(path, format!("the variable `{name}` has a control character"));
                }
                Some(_) => {}
            }
            ProviderSecret::new(value.unwrap_or_else(|| "unknown".to_owned()))
        }
    }
}

/// The text of a setting, or a problem at `path`.
pub(super) fn resolve_setting(
    setting: Setting,
    environment: &dyn Fn(&str) -> Option<String>,
    path: &str,
    report: &mut Diagnostics,
) -> String {
    let source = match setting {
        Setting::Inline(text) => Secret::Inline(text),
        Setting::Env(name) => Secret::Env(name),
    };
    resolve(source, Characters::Printable, environment, path, report).secret().to_owned()
}

/// Whether every environment can have a variable of this name.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

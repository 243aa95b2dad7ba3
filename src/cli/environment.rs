//! Where secrets come from: the process's environment, a file of variables, or nowhere.

use std::{collections::HashMap, fs, io, path::PathBuf};

use clap::Args;

/// How the variables that secrets name get their values.
#[derive(Args)]
#[group(id = "environment")]
pub struct Arguments {
    /// File of NAME=value lines, which take precedence over the environment of this process. The module sees
    /// only variables that its VM is configured with
    #[arg(long, value_name = "FILE", conflicts_with = "without_secrets")]
    env_file: Option<PathBuf>,
    /// Treat every variable as set, to check a policy without its secrets
    #[arg(long)]
    without_secrets: bool,
}

/// Returns the values of variables.
pub type Environment<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;

/// The value of a variable of the process's own environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is a shell of the core and passes the environment in"
)]
pub fn of_process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Arguments {
    /// The environment according to the arguments; `process` is the environment of the process.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or has a line that sets no variable.
    pub fn environment<'a>(
        &self,
        process: &'a dyn Fn(&str) -> Option<String>,
    ) -> io::Result<Environment<'a>> {
        if self.without_secrets {
            return Ok(Box::new(|_| Some("unknown".to_owned())));
        }
        let Some(path) = &self.env_file else {
            return Ok(Box::new(process));
        };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let variables = read(&fs::read_to_string(path).map_err(named)?).map_err(named)?;
        Ok(Box::new(move |name| variables.get(name).cloned().or_else(|| process(name))))
    }
}

/// Reads lines of `NAME=value`, as container runtimes do: nothing is quoted, empty lines and comments (`#`)
/// are skipped.
fn read(text: &str) -> io::Result<HashMap<String, String>> {
    let lines = text.lines().enumerate().map(|(place, line)| (place, line.trim_start()));
    let settings = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    settings
        .map(|(place, line)| {
            let setting = line.split_once('=').filter(|(name, _)| is_name(name));
            let (name, value) = setting.ok_or_else(|| {
                // The line may contain a secret, so the message has only its number.
                let line = place.saturating_add(1);
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("line {line} is not of the form NAME=value"),
                )
            })?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_set_variables() {
        let variables = read("# secrets\n\nA=1\n  B=x=y z \nC=\n").unwrap();
        assert_eq!(variables["A"], "1");
        assert_eq!(variables["B"], "x=y z ");
        assert_eq!(variables["C"], "");
        assert_eq!(variables.len(), 3);
    }

    #[test]
    fn a_line_that_sets_nothing_is_reported_by_its_number_only() {
        for text in ["A=1\nhunter2", "A=1\n=hunter2", "A=1\nexport hunter2=x"] {
            let error = read(text).unwrap_err().to_string();
            assert_eq!(error, "line 2 is not of the form NAME=value");
        }
    }
}

//! The parameters of a call, as Rack reads them: `usage[hits]=1`, `transactions[0][user_key]=…`.

/// Names with values, in the order of the call.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

/// The parameters are not UTF-8.
#[derive(Debug)]
pub(super) struct NotUtf8;

impl Parameters {
    /// Reads `application/x-www-form-urlencoded` text.
    pub(super) fn parse(text: &[u8]) -> Result<Self, NotUtf8> {
        // Lossy decoding leaves a mark where the bytes are not UTF-8.
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text).into_owned().collect();
        let is_lossy = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
        if pairs.iter().any(|(name, value)| is_lossy(name) || is_lossy(value)) {
            return Err(NotUtf8);
        }
        Ok(Self(pairs))
    }

    /// The stripped value; an empty one is absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The value as it came, possibly empty.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether anything has this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// The entries `prefix[…]=value`.
    pub(super) fn within<'p>(&'p self, prefix: &'p str) -> impl Iterator<Item = (&'p str, &'p str)> {
        self.0.iter().filter_map(move |(name, value)| {
            let inside = name.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']')?;
            (!inside.contains('[')).then_some((inside, value.as_str()))
        })
    }

    /// The entries `prefix[index]…=value` of a list, by index, with the rest as their name.
    pub(super) fn list(&self, prefix: &str) -> Vec<Self> {
        let mut items: std::collections::BTreeMap<u64, Self> = std::collections::BTreeMap::new();
        for (name, value) in &self.0 {
            let Some(rest) = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('[')) else {
                continue;
            };
            let Some((index, rest)) = rest.split_once(']') else { continue };
            let Ok(index) = index.parse() else { continue };
            let Some(rest) = rest.strip_prefix('[') else { continue };
            // `[usage][hits]` becomes `usage[hits]`.
            let name = rest.replacen(']', "", 1);
            items.entry(index).or_default().0.push((name, value.clone()));
        }
        items.into_values().collect()
    }
}

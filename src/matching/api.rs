//! The API that a request belongs to: the host first, then the longest base path.

use std::fmt;

use rustc_hash::FxHashMap;

use super::{
    host::{HostPattern, HostTable},
    path::RequestPath,
    pattern::InvalidPath,
    template::{PathTemplate, Segment},
};

/// The path that an API is served under, in whole segments. The default, `/`, covers all paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(Vec<String>);

impl BasePath {
    /// Reads a literal path. It is normalised as requests are; a trailing slash is ignored.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        let template = PathTemplate::parse(text)?;
        if template.rest {
            return Err(InvalidPath::NotLiteral(text.to_owned()));
        }
        let literals = template.segments.into_iter().map(|segment| match segment {
            Segment::Literal(literal) => Ok(literal),
            Segment::Parameter => Err(InvalidPath::NotLiteral(text.to_owned())),
        });
        literals.collect::<Result<_, _>>().map(Self)
    }
}

impl BasePath {
    /// The path with this base path in place of its own, which takes `base` bytes.
    pub fn in_place(&self, base: usize, path: &str) -> String {
        let rest = path.get(base..).unwrap_or_default();
        // The root of an API without a base path is the base path of the service.
        let rest = if base == 0 && rest == "/" { "" } else { rest };
        let mut rebased = String::with_capacity(path.len());
        for segment in &self.0 {
            rebased.push('/');
            rebased.push_str(segment);
        }
        rebased.push_str(rest);
        if rebased.is_empty() { "/".to_owned() } else { rebased }
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.join("/"))
    }
}

/// All APIs of a policy, by host and base path.
#[derive(Clone, Debug, Default)]
pub struct ApiTable {
    by_host: HostTable<Node>,
    any_host: Node,
}

/// Two APIs for the same requests, or one API that lists a host twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConflict {
    /// Index of the API that comes first.
    pub first: usize,
    /// Index of the API that comes second; equal to `first` if one API lists a host twice.
    pub second: usize,
    /// The host that both list; `None` if both cover any host.
    pub host: Option<HostPattern>,
}

/// The API found for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiMatch<'a> {
    /// Index of the API.
    pub api: usize,
    /// The path inside the API; starts with `/`.
    pub inside: &'a str,
    /// How many bytes of the normalised path the base path takes.
    pub base: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: FxHashMap<String, Node>,
    api: Option<usize>,
}

impl ApiTable {
    /// Builds the table from the hosts and base path of each API, in order. An API without hosts covers any
    /// host. Fails with all conflicts.
    pub fn build<'a>(
        apis: impl IntoIterator<Item = (&'a [HostPattern], &'a BasePath)>,
    ) -> Result<Self, Vec<ApiConflict>> {
        let mut table = Self::default();
        let mut conflicts = Vec::new();
        for (second, (hosts, base_path)) in apis.into_iter().enumerate() {
            if hosts.is_empty() {
                let first = table.any_host.insert(base_path, second);
                conflicts.extend(first.map(|first| ApiConflict { first, second, host: None }));
            }
            for host in hosts {
                let first = table.by_host.entry(host).insert(base_path, second);
                conflicts.extend(first.map(|first| ApiConflict { first, second, host: Some(host.clone()) }));
            }
        }
        if conflicts.is_empty() { Ok(table) } else { Err(conflicts) }
    }

    /// Finds the API for a request. The host is chosen first: if an API lists it, APIs for wider hosts are
    /// ignored.
    pub fn find<'a>(&self, host: Option<&str>, path: &'a RequestPath<'_>) -> Option<ApiMatch<'a>> {
        let by_host = host.and_then(|host| self.by_host.choose(host));
        by_host.unwrap_or(&self.any_host).find(path.path())
    }
}

impl Node {
    /// Adds the API, or returns the index of the one that is already there.
    fn insert(&mut self, base_path: &BasePath, api: usize) -> Option<usize> {
        let mut node = self;
        for segment in &base_path.0 {
            node = node.children.entry(segment.clone()).or_default();
        }
        let first = node.api;
        node.api = first.or(Some(api));
        first
    }

    /// The work is bounded by the longest base path, not by the length of the request's path.
    fn find<'a>(&self, path: &'a str) -> Option<ApiMatch<'a>> {
        let mut node = self;
        let mut rest = path;
        let mut longest = None;
        loop {
            let inside = if rest.is_empty() { "/" } else { rest };
            let base = path.len().saturating_sub(rest.len());
            longest = node.api.map(|api| ApiMatch { api, inside, base }).or(longest);
            let Some(below) = rest.strip_prefix('/') else { return longest };
            let end = below.bytes().position(|byte| byte == b'/').unwrap_or(below.len());
            let Some((segment, next)) = below.split_at_checked(end) else {
                return longest;
            };
            let Some(child) = node.children.get(segment) else { return longest };
            (node, rest) = (child, next);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{super::host::host_of, *};
    use crate::matching::{Target, normalise};

    fn build(apis: &[(&[&str], &str)]) -> Result<ApiTable, Vec<ApiConflict>> {
        let apis: Vec<(Vec<HostPattern>, BasePath)> = apis
            .iter()
            .map(|(hosts, base_path)| {
                let hosts = hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
                (hosts, BasePath::parse(base_path).unwrap())
            })
            .collect();
        ApiTable::build(apis.iter().map(|(hosts, base_path)| (hosts.as_slice(), base_path)))
    }

    fn find(table: &ApiTable, authority: &str, target: &str) -> Option<(usize, String)> {
        let Ok(Target::Path(path)) = normalise(target) else { panic!("`{target}` is not a path") };
        let host = host_of(authority).unwrap();
        table.find(host.as_deref(), &path).map(|found| (found.api, found.inside.to_owned()))
    }

    #[test]
    fn the_longest_base_path_of_whole_segments_is_found() {
        let table = build(&[(&[], "/foo"), (&[], "/foo/bar/baz/"), (&[], "/%7eu")]).unwrap();
        for (target, found) in [
            ("/foo", Some((0, "/"))),
            ("/foo/", Some((0, "/"))),
            ("/foo/x/", Some((0, "/x/"))),
            ("/foo/bar/qux", Some((0, "/bar/qux"))),
            ("/foo/bar", Some((0, "/bar"))),
            ("/foo/bar/baz", Some((1, "/"))),
            ("/foo/bar/baz/qux?a", Some((1, "/qux"))),
            ("/foo/bar/bazx", Some((0, "/bar/bazx"))),
            ("/x/..//foo/bar/%62az/a", Some((1, "/a"))),
            ("/foo/bar/baz/../../x", Some((0, "/x"))),
            ("/foobar", None),
            ("/FOO", None),
            ("/", None),
            ("/~u/a", Some((2, "/a"))),
        ] {
            assert_eq!(
                find(&table, "h", target),
                found.map(|(api, inside)| (api, inside.to_owned())),
                "{target}"
            );
        }
    }

    #[test]
    fn the_base_path_slash_covers_all_paths() {
        let table = build(&[(&[], "/"), (&[], "/a")]).unwrap();
        assert_eq!(find(&table, "", "/"), Some((0, "/".to_owned())));
        assert_eq!(find(&table, "", "/b/c"), Some((0, "/b/c".to_owned())));
        assert_eq!(find(&table, "", "/a/c"), Some((1, "/c".to_owned())));
    }

    #[test]
    fn wider_hosts_are_ignored_if_a_host_is_listed() {
        let table = build(&[
            (&["a.example.com", "B.example.com"], "/v1"),
            (&["*.example.com"], "/v2"),
            (&[], "/v3"),
            (&["[::1]"], "/"),
        ])
        .unwrap();
        for (authority, target, api) in [
            ("a.example.com", "/v1", Some(0)),
            ("b.EXAMPLE.com.:443", "/v1", Some(0)),
            ("a.example.com", "/v2", None),
            ("a.example.com", "/v3", None),
            ("c.example.com", "/v2", Some(1)),
            ("c.example.com", "/v1", None),
            ("c.example.com", "/v3", None),
            ("example.com", "/v3", Some(2)),
            ("", "/v3", Some(2)),
            ("example.com", "/v2", None),
            ("[0::1]:80", "/v3", Some(3)),
        ] {
            assert_eq!(find(&table, authority, target).map(|found| found.0), api, "{authority}{target}");
        }
    }

    #[test]
    fn the_same_host_and_base_path_is_a_conflict() {
        let host = |text| Some(HostPattern::parse(text).unwrap());
        let apis: &[(&[&str], &str)] = &[
            (&["a.x", "b.x"], "/v"),
            (&["*.x"], "/v"),
            (&["B.x", "*.X"], "/%76/"),
            (&[], "/"),
            (&[], "/"),
            (&["c.x", "c.x"], "/"),
            (&[], "/"),
        ];
        assert_eq!(
            build(apis).unwrap_err(),
            [
                ApiConflict { first: 0, second: 2, host: host("b.x") },
                ApiConflict { first: 1, second: 2, host: host("*.x") },
                ApiConflict { first: 3, second: 4, host: None },
                ApiConflict { first: 5, second: 5, host: host("c.x") },
                ApiConflict { first: 3, second: 6, host: None },
            ]
        );
    }

    #[test]
    fn a_base_path_takes_the_place_of_another() {
        for (from, to, path, rebased) in [
            ("/foo", "/car", "/foo/bar", "/car/bar"),
            ("/foo", "/car", "/foo", "/car"),
            ("/foo", "/car", "/foo/", "/car/"),
            ("/", "/car", "/", "/car"),
            ("/", "/car", "/a/", "/car/a/"),
            ("/foo/bar", "/", "/foo/bar", "/"),
            ("/foo/bar", "/", "/foo/bar/", "/"),
            ("/foo/bar", "/", "/foo/bar/foo/bar", "/foo/bar"),
            ("/%7efoo", "/a/b", "/~foo/x;y", "/a/b/x;y"),
        ] {
            let [from, to] = [from, to].map(|text| BasePath::parse(text).unwrap());
            let table = ApiTable::build([([].as_slice(), &from)]).unwrap();
            let Ok(Target::Path(path)) = normalise(path) else { panic!("`{path}` is not a path") };
            let found = table.find(None, &path).unwrap();
            assert_eq!(to.in_place(found.base, path.path()), rebased, "{from} {to} {path:?}");
        }
    }

    #[test]
    fn a_base_path_is_literal() {
        assert_eq!(BasePath::parse("/%7ea/b/").unwrap().to_string(), "/~a/b");
        assert_eq!(BasePath::parse("/"), Ok(BasePath::default()));
        for text in ["/{a}", "/a/**"] {
            assert_eq!(BasePath::parse(text), Err(InvalidPath::NotLiteral(text.to_owned())));
        }
        assert!(
            BasePath::parse("v1").is_err()
                && BasePath::parse("/a/../b").is_err()
                && BasePath::parse("").is_err()
        );
    }
}

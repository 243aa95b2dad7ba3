//! The module as an image in a registry.

use std::{path::Path, process::Command};

use sidegate_harness::{Registry, packer, project, sidegate_module};

use crate::{Node, tools::must};

/// Packs the module as `make image` does and pushes it as `make push` does. Returns its URL for pods, and the
/// digest of its manifest (64 hexadecimal digits).
pub fn push(registry: &Registry, tag: &str, directory: &Path) -> (String, String) {
    push_module(&sidegate_module(), registry, tag, directory)
}

/// [`push`] of another module.
pub fn push_module(module: &Path, registry: &Registry, tag: &str, directory: &Path) -> (String, String) {
    let images = directory.join(format!("image-{tag}"));
    let mut pack = Command::new(packer());
    pack.arg(module).args(["--format", "oci", "--revision", tag, "--created", "0"]);
    pack.arg("--package").arg(project("Cargo.toml")).arg("--output").arg(&images);
    let digest = must(&mut pack);
    let digest = digest.trim().strip_prefix("sha256:").expect("a digest").to_owned();
    let mut push = Command::new(project("tools/push"));
    push.arg(images.join("oci"))
        .args([&format!("{}/sidegate", registry.address()), tag])
        .env("INSECURE", "1");
    // Keeps skopeo from recording in the machine's cache which registry has what: others will use the port of
    // this one.
    push.env("_CONTAINERS_ROOTLESS_UID", "1").env("XDG_DATA_HOME", "/dev/null");
    must(&mut push);
    (format!("oci://{}:{}/sidegate/sidegate", Node::ADDRESS, registry.address().port()), digest)
}

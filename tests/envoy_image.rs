//! The module as a container image: packed, pushed to a real registry, pulled as Istio pulls it, and run in a
//! real Envoy.
#![cfg(test)]
#![cfg(not(target_family = "wasm"))]

#[path = "envoy_image/pull.rs"]
mod pull;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sidegate::credential::Digest;
use sidegate_harness::{
    Envoy, Listener, Registry, Request, Setup, Upstream, Wasm, debian, packer, project, route, send,
    sidegate_module,
};
use tempfile::TempDir;

const FORMATS: [&str; 3] = ["oci", "docker", "artifact"];

/// An image, as `make image` leaves it.
struct Packed {
    directory: TempDir,
    format: &'static str,
    digest: String,
}

impl Packed {
    fn new(format: &'static str) -> Self {
        Self::of(&sidegate_module(), format, "4f2e")
    }

    fn of(module: &Path, format: &'static str, revision: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let mut packer = Command::new(packer());
        packer.arg(module).args(["--format", format, "--revision", revision, "--created", "1800000000"]);
        packer.arg("--package").arg(project("Cargo.toml")).arg("--output").arg(directory.path());
        let digest = succeed(&mut packer);
        assert_eq!(fs::read_to_string(directory.path().join(format!("{format}.digest"))).unwrap(), digest);
        Self { directory, format, digest: digest.trim().to_owned() }
    }

    fn layout(&self) -> PathBuf {
        self.directory.path().join(self.format)
    }

    fn archive(&self) -> PathBuf {
        let version = env!("CARGO_PKG_VERSION");
        self.directory.path().join(format!("sidegate-{version}-{}.tar", self.format))
    }

    /// Pushes it under that tag as `make push` does, and returns the printed URL.
    fn push(&self, registry: &Registry, tag: &str) -> String {
        succeed(&mut self.pushing(registry, tag)).trim().to_owned()
    }

    fn pushing(&self, registry: &Registry, tag: &str) -> Command {
        let mut push = Command::new(project("tools/push"));
        push.arg(self.layout()).args([&registry.address().to_string(), tag]).env("INSECURE", "1");
        without_memory(&mut push);
        push
    }
}

fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Runs a command that must fail, and returns its error output.
fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// `skopeo` with these arguments, which are separated by spaces.
fn skopeo(arguments: &str) -> Command {
    let mut skopeo = Command::new(debian("skopeo"));
    skopeo.arg("--insecure-policy").args(arguments.split(' '));
    without_memory(&mut skopeo);
    skopeo
}

/// Keeps skopeo from recording in the machine's cache which registry has what: others will use the same
/// ports.
fn without_memory(skopeo: &mut Command) {
    skopeo.env("_CONTAINERS_ROOTLESS_UID", "1").env("XDG_DATA_HOME", "/dev/null");
}

fn labels(inspected: &str) -> Value {
    serde_json::from_str::<Value>(inspected).unwrap()["Labels"].clone()
}

#[test]
fn the_module_names_no_directories_of_the_machine_that_built_it() {
    let module = fs::read(sidegate_module()).unwrap();
    let names = |path: &str| module.windows(path.len()).any(|bytes| bytes == path.as_bytes());
    assert!(names("/cargo/index."), "messages of panics name source files");
    for directory in [env!("CARGO_MANIFEST_DIR"), "/registry/src/"] {
        assert!(!names(directory), "{directory}");
    }
}

#[tokio::test]
async fn a_push_to_a_registry_without_tls_names_the_option_for_it() {
    let registry = Registry::start().await;
    let packed = Packed::new("oci");
    let complaint = fail(packed.pushing(&registry, "0.1.0").env_remove("INSECURE"));
    let address = registry.address();
    let expected = format!("sidegate: the registry {address} speaks plain HTTP: add INSECURE=1");
    assert!(complaint.contains(&expected), "{complaint}");
    let pushed = packed.push(&registry, "0.1.0");
    assert!(pushed.starts_with(&format!("oci://{address}/sidegate@sha256:")), "{pushed}");
}

#[test]
fn the_same_module_makes_the_same_image() {
    let directory = TempDir::new().unwrap();
    let other = directory.path().join("other.wasm");
    fs::write(&other, [fs::read(sidegate_module()).unwrap(), vec![0]].concat()).unwrap();
    for format in FORMATS {
        let packed = Packed::new(format);
        let again = Packed::new(format);
        assert_eq!(packed.digest, again.digest, "{format}");
        assert!(fs::read(packed.archive()).unwrap() == fs::read(again.archive()).unwrap(), "{format}");
        for different in [Packed::of(&sidegate_module(), format, "5a3f"), Packed::of(&other, format, "4f2e")]
        {
            assert_ne!(packed.digest, different.digest, "{format}");
        }
    }
}

#[tokio::test]
async fn every_format_is_pulled_from_a_registry_and_runs_in_envoy() {
    let registry = Registry::start().await;
    for format in FORMATS {
        let packed = Packed::new(format);
        let url = packed.push(&registry, format);
        assert_eq!(url, format!("oci://{}/sidegate@{}", registry.address(), packed.digest));

        let expected = if format == "docker" { pull::DOCKER } else { pull::OCI };
        let manifest = pull::manifest(registry.address(), &packed.digest).await.unwrap();
        assert_eq!(manifest["mediaType"], expected, "{format}");
        let inspect = format!("inspect --tls-verify=false docker://{}/sidegate:{format}", registry.address());
        let labels = labels(&succeed(&mut skopeo(&inspect)));
        assert_eq!(
            labels,
            json!({
                "org.opencontainers.image.title": "sidegate",
                "org.opencontainers.image.description": env!("CARGO_PKG_DESCRIPTION"),
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.revision": "4f2e",
                "org.opencontainers.image.created": "2027-01-15T08:00:00Z",
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
            })
        );
        let annotations = if format == "docker" { Value::Null } else { labels };
        assert_eq!(manifest["annotations"], annotations, "{format}");

        let module = pull::module(registry.address(), &packed.digest).await.unwrap();
        assert!(module == fs::read(sidegate_module()).unwrap(), "{format}: not the bytes that were packed");
        gates(&module).await;
    }
}

/// Runs the module in Envoy, where it must admit one request and refuse two.
async fn gates(module: &[u8]) {
    let file = TempDir::new().unwrap();
    let file = file.path().join("pulled.wasm");
    fs::write(&file, module).unwrap();
    let policy = json!({
        "sidegate": "v1",
        "consumers": [{"name": "acme", "keys": [{"sha256": Digest::of(b"acme-key").to_hex()}]}],
        "apis": [{"name": "orders", "access": ["api_key"], "rules": [{"path": "/orders/**"}], "bindings": [{"consumer": "acme", "allow": "all"}]}],
    });
    let service = Upstream::echo("orders").await;
    let listener =
        Listener::new("main").wasm(&Wasm::sidegate(&policy).from_file(&file)).route(route("orders"));
    let envoy = Envoy::start(Setup::new(listener).cluster("orders", service.address())).await;
    let get = || Request::get("/orders/17");
    assert_eq!(envoy.send(get().header("apikey", "acme-key")).await.status, 200);
    assert_eq!(envoy.send(get()).await.code(), Some("12"));
    assert_eq!(envoy.send(get().header("apikey", "guessed")).await.code(), Some("13"));
    assert_eq!(service.requests(), 1);
    assert!(envoy.config_dump().await.to_string().contains(file.to_str().unwrap()));
}

#[test]
fn archives_can_be_loaded_by_docker_and_by_other_tools() {
    let version = env!("CARGO_PKG_VERSION");
    for format in FORMATS {
        let packed = Packed::new(format);
        let archive = packed.archive();
        let inspected = succeed(&mut skopeo(&format!("inspect oci-archive:{}", archive.display())));
        assert_eq!(serde_json::from_str::<Value>(&inspected).unwrap()["Digest"], packed.digest, "{format}");
        // By its name in Docker.
        let loading = format!("inspect docker-archive:{}:sidegate:{version}", archive.display());
        if format == "artifact" {
            fail(&mut skopeo(&loading));
        } else {
            assert_eq!(labels(&succeed(&mut skopeo(&loading)))["org.opencontainers.image.version"], version);
            // Copying checks the layer against the configuration.
            let unpacked = TempDir::new().unwrap();
            let copy = format!(
                "copy docker-archive:{} oci:{}",
                archive.display(),
                unpacked.path().join("image").display()
            );
            succeed(&mut skopeo(&copy));
        }
    }
}

#[tokio::test]
async fn a_tampered_image_is_refused() {
    let registry = Registry::start().await;
    let packed = Packed::new("oci");
    packed.push(&registry, "1");
    let fetch = |reference: &str| {
        let image = format!("docker://{}/sidegate{reference}", registry.address());
        let directory = TempDir::new().unwrap();
        skopeo(&format!("copy --src-tls-verify=false {image} dir:{}", directory.path().display()))
            .output()
            .unwrap()
    };
    let complaint = |reference: &str| {
        let output = fetch(reference);
        assert!(!output.status.success(), "{reference}");
        String::from_utf8(output.stderr).unwrap()
    };

    // A digest that differs in one digit.
    let (rest, last) = packed.digest.split_at(packed.digest.len() - 1);
    let wrong = format!("{rest}{}", if last == "0" { "1" } else { "0" });
    let unknown = refusal(&registry, &wrong).await;
    assert!(unknown.contains("MANIFEST_UNKNOWN"), "{unknown}");
    assert!(complaint(&format!("@{wrong}")).contains("manifest unknown"));

    // One byte of the layer, then one of the manifest, changed on the registry's disk.
    let manifest = pull::manifest(registry.address(), "1").await.unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let mut other_layer = fs::read(registry.blob(layer)).unwrap();
    *other_layer.last_mut().unwrap() ^= 1;
    let other_manifest = fs::read_to_string(registry.blob(&packed.digest)).unwrap().replace("4f2e", "4f2f");
    for (digest, tampered, told_by_skopeo) in [
        (layer, other_layer, "Digest did not match"),
        (&packed.digest, other_manifest.into_bytes(), "does not match provided manifest digest"),
    ] {
        let honest = format!("@{}", packed.digest);
        assert!(fetch(&honest).status.success());
        pull::module(registry.address(), &packed.digest).await.unwrap();

        let blob = registry.blob(digest);
        let original = fs::read(&blob).unwrap();
        fs::write(&blob, &tampered).unwrap();
        let refused = refusal(&registry, &packed.digest).await;
        assert!(refused.contains(&format!("its digest is {}", pull::digest(&tampered))), "{refused}");
        let complaint = complaint(&honest);
        assert!(complaint.contains(told_by_skopeo), "{complaint}");
        fs::write(&blob, original).unwrap();
    }
}

#[tokio::test]
async fn an_image_in_another_form_is_refused() {
    let registry = Registry::start().await;
    let packed = Packed::new("oci");

    // A layer compressed with zstd, as some build tools make it. This must come first, because skopeo does
    // not compress layers that the registry already has.
    let unpacked = TempDir::new().unwrap();
    let unpacked = unpacked.path().display();
    succeed(&mut skopeo(&format!("copy --dest-decompress oci:{} dir:{unpacked}", packed.layout().display())));
    succeed(&mut skopeo(&format!(
        "copy --dest-tls-verify=false --dest-compress-format zstd dir:{unpacked} docker://{}/sidegate:zstd",
        registry.address()
    )));
    let refused = refusal(&registry, "zstd").await;
    assert!(refused.contains("a layer of type \"application/vnd.oci.image.layer.v1.tar+zstd\""), "{refused}");

    packed.push(&registry, "good");
    pull::module(registry.address(), "good").await.unwrap();

    // A module under another name.
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    archive.append_path_with_name(sidegate_module(), "sidegate.wasm").unwrap();
    let layer = archive.into_inner().unwrap().finish().unwrap();
    let mut manifest = pull::manifest(registry.address(), "good").await.unwrap();
    manifest["layers"][0]["digest"] = upload(&registry, &layer).await.into();
    manifest["layers"][0]["size"] = layer.len().into();
    tag(&registry, &manifest, "other-name").await;
    let refused = refusal(&registry, "other-name").await;
    assert!(refused.contains("no plugin.wasm in the layer"), "{refused}");

    // An artifact that contains only the module.
    Packed::new("artifact").push(&registry, "artifact");
    let mut manifest = pull::manifest(registry.address(), "artifact").await.unwrap();
    manifest["layers"].as_array_mut().unwrap().remove(0);
    tag(&registry, &manifest, "alone").await;
    let refused = refusal(&registry, "alone").await;
    assert!(refused.contains("no artifact: 1 layers"), "{refused}");
}

/// Why the module cannot be pulled.
async fn refusal(registry: &Registry, reference: &str) -> String {
    let pulled = pull::module(registry.address(), reference).await;
    pulled.map(|module| module.len()).expect_err("a refusal")
}

async fn upload(registry: &Registry, bytes: &[u8]) -> String {
    let digest = pull::digest(bytes);
    let begun = send(registry.address(), &Request::new("POST", "/v2/sidegate/blobs/uploads/")).await.unwrap();
    let location = begun.header("location").unwrap();
    let target = location.split_once("/v2/").map(|(_, rest)| format!("/v2/{rest}&digest={digest}")).unwrap();
    let request = Request::new("PUT", target).header("content-type", "application/octet-stream").body(bytes);
    let answer = send(registry.address(), &request).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    digest
}

async fn tag(registry: &Registry, manifest: &Value, tag: &str) {
    let request = Request::new("PUT", format!("/v2/sidegate/manifests/{tag}"))
        .header("content-type", pull::OCI)
        .body(manifest.to_string());
    let answer = send(registry.address(), &request).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[tokio::test]
async fn a_registry_with_a_password_accepts_a_push_after_login() {
    let registry = Registry::start_for(Some(("robot", "secret"))).await;
    let packed = Packed::new("oci");
    let logins = TempDir::new().unwrap();
    let file = logins.path().join("auth.json");
    fs::write(&file, "{}").unwrap();
    let pushing = || {
        let mut push = packed.pushing(&registry, "1");
        push.env("REGISTRY_AUTH_FILE", &file);
        push
    };
    let refused = fail(&mut pushing());
    assert!(refused.contains("authentication required"), "{refused}");
    let login = format!(
        "login --tls-verify=false --authfile {} --username robot --password secret {}",
        file.display(),
        registry.address()
    );
    succeed(&mut skopeo(&login));
    assert!(succeed(&mut pushing()).contains(&packed.digest));
}

#[tokio::test]
async fn a_pushed_image_outlives_the_registry() {
    let directory = TempDir::new().unwrap();
    let start = async |address| Registry::start_on(address, directory.path(), None).await;
    let registry = start(([127, 0, 0, 1], 0).into()).await;
    let packed = Packed::new("oci");
    packed.push(&registry, "1");
    let address = registry.address();
    registry.stop();
    assert!(send(address, &Request::get("/v2/")).await.is_err());
    let registry = start(address).await;
    pull::module(registry.address(), &packed.digest).await.unwrap();
}

#[test]
fn the_dockerfile_describes_the_image_as_make_image_does() {
    let dockerfile = fs::read_to_string(project("Dockerfile")).unwrap();
    for (label, value) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("version", "$VERSION"),
        ("revision", "$REVISION"),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("source", env!("CARGO_PKG_REPOSITORY")),
    ] {
        let line = format!("org.opencontainers.image.{label}=\"{value}\"");
        assert!(dockerfile.contains(&line), "{line}");
    }
    let ignored = fs::read_to_string(project(".dockerignore")).unwrap();
    let copied = dockerfile.lines().find_map(|line| line.strip_prefix("COPY ")).unwrap();
    assert!(ignored.lines().any(|line| line.strip_prefix('!') == copied.split(' ').next()), "{ignored}");
}

#[test]
fn make_push_without_a_registry_says_so() {
    let complaint = fail(Command::new("make").args(["push", "REGISTRY="]).current_dir(project("")));
    assert!(complaint.contains("sidegate: no registry is given"), "{complaint}");
}

//! The parts of an image: layers with the module, a configuration, and a manifest that names both by digest.

use std::{collections::BTreeMap, io::Write as _};

use clap::ValueEnum;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The file name of the module in an image.
const FILE: &str = "plugin.wasm";

/// The three kinds of image that Istio and Envoy Gateway accept.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An OCI image of one layer
    Oci,
    /// A Docker image (manifest v2, schema 2) of one layer
    Docker,
    /// The bare module and a description of it, as an artifact
    Artifact,
}

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::Docker => "docker",
            Self::Artifact => "artifact",
        }
    }
}

/// Bytes that a registry stores under their digest.
pub struct Blob {
    media_type: &'static str,
    title: Option<&'static str>,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { media_type, title: None, bytes }
    }

    fn json(media_type: &'static str, value: &Value) -> Self {
        Self::new(media_type, value.to_string().into_bytes())
    }

    /// SHA-256, in hexadecimal digits.
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }

    /// The descriptor by which others refer to it.
    pub fn descriptor(&self) -> Value {
        let mut descriptor = json!({
            "mediaType": self.media_type,
            "digest": format!("sha256:{}", self.sha256()),
            "size": self.bytes.len(),
        });
        if let Some(title) = self.title {
            descriptor["annotations"] = json!({"org.opencontainers.image.title": title});
        }
        descriptor
    }
}

/// A whole image.
pub struct Image {
    /// Lowest first; the module is in the last one.
    pub layers: Vec<Blob>,
    /// The configuration of containers.
    pub config: Blob,
    /// The manifest, which a registry returns for the image's name.
    pub manifest: Blob,
    /// Whether it consists of file systems, so that Docker can load it.
    pub loadable: bool,
}

impl Image {
    /// Packs the module. `labels` go into the configuration and, if the manifest has annotations, there too.
    pub fn new(
        format: Format,
        module: Vec<u8>,
        labels: BTreeMap<String, String>,
        created: &str,
    ) -> std::io::Result<Self> {
        let (manifest_type, config_type, layers, unpacked) = match format {
            Format::Oci | Format::Docker => {
                let (manifest_type, config_type, layer_type) = if format == Format::Oci {
                    (
                        "application/vnd.oci.image.manifest.v1+json",
                        "application/vnd.oci.image.config.v1+json",
                        "application/vnd.oci.image.layer.v1.tar+gzip",
                    )
                } else {
                    (
                        "application/vnd.docker.distribution.manifest.v2+json",
                        "application/vnd.docker.container.image.v1+json",
                        "application/vnd.docker.image.rootfs.diff.tar.gzip",
                    )
                };
                let files = tar([(FILE, module.as_slice())])?;
                let unpacked = vec![sha256(&files)];
                (manifest_type, config_type, vec![Blob::new(layer_type, gzip(&files)?)], unpacked)
            }
            Format::Artifact => {
                // Who loads the module, by which ABI, and as which plugin: any name will do. Istio reads none
                // of it.
                let target = json!({"type": "envoy_proxy", "abiVersions": ["0.2.1"], "config": {"root_ids": ["sidegate"]}});
                let mut about = Blob::json("application/vnd.module.wasm.config.v1+json", &target);
                about.title = Some("runtime-config.json");
                let mut content = Blob::new("application/vnd.module.wasm.content.layer.v1+wasm", module);
                content.title = Some(FILE);
                let unpacked = vec![about.sha256(), content.sha256()];
                let layers = vec![about, content];
                (
                    "application/vnd.oci.image.manifest.v1+json",
                    "application/vnd.oci.image.config.v1+json",
                    layers,
                    unpacked,
                )
            }
        };

        // The module runs on any machine, and a manifest has to name one. All who fetch it by a plain
        // manifest take it whatever that says, on arm64 too; from an index of several platforms, their
        // library picks linux/amd64 everywhere. So: no index, and this one.
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": created,
            "config": {"Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": unpacked.iter().map(|digest| format!("sha256:{digest}")).collect::<Vec<_>>()},
            "history": layers.iter().map(|_| json!({"created": created, "created_by": "sidegate-image"})).collect::<Vec<_>>(),
        });
        let config = Blob::json(config_type, &config);
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        if format != Format::Docker {
            manifest["annotations"] = json!(labels);
        }
        let manifest = Blob::json(manifest_type, &manifest);
        Ok(Self { layers, config, manifest, loadable: format != Format::Artifact })
    }

    /// The digest of the image.
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.manifest.sha256())
    }
}

/// An archive of files without owner and time.
pub fn tar<'f>(files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(bytes.len()).map_err(std::io::Error::other)?);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, path, bytes)?;
    }
    archive.into_inner()
}

/// Compresses without name, time or operating system in the header.
fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    const UNKNOWN: u8 = 255;
    let mut encoder =
        GzBuilder::new().mtime(0).operating_system(UNKNOWN).write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

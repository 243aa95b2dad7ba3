//! Pulls an image as pilot-agent does: it is fetched by name, checked by digest, and unpacked by three rules.

use std::{io::Read as _, net::SocketAddr};

use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sidegate_harness::{Request, send};

pub const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// The manifest with that tag or digest.
pub async fn manifest(registry: SocketAddr, reference: &str) -> Result<Value, String> {
    let request = Request::get(format!("/v2/sidegate/manifests/{reference}"))
        .header("accept", format!("{DOCKER}, {OCI}"));
    let answer = send(registry, &request).await.unwrap();
    if answer.status != 200 {
        return Err(format!("no manifest {reference}: {}", answer.text()));
    }
    if reference.starts_with("sha256:") {
        verify(&answer.body, reference)?;
    }
    Ok(answer.json())
}

/// The module in the image with that tag or digest, or why it cannot be pulled.
pub async fn module(registry: SocketAddr, reference: &str) -> Result<Vec<u8>, String> {
    let manifest = manifest(registry, reference).await?;
    let layers = manifest["layers"].as_array().ok_or("no layers")?;
    let last = layers.last().ok_or("no layers")?;
    if manifest["mediaType"] == DOCKER {
        return file(registry, last, "application/vnd.docker.image.rootfs.diff.tar.gzip").await;
    }
    let image = match file(registry, last, "application/vnd.oci.image.layer.v1.tar+gzip").await {
        Ok(module) => return Ok(module),
        Err(reason) => reason,
    };
    if layers.len() != 2 {
        return Err(format!("no image: {image}; no artifact: {} layers", layers.len()));
    }
    const CONTENT: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
    match layers.iter().find(|layer| layer["mediaType"] == CONTENT) {
        Some(layer) => blob(registry, layer).await,
        None => Err(format!("no image: {image}; no artifact: no {CONTENT}")),
    }
}

/// `plugin.wasm`, in any folder, from a layer that must be of this type.
async fn file(registry: SocketAddr, layer: &Value, media_type: &str) -> Result<Vec<u8>, String> {
    if layer["mediaType"] != media_type {
        return Err(format!("a layer of type {}", layer["mediaType"]));
    }
    let bytes = blob(registry, layer).await?;
    let mut archive = tar::Archive::new(GzDecoder::new(bytes.as_slice()));
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        if entry.path().unwrap().file_name().is_some_and(|name| name == "plugin.wasm") {
            let mut module = Vec::new();
            entry.read_to_end(&mut module).map_err(|error| error.to_string())?;
            return Ok(module);
        }
    }
    Err("no plugin.wasm in the layer".into())
}

async fn blob(registry: SocketAddr, descriptor: &Value) -> Result<Vec<u8>, String> {
    let digest = descriptor["digest"].as_str().ok_or("no digest")?;
    let request = Request::get(format!("/v2/sidegate/blobs/{digest}"));
    let answer = send(registry, &request).await.unwrap();
    if answer.status != 200 {
        return Err(format!("no blob {digest}: {}", answer.text()));
    }
    verify(&answer.body, digest)?;
    Ok(answer.body)
}

fn verify(bytes: &[u8], digest: &str) -> Result<(), String> {
    let actual = self::digest(bytes);
    if actual == digest { Ok(()) } else { Err(format!("its digest is {actual}, not {digest}")) }
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

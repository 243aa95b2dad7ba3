//! An image as files: an OCI layout, with the files that `docker load` needs.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde_json::json;

use crate::image::{Blob, Image, tar};

/// Files by their path, in the order in which they are written.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Replaces `directory` with the layout, and returns its files.
pub fn write(image: &Image, name: &str, version: &str, directory: &Path) -> io::Result<Files> {
    let files = files(image, name, version);
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory.join("blobs/sha256"))?;
    for (path, bytes) in &files {
        fs::write(directory.join(path), bytes)?;
    }
    Ok(files)
}

/// The same files as one archive.
pub fn archive(files: &Files) -> io::Result<Vec<u8>> {
    tar(files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())))
}

fn files(image: &Image, name: &str, version: &str) -> Files {
    let path = |blob: &Blob| format!("blobs/sha256/{}", blob.sha256());
    let blobs = image.layers.iter().chain([&image.config, &image.manifest]);
    let mut files: Files = blobs.map(|blob| (path(blob), blob.bytes.clone())).collect();

    let mut manifest = image.manifest.descriptor();
    manifest["annotations"] = json!({
        "org.opencontainers.image.ref.name": version,
        "io.containerd.image.name": format!("docker.io/library/{name}:{version}"),
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    });
    files.insert("index.json".into(), index.to_string().into_bytes());
    files.insert("oci-layout".into(), json!({"imageLayoutVersion": "1.0.0"}).to_string().into_bytes());
    if image.loadable {
        let loaded = json!([{
            "Config": path(&image.config),
            "RepoTags": [format!("{name}:{version}")],
            "Layers": image.layers.iter().map(path).collect::<Vec<_>>(),
        }]);
        files.insert("manifest.json".into(), loaded.to_string().into_bytes());
    }
    files
}

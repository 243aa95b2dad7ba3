//! Packs the built module into a container image, without Docker and byte for byte the same every time.
//!
//! The digest depends on the module, on the description of the package in Cargo.toml, on `--revision` and on
//! `--created`. It does not depend on clock, user or machine. Writes into the directory `--output`:
//!
//! * `FORMAT/`: the image as an OCI layout, for skopeo and similar tools
//! * `NAME-VERSION-FORMAT.tar`: the same as an archive, also for `docker load`
//! * `FORMAT.digest`: the digest of its manifest, which is also printed

mod image;
mod layout;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use serde::Deserialize;

use crate::image::{Format, Image};

#[derive(Parser)]
#[command(about = "Packs the built module into a reproducible container image")]
struct Arguments {
    /// The built module
    module: PathBuf,
    /// Which of the three kinds of image to make
    #[arg(long, value_enum, default_value = "oci")]
    format: Format,
    /// The Cargo.toml of the package that the module is built from
    #[arg(long, default_value = "Cargo.toml")]
    package: PathBuf,
    /// The commit that the module is built from; omitted if empty
    #[arg(long, default_value = "")]
    revision: String,
    /// The time of creation that the image shows, in seconds since 1970: that of the commit, not of the build
    #[arg(long, env = "SOURCE_DATE_EPOCH", default_value = "0")]
    created: i64,
    /// The directory to write to
    #[arg(long, default_value = "target/image")]
    output: PathBuf,
}

/// The part of Cargo.toml that is used.
#[derive(Deserialize)]
struct CargoToml {
    package: Package,
}

/// The description of the package, which becomes that of the image.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    description: String,
    license: String,
    repository: String,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let module = std::fs::read(&arguments.module)
        .with_context(|| format!("cannot read {}: run `make build`", arguments.module.display()))?;
    let described = std::fs::read_to_string(&arguments.package)
        .with_context(|| format!("cannot read {}", arguments.package.display()))?;
    let CargoToml { package } =
        toml::from_str(&described).with_context(|| arguments.package.display().to_string())?;
    let created = jiff::Timestamp::from_second(arguments.created).context("--created")?.to_string();

    let labels = [
        ("title", &package.name),
        ("description", &package.description),
        ("version", &package.version),
        ("revision", &arguments.revision),
        ("licenses", &package.license),
        ("source", &package.repository),
        ("created", &created),
    ];
    let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
    let labels = labels.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.clone()));
    let image = Image::new(arguments.format, module, labels.collect(), &created)?;

    let output = &arguments.output;
    let format = arguments.format.name();
    layout::write(&image, &package.name, &package.version, &output.join(format))
        .and_then(|files| {
            let archive = format!("{}-{}-{format}.tar", package.name, package.version);
            std::fs::write(output.join(archive), layout::archive(&files)?)?;
            std::fs::write(output.join(format!("{format}.digest")), format!("{}\n", image.digest()))?;
            Ok(())
        })
        .with_context(|| format!("cannot write to {}", output.display()))?;
    println!("{}", image.digest());
    Ok(())
}

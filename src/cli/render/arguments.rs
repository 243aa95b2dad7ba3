//! The options of `sidegate render`, and which of them can be combined.

use std::io;

use clap::{Args, ValueEnum};

use super::values::{digest, label, name};

use crate::{
    cli::{environment, input::Source},
    quota::remote::Engine,
};

/// What to render.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sidegate render --policy policy.yaml --as wasmplugin --selector app=orders \\
      --image oci://registry.example.com/sidegate/sidegate:0.1.0 | kubectl apply -f -
  sidegate render --policy policy.yaml --as trafficextension --for gateway --namespace istio-ingress \\
      --image registry.example.com/sidegate/sidegate:0.1.0 --sha256 DIGEST --pull-secret registry
  sidegate render --policy policy.yaml --as envoyfilter --selector app=orders
  sidegate render --policy policy.yaml --as envoyfilter --for gateway --module https://modules.example.com/sidegate.wasm --sha256 DIGEST
  sidegate render --policy policy.yaml --as envoy > filter.yaml
  sidegate render --policy policy.yaml --as ratelimit > runtime/config/sidegate.yaml

The policy is checked first; nothing is printed if it is invalid. The module gets the variables that its secrets name (`{env: NAME}`)
from the environment of the proxy; their values are not printed.
Exit codes: 0 done, 1 the policy is invalid, 2 it cannot be read, or the options cannot be combined.")]
pub struct Arguments {
    /// The policy in YAML or JSON; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Source,
    /// What to print
    #[arg(long = "as", value_name = "FORM")]
    form: Form,
    /// Where the module runs; `sidecar` by default
    #[arg(long = "for", value_name = "PLACE")]
    place: Option<Place>,
    /// The name of the manifest, and of the filter in Envoy; `sidegate` by default
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// The namespace; chosen by `kubectl` by default
    #[arg(long, value_parser = name)]
    namespace: Option<String>,
    /// Which pods, by their labels; for gateways `istio=ingressgateway` by default
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    selector: Vec<(String, String)>,
    /// Where the module's image is: `oci://` (or no scheme), `https://`, `http://` or `file://`
    #[arg(long, value_name = "URL")]
    image: Option<String>,
    /// Digest of the image's manifest, or of the module's bytes for http and https
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    sha256: Option<String>,
    /// Where the module is: a path in the proxy's container, or for an EnvoyFilter an http or https URL;
    /// /etc/sidegate/sidegate.wasm by default
    #[arg(long, value_name = "PATH-OR-URL")]
    module: Option<String>,
    /// The secret for the registry, in the same namespace
    #[arg(long, value_name = "NAME", value_parser = name)]
    pull_secret: Option<String>,
    /// The rate limit service, if the policy has several
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    #[command(flatten)]
    pub(super) environment: environment::Arguments,
}

/// The kinds of manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Istio's WasmPlugin: an image from a registry
    #[value(name = "wasmplugin")]
    WasmPlugin,
    /// Istio's TrafficExtension, from Istio 1.30 on
    #[value(name = "trafficextension")]
    TrafficExtension,
    /// Istio's EnvoyFilter: a mounted file, or a module by HTTP
    #[value(name = "envoyfilter")]
    EnvoyFilter,
    /// The filter file that an Envoy on its own watches
    #[value(name = "envoy")]
    Envoy,
    /// The configuration of envoyproxy/ratelimit, where the policy's limits across replicas are counted
    #[value(name = "ratelimit")]
    RateLimit,
    /// The limits file of Limitador, where the policy's limits across replicas are counted
    #[value(name = "limitador")]
    Limitador,
}

/// The kinds of proxies in a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Place {
    /// Requests to the pods of a service
    Sidecar,
    /// Requests into the mesh
    Gateway,
}

/// What is printed.
pub(super) enum Printed {
    /// A manifest with the policy in it.
    Manifest(Manifest),
    /// The configuration of a rate limit service.
    Service {
        /// What kind of service it is.
        engine: Engine,
        /// Its name in the policy, if the operator chose one of several.
        provider: Option<String>,
    },
}

/// A manifest, with exactly the values that its kind needs.
pub(super) enum Manifest {
    /// A WasmPlugin, or a TrafficExtension.
    Extension {
        /// Whether it is a TrafficExtension.
        traffic: bool,
        /// Its metadata and its target.
        object: Object,
        /// Where the module is.
        image: String,
        /// Its digest.
        sha256: Option<String>,
        /// The secret for the registry.
        pull_secret: Option<String>,
    },
    /// An EnvoyFilter.
    EnvoyFilter {
        /// Its metadata and its target.
        object: Object,
        /// Where the module is.
        module: Module,
    },
    /// A filter file.
    Envoy {
        /// The name of the filter.
        name: String,
        /// The path of the module.
        module: String,
    },
}

/// A Kubernetes object.
pub(super) struct Object {
    /// Its name.
    pub(super) name: String,
    /// Its namespace.
    pub(super) namespace: Option<String>,
    /// The kind of proxy that the object is for.
    pub(super) place: Place,
    /// Labels of the pods that the object is for; empty for those of the template.
    pub(super) selector: Vec<(String, String)>,
}

/// Where Envoy finds a module.
pub(super) enum Module {
    /// In a file.
    File(String),
    /// At a URL.
    Remote {
        /// Its URL.
        url: String,
        /// The digest of its bytes.
        sha256: String,
    },
}

impl Printed {
    /// Whether the policy passes through floating-point numbers.
    pub(super) fn rounds_numbers(&self) -> bool {
        matches!(self, Self::Manifest(Manifest::Extension { .. }))
    }
}

impl Arguments {
    /// What the options ask for.
    ///
    /// # Errors
    ///
    /// They cannot be combined.
    pub(super) fn printed(&self) -> io::Result<Printed> {
        if !matches!(self.form, Form::RateLimit | Form::Limitador) {
            self.refuse(&[("--provider", self.provider.is_some())])?;
        }
        match self.form {
            Form::RateLimit => self.service(Engine::Envoy),
            Form::Limitador => self.service(Engine::Limitador),
            Form::WasmPlugin | Form::TrafficExtension => {
                self.refuse(&[("--module", self.module.is_some())])?;
                let image = self.image.clone().ok_or_else(|| self.wrong("needs `--image`"))?;
                if !has_scheme(&image, &["oci", "https", "http", "file"]) {
                    return Err(self.wrong("takes image URLs with `oci`, `https`, `http` or `file` only"));
                }
                if image.starts_with("file:") {
                    self.refuse_digest_of_file()?;
                }
                Ok(Printed::Manifest(Manifest::Extension {
                    traffic: self.form == Form::TrafficExtension,
                    object: self.object()?,
                    image,
                    sha256: self.sha256.clone(),
                    pull_secret: self.pull_secret.clone(),
                }))
            }
            Form::EnvoyFilter => {
                self.refuse(&self.of_images())?;
                Ok(Printed::Manifest(Manifest::EnvoyFilter {
                    object: self.object()?,
                    module: self.module()?,
                }))
            }
            Form::Envoy => {
                self.refuse(&self.of_images())?;
                self.refuse(&self.of_objects())?;
                let Module::File(module) = self.module()? else {
                    return Err(self.wrong(
                        "takes the module as a file only: while Envoy fetches a module for a filter file, all requests pass",
                    ));
                };
                Ok(Printed::Manifest(Manifest::Envoy { name: self.filter(), module }))
            }
        }
    }

    fn service(&self, engine: Engine) -> io::Result<Printed> {
        self.refuse(&self.of_images())?;
        self.refuse(&self.of_objects())?;
        self.refuse(&[
            ("--name", self.name.is_some()),
            ("--module", self.module.is_some()),
            ("--sha256", self.sha256.is_some()),
        ])?;
        Ok(Printed::Service { engine, provider: self.provider.clone() })
    }

    fn filter(&self) -> String {
        self.name.clone().unwrap_or_else(|| "sidegate".to_owned())
    }

    fn of_objects(&self) -> [(&'static str, bool); 3] {
        [
            ("--for", self.place.is_some()),
            ("--namespace", self.namespace.is_some()),
            ("--selector", !self.selector.is_empty()),
        ]
    }

    fn of_images(&self) -> [(&'static str, bool); 2] {
        [("--image", self.image.is_some()), ("--pull-secret", self.pull_secret.is_some())]
    }

    fn object(&self) -> io::Result<Object> {
        let place = self.place.unwrap_or(Place::Sidecar);
        if place == Place::Sidecar && self.selector.is_empty() {
            return Err(self.wrong("needs `--selector`: the labels of the pods"));
        }
        let (name, namespace, selector) = (self.filter(), self.namespace.clone(), self.selector.clone());
        Ok(Object { name, namespace, place, selector })
    }

    fn module(&self) -> io::Result<Module> {
        let module = self.module.as_deref().unwrap_or("/etc/sidegate/sidegate.wasm");
        if module.contains("://") {
            if !has_scheme(module, &["https", "http"]) {
                return Err(self.wrong("takes the module as a path or as an `https` or `http` URL only"));
            }
            let sha256 = self.sha256.clone().ok_or_else(|| self.wrong("with a URL needs `--sha256`"))?;
            return Ok(Module::Remote { url: module.to_owned(), sha256 });
        }
        self.refuse_digest_of_file()?;
        if !module.starts_with('/') {
            return Err(self.wrong("needs an absolute path to the module"));
        }
        Ok(Module::File(module.to_owned()))
    }

    /// Rejects options that this form does not take.
    fn refuse(&self, given: &[(&str, bool)]) -> io::Result<()> {
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(self.wrong(&format!("does not take `{option}`"))),
            None => Ok(()),
        }
    }

    /// Rejects a digest, because nothing compares it with a file.
    fn refuse_digest_of_file(&self) -> io::Result<()> {
        match self.sha256 {
            Some(_) => Err(self.wrong("does not take `--sha256` if the module is a file")),
            None => Ok(()),
        }
    }

    fn wrong(&self, message: &str) -> io::Error {
        let form = self.form.to_possible_value();
        let form = form.as_ref().map_or("", |form| form.get_name());
        io::Error::new(io::ErrorKind::InvalidInput, format!("`--as {form}` {message}"))
    }
}

/// Whether the URL has one of the schemes, or none.
fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    url.split_once("://").is_none_or(|(scheme, _)| schemes.contains(&scheme))
}

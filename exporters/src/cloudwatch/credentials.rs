//! Region and credentials, from where AWS's own tools take them, and from nowhere else.
//!
//! In this order: the environment, the profile (roles, `credential_process`), a web identity token, the endpoint of a
//! container (ECS, EKS), the metadata service of EC2. The last is asked only on a machine that says of itself that it
//! is of EC2: anywhere else that address may be nobody's, or somebody else's, and asking costs seconds. SSO profiles
//! are not supported: an agent has nobody who could log in.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::ProvideRegion as _;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_cloudwatch::config::{
    Credentials, ProvideCredentials, Region, SharedCredentialsProvider, SharedHttpClient,
};

use super::answer::explain;

/// Where a machine says who made it.
pub(super) const DMI: &str = "/sys/class/dmi/id";
/// The longest that the metadata service may take.
const METADATA: Duration = Duration::from_secs(1);
/// The links of the chain that have a name of their own besides.
const PROFILE: &str = "profile";
const WEB_IDENTITY: &str = "web identity token";
const METADATA_SERVICE: &str = "EC2 metadata service";
/// The longest that a start waits for a source; it may answer later.
const START: Duration = Duration::from_secs(1);
/// The longest that an attempt waits for credentials. Shorter than the SDK's own limit, whose error has no kind.
const LOAD: Duration = Duration::from_secs(4);

/// Why there can be no client: something is missing or malformed, and waiting will not change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    about: About,
    what: String,
}

/// What of AWS's environment it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The profile files cannot be read.
    Profile,
    /// No region.
    Region,
    /// A malformed endpoint.
    Endpoint,
    /// No credentials.
    Credentials,
}

impl ClientError {
    pub(super) fn new(about: About, what: impl Into<String>) -> Self {
        Self { about, what: what.into() }
    }

    /// What it is about.
    pub fn about(&self) -> About {
        self.about
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for ClientError {}

/// Where credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// By kind and name; no secrets.
    pub name: String,
    /// Why it gives none now; `None` where it does.
    pub trouble: Option<String>,
    /// Until when they are good, where they say so.
    pub expiry: Option<SystemTime>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, trouble, .. } = self;
        match trouble.as_deref() {
            None => f.write_str(name),
            Some("") => write!(f, "{name}, which gives none now"),
            Some(why) => write!(f, "{name}, which gives none now: {why}"),
        }
    }
}

/// Where to look, and all that is needed to look again from the start.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) http: SharedHttpClient,
    pub(super) region: Region,
    pub(super) fips: Option<bool>,
    pub(super) dual_stack: Option<bool>,
    /// Whether the metadata service may be asked.
    pub(super) metadata: bool,
}

impl Sources {
    /// A chain that has read nothing yet. The providers remember files once read, so a renewed token is found only by a
    /// new chain.
    pub(super) fn provider(&self) -> SharedCredentialsProvider {
        let [first, rest @ ..] = self.links();
        let chain = CredentialsProviderChain::first_try(first.0, first.1);
        let chain = rest.into_iter().fold(chain, |chain, (name, provider)| chain.or_else(name, provider));
        SharedCredentialsProvider::new(Limited { inner: chain, limit: LOAD })
    }

    fn links(&self) -> [(&'static str, SharedCredentialsProvider); 5] {
        let config = provider_config(&self.http)
            .with_region(Some(self.region.clone()))
            .with_use_fips(self.fips)
            .with_use_dual_stack(self.dual_stack);
        let profile = ProfileFileCredentialsProvider::builder().configure(&config).build();
        let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(&config).build();
        let container = EcsCredentialsProvider::builder().configure(&config).build();
        [
            ("environment", SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new())),
            (PROFILE, SharedCredentialsProvider::new(profile)),
            (WEB_IDENTITY, SharedCredentialsProvider::new(web_identity)),
            ("container endpoint", SharedCredentialsProvider::new(container)),
            (METADATA_SERVICE, self.metadata_provider(&config)),
        ]
    }

    fn metadata_provider(&self, config: &ProviderConfig) -> SharedCredentialsProvider {
        if !self.metadata {
            return SharedCredentialsProvider::new(Never);
        }
        let inner = ImdsCredentialsProvider::builder().configure(config).imds_client(metadata_client(config)).build();
        SharedCredentialsProvider::new(Limited { inner, limit: METADATA })
    }

    /// Where the credentials come from.
    ///
    /// # Errors
    ///
    /// There are none, for certain: nothing is set, or what is set cannot be understood. A source that is there but
    /// fails now is no error; it may recover.
    pub(super) async fn find(&self) -> Result<Found, ClientError> {
        for (name, provider) in self.links() {
            let name = match name {
                PROFILE => format!("profile {}", profile()),
                WEB_IDENTITY => {
                    format!("{WEB_IDENTITY} {}", variable("AWS_WEB_IDENTITY_TOKEN_FILE").unwrap_or_default())
                }
                name => name.to_owned(),
            };
            match (Limited { inner: provider, limit: START }).provide_credentials().await {
                Ok(found) => return Ok(Found { name, trouble: None, expiry: found.expiry() }),
                Err(CredentialsError::CredentialsNotLoaded(_)) => {}
                Err(error @ CredentialsError::InvalidConfiguration(_)) => return Err(misconfigured(&name, &error)),
                Err(error) => return Ok(Found { name, trouble: Some(explain(&error)), expiry: None }),
            }
        }
        // An instance can be given its role at any time.
        let later = || Found { name: METADATA_SERVICE.to_owned(), trouble: Some(String::new()), expiry: None };
        if self.metadata { Ok(later()) } else { Err(nothing_found()) }
    }
}

/// A source that is not asked.
#[derive(Debug)]
struct Never;

impl ProvideCredentials for Never {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("not asked")))
    }
}

fn provider_config(http: &SharedHttpClient) -> ProviderConfig {
    ProviderConfig::without_region().with_http_client(http.clone())
}

fn metadata_client(config: &ProviderConfig) -> imds::Client {
    imds::Client::builder().configure(config).max_attempts(1).operation_timeout(METADATA).build()
}

/// A provider that gives up.
#[derive(Debug)]
struct Limited<P> {
    inner: P,
    limit: Duration,
}

impl<P: ProvideCredentials> ProvideCredentials for Limited<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            match tokio::time::timeout(self.limit, self.inner.provide_credentials()).await {
                Ok(result) => result,
                Err(_) => {
                    let known = self.inner.fallback_on_interrupt();
                    known.ok_or_else(|| CredentialsError::provider_timed_out(self.limit))
                }
            }
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.inner.fallback_on_interrupt()
    }
}

/// The region: environment, profile, and the metadata service if it may be asked.
///
/// # Errors
///
/// None of them names one.
pub(super) async fn region(http: &SharedHttpClient, metadata: bool) -> Result<Region, ClientError> {
    let config = provider_config(http);
    if let Some(region) = EnvironmentVariableRegionProvider::new().region().await {
        return Ok(region);
    }
    if let Some(region) = ProfileFileRegionProvider::builder().configure(&config).build().region().await {
        return Ok(region);
    }
    if metadata {
        let asked = ImdsRegionProvider::builder().configure(&config).imds_client(metadata_client(&config)).build();
        if let Ok(Some(region)) = tokio::time::timeout(METADATA, asked.region()).await {
            return Ok(region);
        }
    }
    let metadata = metadata_note(metadata);
    Err(ClientError::new(
        About::Region,
        format!(
            "no AWS region: AWS_REGION and AWS_DEFAULT_REGION are not set, profile {} of {} names none, {metadata}; \
         set AWS_REGION, as in AWS_REGION=eu-central-1",
            profile(),
            config_file()
        ),
    ))
}

/// Reads the profile files once, for their errors: the SDK ignores a file that it cannot read.
///
/// # Errors
///
/// A file cannot be parsed.
pub(super) async fn check_profile_files() -> Result<(), ClientError> {
    let read = aws_config::profile::load(&Default::default(), &Default::default(), &Default::default(), None).await;
    read.map(drop).map_err(|error| {
        let (config, credentials) = (config_file(), credentials_file());
        ClientError::new(About::Profile, format!("AWS profile files {config} and {credentials}: {}", explain(&error)))
    })
}

/// Whether the metadata service of EC2 may be asked: the machine says that it is of EC2, and nobody forbade it.
pub(super) fn may_ask_metadata(dmi: &Path) -> bool {
    is_ec2(dmi) && !metadata_forbidden()
}

/// Whether the firmware says so. Source: the DMI tables of Nitro and bare-metal instances.
fn is_ec2(dmi: &Path) -> bool {
    ["sys_vendor", "board_vendor"]
        .iter()
        .any(|name| fs::read_to_string(dmi.join(name)).is_ok_and(|vendor| vendor.trim() == "Amazon EC2"))
}

fn metadata_forbidden() -> bool {
    variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn metadata_note(asked: bool) -> &'static str {
    match asked {
        true => "and the EC2 metadata service did not say",
        false if metadata_forbidden() => "and AWS_EC2_METADATA_DISABLED forbids to ask the EC2 metadata service",
        false => "and the EC2 metadata service is not asked, as this machine does not say that it is of EC2",
    }
}

/// A variable that says something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn profile() -> String {
    variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned())
}

fn config_file() -> String {
    variable("AWS_CONFIG_FILE").unwrap_or_else(|| in_home("config"))
}

fn credentials_file() -> String {
    variable("AWS_SHARED_CREDENTIALS_FILE").unwrap_or_else(|| in_home("credentials"))
}

fn in_home(name: &str) -> String {
    format!("{}/.aws/{name}", variable("HOME").unwrap_or_else(|| "~".to_owned()))
}

fn nothing_found() -> ClientError {
    let half = variable("AWS_ACCESS_KEY_ID").is_some();
    let environment =
        if half { "AWS_ACCESS_KEY_ID is set, but not AWS_SECRET_ACCESS_KEY" } else { "AWS_ACCESS_KEY_ID is not set" };
    ClientError::new(
        About::Credentials,
        format!(
            "no AWS credentials: {environment}, profile {} of {} and {} has none, AWS_WEB_IDENTITY_TOKEN_FILE with \
         AWS_ROLE_ARN is not set, neither is AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, {}; set one of these",
            profile(),
            config_file(),
            credentials_file(),
            metadata_note(false)
        ),
    )
}

fn misconfigured(name: &str, error: &CredentialsError) -> ClientError {
    let why = explain(error);
    // The SDK's words speak to who compiles it.
    let why = if why.contains("enabled: sso") || why.contains("enabled: credentials-login") {
        "it wants a login (SSO), which is not supported, as an agent has nobody to log in; use a role, a web identity \
         or credential_process"
            .to_owned()
    } else {
        why
    };
    ClientError::new(
        About::Credentials,
        format!("AWS credentials by {name} (profile files {}, {}): {why}", config_file(), credentials_file()),
    )
}

#[cfg(test)]
mod tests;

//! SageMaker HyperPod: which of the cluster's instances this is. What job runs here its Slurm or Kubernetes knows.
//!
//! Source: Amazon SageMaker's developer guide, "resource_config.json" of HyperPod's lifecycle scripts.

use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::Value;

use super::Places;
use super::file;
use super::source::{Figure, Platform, Silence, Source};

const VARIABLE: &str = "SAGEMAKER_RESOURCE_CONFIG_PATH";
const FILE: &str = "/opt/ml/config/resource_config.json";

pub(super) fn source(places: &Places<'_>) -> Source {
    let path = places.on_host(&places.variable(VARIABLE).unwrap_or_else(|| FILE.to_owned()));
    let source = Source::new(Platform::HyperPod, format!("file {}", path.display()));
    let cluster = match file::json(&path) {
        Ok(cluster) => cluster,
        // The platform makes it readable by root only: a fact of life, not a fault.
        Err(Silence::Unreadable(why)) => return source.silent(Silence::Nothing(format!("not readable for us: {why}"))),
        Err(why) => return source.silent(why),
    };
    let addresses = match addresses(&places.roots.procfs) {
        Ok(addresses) => addresses,
        Err(why) => return source.silent(Silence::Nothing(format!("our own addresses are not known: {why}"))),
    };
    match instance(&cluster, &addresses) {
        Some(id) => source.claim(Figure::Instance, "InstanceId", id),
        None => source.silent(Silence::Nothing("no instance in it has an address of ours".into())),
    }
}

fn instance<'a>(cluster: &'a Value, addresses: &[Ipv4Addr]) -> Option<&'a str> {
    let list = |value: &'a Value, key: &str| value.get(key).and_then(Value::as_array).into_iter().flatten();
    let is_ours = |instance: &&Value| {
        let address = instance.get("CustomerIpAddress").and_then(Value::as_str).and_then(|text| text.parse().ok());
        address.is_some_and(|address| addresses.contains(&address))
    };
    let mut instances = list(cluster, "InstanceGroups").flat_map(|group| list(group, "Instances"));
    instances.find(is_ours)?.get("InstanceId")?.as_str()
}

/// This host's own IPv4 addresses, as the kernel's routing table has them (`net/fib_trie`): each is a leaf, and below
/// it a row `/32 host LOCAL`.
fn addresses(procfs: &Path) -> Result<Vec<Ipv4Addr>, Silence> {
    let text = file::read(&procfs.join("net/fib_trie"))?;
    let mut leaf = None;
    let mut addresses = Vec::new();
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("|-- ") {
            Some(address) => leaf = address.parse::<Ipv4Addr>().ok(),
            None if line == "/32 host LOCAL" => addresses.extend(leaf.filter(|address| !address.is_loopback())),
            None => {}
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::detect::tests::Given;

    #[test]
    fn the_instance_is_the_one_with_our_address() {
        let given = Given::new("hyperpod");
        assert_eq!(source(&given.places()).answer(Figure::Instance), Some("i-0fedcba9876543210"));
        let given = Given::new("hyperpod").variables(&[(VARIABLE, "/no/such/file.json")]);
        assert_eq!(source(&given.places()).silence, Some(Silence::Missing));
    }

    #[test]
    fn a_neighbour_is_not_us() {
        let cluster = serde_json::json!({"InstanceGroups": [{"Instances": [
            {"InstanceId": "i-1", "CustomerIpAddress": "10.0.0.1"}, {"InstanceId": "i-2", "CustomerIpAddress": "x"}, 3
        ]}, {}]});
        assert_eq!(instance(&cluster, &[Ipv4Addr::new(10, 0, 0, 2)]), None);
        assert_eq!(instance(&cluster, &[Ipv4Addr::new(10, 0, 0, 1)]), Some("i-1"));
    }
}

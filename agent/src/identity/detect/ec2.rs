//! On EC2: the instance id that the firmware shows. Nobody is asked, so there is nothing to forbid.
//!
//! Source: Amazon EC2's user guide, "Detect whether a host is an EC2 instance": `board_asset_tag` on Nitro.

use super::Places;
use super::file;
use super::source::{Figure, Platform, Silence, Source};

pub(super) fn source(places: &Places<'_>) -> Source {
    let dmi = places.roots.sysfs.join("class/dmi/id");
    let path = dmi.join("board_asset_tag");
    let source = Source::new(Platform::Ec2, format!("file {}", path.display()));
    let is_ec2 = |name: &str| file::read(&dmi.join(name)).is_ok_and(|vendor| vendor.trim() == "Amazon EC2");
    if !["sys_vendor", "board_vendor"].iter().any(|name| is_ec2(name)) {
        return source.silent(Silence::Nothing("this machine does not say that it is of EC2".into()));
    }
    match file::read(&path) {
        Ok(tag) if tag.starts_with("i-") => source.claim(Figure::Instance, "the tag", tag.trim()),
        Ok(_) => source.silent(Silence::Nothing("no instance id: not of the Nitro system".into())),
        Err(why) => source.silent(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::detect::tests::Given;

    #[test]
    fn only_a_machine_of_ec2_has_an_instance_id() {
        let given = Given::new("ec2");
        assert_eq!(source(&given.places()).answer(Figure::Instance), Some("i-0af01c0123456789a"));
        let given = Given::new("none");
        assert!(matches!(source(&given.places()).silence, Some(Silence::Nothing(why)) if why.contains("EC2")));
    }
}

//! In real containers.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use support::container::Container;
use support::rootfs::RootFs;

#[test]
fn once_works_in_a_container() {
    let root = RootFs::new();
    let ended = Container::new("once", &root, &["hostgauge", "once"]).memory(128 << 20).cpu(50).run();
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stdout.starts_with("Host: once\n"), "{ended:?}");
}

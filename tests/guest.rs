//! On a machine of its own, whose kernel the tests may set up as they like: cores unplugged, control groups of
//! version 2 alone. Emulated by QEMU, so that it wants no hardware.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::time::Duration;

use support::Page;
use support::guest::Guest;

/// An emulated machine on a busy one takes its time; it never needs so much unless something hangs.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn cores_keep_their_names_when_one_is_unplugged() {
    let said = Guest::new(4).run(
        r#"
        hostgauge >/dev/null 2>&1 &
        until_page 'core="3"'
        echo 0 > /sys/devices/system/cpu/cpu1/online
        taskset 8 sh -c 'while :; do :; done' &
        sleep 4
        scrape without
        echo 1 > /sys/devices/system/cpu/cpu1/online
        sleep 4
        scrape with
        "#,
        PATIENCE,
    );
    let without = said.page("without");
    let cores = |page: &Page| page.cores().into_iter().map(|(core, _)| core).collect::<Vec<_>>();
    assert_eq!(cores(&without), ["0", "2", "3"]);
    let busy = without.value("hostgauge_cpu_core_utilization_percent", &[("core", "3")]);
    assert!(busy > 80.0, "the loop runs on core 3: {:?}", without.cores());
    assert_eq!(without.value("hostgauge_cpu_cores", &[]), 3.0);
    let with = said.page("with");
    assert_eq!(cores(&with), ["0", "1", "2", "3"]);
    assert!(with.value("hostgauge_cpu_core_utilization_percent", &[("core", "1")]) <= 100.0);
}
